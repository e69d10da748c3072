#!/usr/bin/env python3
"""What has broken allocators, tried on one allocator or on many, as a table.

usage: table.py [OPTION...] --as NAME PROGRAM [--object FILE] [--preload LIBRARY] ...

  --out FOLDER   writes experiments.json and experiments.md there
  --check FILE   compares the first allocator with what FILE expects of it; more than once
  --brief        less work, and only what does not depend on time
  --only PREFIX  only the cases whose names begin so
  --jobs N       so many processes at once; what is measured runs alone (default 2)

Each case runs in a process of its own with a time limit. How it ends is one of ENDS below.
"""
import argparse
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

ENDS = {
    "named": "a message says what is wrong, and mostly the process stops",
    "crash": "the process ends by a signal or a status, and nothing says why",
    "hang": "it does not end",
    "damage": "a block changed, or two blocks overlap",
    "wrong": "an answer that no allocator may give",
    "refused": "no service after a failure that is over",
    "unset": "NULL, and errno does not say why",
    "fine": "the right answer; after misuse: nothing noticed, and nothing came of it",
    "skipped": "cannot be tried here",
}
# Lines on stderr that name a fault. Warnings that memory is short name none.
DIAGNOSIS = re.compile(r"double|free|invalid|corrupt|overflow|pointer|chunk|tcache|assert"
                       r"|fatal|error|hakmem:", re.I)
NO_DIAGNOSIS = re.compile(r"warning|large alloc|unable to allocate|cannot allocate|"
                          r"could not allocate|out of memory", re.I)
LIMIT = {"failures": 30, "forks": 120, "mappings": 120, "ends": 120, "producers": 120,
         "memory": 90, "objects": 60}
ALONE = ("crowd", "storm", "ends", "producers", "mappings")
POINTS = {True: 8, False: 100}  # of each mode: brief, else

# Of each row: the title, the experiment, and what its cell tells of that: ends that are
# counted, or None for the one figure; and how many cases there are, where that is the same
# for all.
ROWS = [
    ("64 cases of misuse: named", "misuse", ["named"]),
    ("... crash, nothing said", "misuse", ["crash"]),
    ("... hang", "misuse", ["hang"]),
    ("... damage: two owners, changed bytes", "misuse", ["damage"]),
    ("... not noticed, and nothing came of it", "misuse", ["fine"]),
    ("18 values that are no block: named, or the call says no", "wild", ["named", "fine"]),
    ("... crash, nothing said", "wild", ["crash"]),
    ("15 absurd requests: wrong answer, crash or damage", "absurd",
     ["wrong", "crash", "damage", "refused", "named", "hang"]),
    ("... errno is not set", "absurd", ["unset"]),
    ("31 alignments, 40 sizes of each: wrong answer, crash or damage", "aligned",
     ["wrong", "crash", "damage", "named", "hang"]),
    ("... not all sizes are served", "aligned", ["refused"]),
    ("n-th call of the system fails: points tried", "failures", ["*"]),
    ("... crash, abort or hang", "failures", ["crash", "named", "hang", "wrong"]),
    ("... damage", "failures", ["damage"]),
    ("... no service afterwards", "failures", ["refused"]),
    ("forks under churn: children that hang or fail", "forks", "outcome"),
    ("4 GiB of churn: mappings more", "mappings", "value"),
    ("8,000 threads' ends: bytes left by each", "ends", "value"),
    ("16 producers, one thread frees: resident / live", "producers", "value"),
    ("64 threads on one processor: throughput of one, %", "crowd/share", "value"),
    ("... longest 16 pairs, ms", "crowd/longest", "value"),
    ("1,000 threads at once: ms", "storm", "value"),
    ("3 kinds of memory for calloc: not zero", "zeroes", ["damage"]),
    ("9 memory limits: crash, abort, hang, wrong or no service", "memory",
     ["crash", "named", "hang", "wrong", "refused", "damage"]),
    ("... errno is not set", "memory", ["unset"]),
    ("20 shared objects with the allocator in each: loaded", "objects", "value"),
]


