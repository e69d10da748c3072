#!/usr/bin/env python3
"""The trace of examples/trace_counters.c is what trace viewers read: the JSON of the Trace
Event Format, counters with times that never go back, and it ends with nothing live.

    trace.py PROGRAM
"""
import json
import pathlib
import subprocess
import sys
import tempfile


def fail(why):
    sys.exit(f"FAIL: trace: {why}")


with tempfile.TemporaryDirectory(prefix="hakmem trace ") as name:
    path = pathlib.Path(name) / "trace.json"
    subprocess.run([sys.argv[1], path], check=True)
    trace = json.loads(path.read_text(encoding="utf-8"))
last, time = {}, 0.0
for event in trace["traceEvents"]:
    if event["ph"] != "C" or type(event["pid"]) is not int or event["ts"] < time:
        fail(f"no counter, or out of order: {event}")
    if not all(type(value) is int and value >= 0 for value in event["args"].values()):
        fail(f"not a number of bytes or blocks: {event}")
    time = event["ts"]
    last.setdefault(event["name"], []).append(event["args"])
if sorted(last) != ["level", 'sounds "now"']:
    fail(f"other tracks: {sorted(last)}")
for track, values in last.items():
    if values[-1] != {"bytes": 0, "blocks": 0} or max(v["blocks"] for v in values) < 50:
        fail(f"{track} ends with {values[-1]}")
print(f"ok: trace: {len(trace['traceEvents'])} counters")