class Allocator:
    def __init__(self, name, program):
        self.name, self.program = name, program
        self.object = self.preload = None
        self.version, self.cases, self.results = "", [], {}

    def environment(self, brief):
        # mimalloc tells of what it finds if it is asked to.
        env = dict(os.environ, MIMALLOC_SHOW_ERRORS="1", LC_ALL="C")
        if brief:
            env["EXPERIMENTS_BRIEF"] = "1"
        if self.object:
            env["EXPERIMENTS_OBJECT"] = self.object
        if self.preload:
            env["LD_PRELOAD"] = self.preload
            env["EXPERIMENTS_SERVED_BY"] = os.path.basename(self.preload)
        return env


def has_ended(process, limit):
    """Waits for the process, and leaves it to be reaped."""
    until = time.monotonic() + limit
    pause = 0.001
    while time.monotonic() < until:
        flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
        if os.waitid(os.P_PID, process.pid, flags) is not None:
            return True
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    return False


def run(allocator, case, brief, limit):
    """(end, text, value) of one process."""
    with tempfile.TemporaryFile() as out_file, tempfile.TemporaryFile() as err_file:
        process = subprocess.Popen([allocator.program, case], stdin=subprocess.DEVNULL,
                                   stdout=out_file, stderr=err_file,
                                   start_new_session=True,
                                   env=allocator.environment(brief))
        ended = has_ended(process, limit)
        # It, and what it began and did not end. Before it is reaped: until then nobody else
        # can have its number, so nobody else is in its group.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        out_file.seek(0)
        err_file.seek(0)
        out = out_file.read().decode(errors="replace")
        err = err_file.read().decode(errors="replace")
    if not ended:
        return "hang", f"after {limit:g} s", None
    if process.returncode == 2:
        sys.exit(f"table.py: {allocator.program} knows no case {case}: {err}")
    said = [line for line in err.splitlines()
            if DIAGNOSIS.search(line) and not NO_DIAGNOSIS.search(line)]
    return classify(process.returncode, out, said)


def classify(status, out, said):
    text = said[0][:160] if said else ""
    last = out.splitlines()[-1].split(" ", 2) if out.strip() else [""]
    if last[0] == "value" and status == 0:
        return "fine", last[2], float(last[1])
    if last[0] == "outcome" and status == 0:
        end = "hang" if last[1] == "hung" else last[1]
        if end == "fine" and said:
            return "named", text, None
        return end, " ".join(last[2:]), None
    if said:
        return "named", text, None
    if status < 0:
        return "crash", signal.Signals(-status).name, None
    return "crash", f"status {status}", None


def start(allocator, brief):
    result = subprocess.run([allocator.program, "--list"], capture_output=True, text=True,
                            env=allocator.environment(brief))
    if result.returncode != 0:
        sys.exit(f"table.py: {allocator.name}: {result.stderr.strip() or result.returncode}")
    for line in result.stdout.splitlines():
        if line.startswith("case "):
            allocator.cases.append(line[5:])
        elif not allocator.preload:
            allocator.version = line.split(" ", 2)[2]


def points(allocator, brief):
    """The cases of the experiment `failures`: as many as there are calls."""
    end, text, calls = run(allocator, "failures", brief, LIMIT["failures"])
    if calls is None:
        allocator.results["failures"] = {"end": end, "text": text}
        return []
    calls, most = int(calls), POINTS[brief]
    numbers = range(1, calls + 1)
    if calls > most:
        numbers = sorted({1 + i * (calls - 1) // (most - 1) for i in range(most)})
    return [f"failures/{mode}/{n}" for mode in ("once", "from") for n in numbers]


def measure(allocators, options):
    todo = []
    for allocator in allocators:
        start(allocator, options.brief)
        for case in allocator.cases:
            if not case.startswith(options.only):
                continue
            if case == "failures":
                todo += [(allocator, point) for point in points(allocator, options.brief)]
            elif not (options.brief and case.startswith("crowd")):
                todo.append((allocator, case))

    def one(job):
        allocator, case = job
        limit = LIMIT.get(case.split("/")[0], 20) * options.patience
        end, text, value = run(allocator, case, options.brief, limit)
        result = {"end": end, "text": text}
        if value is not None:
            result["value"] = value
        allocator.results[case] = result

    together = [job for job in todo if not job[1].startswith(ALONE)]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(one, together))
    for job in todo:
        if job[1].startswith(ALONE):
            one(job)


def of(allocator, experiment):
    return [result for case, result in sorted(allocator.results.items())
            if case == experiment or case.startswith(experiment + "/")]


def number(value):
    return f"{value:.1f}" if value < 10 and value != int(value) else f"{value:,.0f}"


def cell(allocator, experiment, what):
    results = [r for r in of(allocator, experiment) if r["end"] != "skipped"]
    if not results:
        return "-"
    if what == "value":
        return number(results[0]["value"]) if "value" in results[0] else results[0]["end"]
    if what == "outcome":
        end, text = results[0]["end"], results[0]["text"]
        return text if re.match(r"\d+ of \d+", text) else end
    if what == ["*"]:
        return str(len(results))
    return str(sum(r["end"] in what for r in results))


def table(allocators):
    rows = [["Experiment"] + [a.name for a in allocators]]
    for title, experiment, what in ROWS:
        cells = [cell(a, experiment, what) for a in allocators]
        if any(c != "-" for c in cells):
            rows.append([title] + cells)
    return rows


def as_text(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(text.ljust(width) if i == 0 else text.rjust(width)
                               for i, (text, width) in enumerate(zip(row, widths)))
                     for row in rows)


def as_markdown(rows):
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    return "\n".join(lines) + "\n"


def figure(allocator, key):
    """misuse.named: how many cases of an experiment end so; a bare name: its value."""
    experiment, _, end = key.partition(".")
    results = [r for r in of(allocator, experiment) if r["end"] != "skipped"]
    if not results:
        return None
    if not end:
        return results[0].get("value")
    return sum(r["end"] == end for r in results)


def check(allocator, path):
    """Lines FIGURE <= NUMBER, >= or ==, and comments. False if one does not hold."""
    good, count = True, 0
    with open(path, encoding="utf-8") as file:
        for line in file:
            words = line.split("#")[0].split()
            if not words:
                continue
            key, relation, bound = words[0], words[1], float(words[2])
            value = figure(allocator, key)
            if value is None and not of(allocator, key.partition(".")[0]):
                continue  # not run, or not possible here
            if value is None and all(r["end"] == "skipped" for r in
                                     of(allocator, key.partition(".")[0])):
                continue
            count += 1
            holds = value is not None and {"<=": value <= bound, ">=": value >= bound,
                                           "==": value == bound}[relation]
            if not holds:
                good = False
                print(f"FAIL: {allocator.name}: {key} is {value}, not {relation} {bound:g}")
    if count == 0:
        print(f"FAIL: nothing in {path} was compared")
        return False
    if not good:
        for case, result in sorted(allocator.results.items()):
            print(f"  {case}: {result['end']} {result.get('value', '')} {result['text']}")
    return good


def parse(arguments):
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--out")
    parser.add_argument("--check", action="append", default=[])
    parser.add_argument("--brief", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--patience", type=float, default=1, help="times the time limits")
    parser.add_argument("--cases", action="store_true", help="says how each case ended")
    if "--as" not in arguments:
        parser.error("no allocator: --as NAME PROGRAM")
    first = arguments.index("--as")
    options = parser.parse_args(arguments[:first])
    allocators, rest = [], arguments[first:]
    while rest:
        if rest[0] == "--as" and len(rest) >= 3:
            allocators.append(Allocator(rest[1], rest[2]))
            rest = rest[3:]
        elif rest[0] in ("--object", "--preload") and len(rest) >= 2:
            setattr(allocators[-1], rest[0][2:], rest[1])
            rest = rest[2:]
        else:
            parser.error(f"unknown: {' '.join(rest)}")
    return options, allocators


def main():
    options, allocators = parse(sys.argv[1:])
    measure(allocators, options)
    rows = table(allocators)
    for allocator in allocators:
        print(f"{allocator.name} {allocator.version}".strip())
        if options.cases:
            for case, result in sorted(allocator.results.items()):
                print(f"  {case}: {result['end']} {result.get('value', '')} "
                      f"{result['text']}")
    print()
    print(as_text(rows))
    if options.out:
        os.makedirs(options.out, exist_ok=True)
        with open(os.path.join(options.out, "experiments.json"), "w", encoding="utf-8") as f:
            json.dump({"ends": ENDS, "allocators": [
                {"name": a.name, "version": a.version, "results": a.results}
                for a in allocators]}, f, indent=1, sort_keys=True)
        with open(os.path.join(options.out, "experiments.md"), "w", encoding="utf-8") as f:
            f.write(as_markdown(rows))
    if not all([check(allocators[0], path) for path in options.check]):
        sys.exit(1)


if __name__ == "__main__":
    main()
