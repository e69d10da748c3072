#!/usr/bin/env python3
"""What hak_heaps_print writes is read by real parsers, and tools/hakmem-view makes pages of
it that are whole, whatever heaps are called; what is no dump gets one line and exit 2.

    view.py PROGRAM HAKMEM_VIEW
"""
import copy
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from pages import Tool, check_page, fail

def check_dump(path):
    data = path.read_bytes()
    dump = json.loads(data.decode("utf-8"))
    if shutil.which("jq"):
        subprocess.run(["jq", "-e", ".heaps | length > 0", path], check=True,
                       stdout=subprocess.DEVNULL)
    ids = set()
    for heap in dump["heaps"]:
        if heap["id"] in ids or (heap["parent"] is not None and heap["parent"] not in ids):
            fail(f"{path.name}: the parent of {heap['id']} is not before it")
        ids.add(heap["id"])
        below = [h for h in dump["heaps"] if h["parent"] == heap["id"]]
        live = heap["own"]["live_bytes"] + sum(h["live_bytes"] for h in below)
        if live != heap["live_bytes"]:
            fail(f"{path.name}: {heap['name']} has {heap['live_bytes']} live, not {live}")
        if heap["used_bytes"] < sum(h["used_bytes"] for h in below):
            fail(f"{path.name}: {heap['name']} uses less than those below it")
        if heap["peak_bytes"] < heap["used_bytes"]:
            fail(f"{path.name}: {heap['name']} was never that large")
    for superslab in dump["superslabs"]:
        if superslab["heap"] is not None and superslab["heap"] not in ids:
            fail(f"{path.name}: SuperSlab of the unknown heap {superslab['heap']}")
    names = [heap["name"] for heap in dump["heaps"]]
    for name in ("default", "server", "cache", "</script><script>alert(1)//",
                 'a "name"\n\x01\ufffd&amp;<b>', "plugin \u20ac\U0001f600"):
        if names.count(name) != 1:
            fail(f"{path.name}: no heap {name!r} in {names}")
    return dump


def check_pages(tool, folder, dumps):
    out = folder / "page.html"
    status, said = tool.run("-o", out, "--title", "A <server>", *dumps)
    if status != 0 or said:
        fail(f"hakmem-view: {status}, {said}")
    page = check_page(out.read_text(encoding="utf-8"))
    check_contrast(out.read_text(encoding="utf-8"))
    text = page.all_text()
    for part in ("A <server>", "</script><script>alert(1)//", 'a "name"\\n\\x01\ufffd&amp;<b>',
                 "plugin \u20ac\U0001f600", "tenant 29", "History", "SuperSlabs", "64 MiB",
                 "requested of usable", "never touched", "the last of 3 dumps"):
        if part not in text:
            fail(f"the page does not say {part!r}")
    if page.tags.get("polyline", 0) < 6 or page.tags.get("svg", 0) < 5:
        fail("the page has no charts or no map")
    one = tool.process("-", data=dumps[1].read_bytes())
    if one.returncode != 0 or "History" in check_page(one.stdout.decode("utf-8")).all_text():
        fail("one dump from standard input is no page without history")
    joined = dumps[0].read_bytes() + dumps[1].read_bytes() + dumps[2].read_bytes()[:-9]
    text = check_page(tool.process("-", data=joined).stdout.decode("utf-8")).all_text()
    if "the last of 2 dumps, without a last one that is cut off" not in text:
        fail("of dumps one behind the other there is no history")
    record = b"".join((folder / f"{name}.json").read_bytes()
                      for name in ("sites", 1, "statistics", 2, "sites"))
    text = check_page(tool.process("-", data=record).stdout.decode("utf-8")).all_text()
    if "the last of 2 dumps" not in text or "History" not in text:
        fail("of a record with places and statistics in it there is no history")
    status, said = tool.run(folder / "sites.json")
    if status != 2 or said.count("\n") != 1 or "has no heaps" not in said:
        fail(f"places alone: {status}, {said}")
    marked = tool.process("-", data=b"\xef\xbb\xbf" + dumps[1].read_bytes())
    if marked.stdout != one.stdout:
        fail(f"a dump with a byte order mark: {marked.stderr.decode()}")


def brightness(color):
    channels = [int(color[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
                        for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def check_contrast(page):
    """Names on tiles and in keys can be read, by day and by night."""
    for scheme, text in zip(("light", "dark"), page.split("prefers-color-scheme:dark", 1)):
        colors = {name: color if len(color) == 7 else "#" + "".join(2 * c for c in color[1:])
                  for name, color in re.findall(r"--(\w+):(#\w+)", text)}
        for tile, ink in [(f"s{i}", "on") for i in range(4)] + [("s4", "on4")] + \
                [(f"g{i}", "bg") for i in range(4)]:
            dark, bright = sorted(brightness(colors[name]) for name in (tile, ink))
            if (bright + 0.05) / (dark + 0.05) < 4.5:
                fail(f"{scheme}: --{ink} cannot be read on --{tile}")


def broken_dumps(dump):
    """Dumps that are none, each with what is wrong about it."""
    def changed(change):
        copied = copy.deepcopy(dump)
        change(copied)
        return json.dumps(copied).encode()

    yield "empty", b""
    yield "binary", bytes(range(256))
    yield "cut", json.dumps(dump).encode()[:-20]
    yield "deep", b"[" * 100000
    yield "other", b'{"version": 1}'
    yield "list", b"[1]"
    yield "number", b'{"format": "hakmem heaps", "format_version": 1, "time_ns": NaN}'
    yield "long", b'{"format": "hakmem heaps", "format_version": 1, "time_ns": ' + b"9" * 6000 + b"}"
    yield "newer", changed(lambda d: d.update(format_version=2))
    yield "no heaps", changed(lambda d: d.pop("heaps"))
    yield "heaps", changed(lambda d: d.update(heaps={"a": 1}))
    yield "process", changed(lambda d: d.update(process=3))
    yield "negative", changed(lambda d: d["heaps"][0].update(used_bytes=-1))
    yield "real", changed(lambda d: d["heaps"][0].update(used_bytes=1.5))
    yield "bool", changed(lambda d: d["heaps"][0].update(used_bytes=True))
    yield "name", changed(lambda d: d["heaps"][0].update(name=None))
    yield "twice", changed(lambda d: d["heaps"].append(d["heaps"][0]))
    yield "circle", changed(lambda d: d["heaps"][0].update(parent=d["heaps"][0]["id"]))
    yield "orphan", changed(lambda d: d["heaps"][0].update(parent="0x1"))
    yield "slots", changed(lambda d: d["superslabs"][0].update(slots="u"))
    yield "spans", changed(lambda d: d["superslabs"][0].update(spans=[1]))
    yield "class", changed(lambda d: d["heaps"][0]["own"].update(classes=[{"size": "x"}]))


def check_errors(tool, folder, dump):
    bad, none = folder / "bad\n.json", folder / "none.html"
    for name, data in broken_dumps(dump):
        bad.write_bytes(data)
        status, said = tool.run("-o", none, bad)
        if status != 2 or said.count("\n") != 1 or not said.startswith("hakmem-view: "):
            fail(f"a dump that is {name}: {status}, {said}")
        if "sys." in said or "decode" in said:
            fail(f"a dump that is {name}: advice for another: {said}")
        if none.exists():
            fail(f"a dump that is {name} makes a page")
    bad.write_text(json.dumps(dump))
    for arguments in ([folder / "missing.json"], [folder], ["-o", folder / "no" / "page.html", bad]):
        status, said = tool.run(*arguments)
        if status != 2 or said.count("\n") != 1:
            fail(f"{arguments}: {status}, {said}")
    done = tool.process()
    if done.returncode != 2 or b"usage" not in done.stderr or b"Traceback" in done.stderr:
        fail(f"without arguments: {done.returncode}, {done.stderr.decode()}")


def check_odd_dumps(tool, folder, dump):
    """Valid ones that no program writes: they make whole pages, too."""
    def no_memory(d):
        for heap in d["heaps"]:
            heap.update(used_bytes=0, live_bytes=0)
        d.update(superslabs=[], mappings=[])

    def deep(d):
        for i in range(450):
            d["heaps"].append(dict(d["heaps"][-1], id=f"d{i}", parent=d["heaps"][-1]["id"],
                                   name="\ud800\u202e" * 20))

    def many(d):
        for i in range(450):
            d["heaps"].append(dict(d["heaps"][0], id=f"m{i}", used_bytes=2**64 - 1 - i))
        d["superslabs"] *= 8

    for change in (no_memory, deep, many, lambda d: d.update(heaps=[], superslabs=[])):
        copied = copy.deepcopy(dump)
        change(copied)
        path, out = folder / "odd.json", folder / "odd.html"
        path.write_text(json.dumps(copied))
        status, said = tool.run("-o", out, path, path)
        if status != 0:
            fail(f"an odd dump: {status}, {said}")
        check_page(out.read_text(encoding="utf-8"))


def main():
    program, tool = sys.argv[1], Tool(sys.argv[2])
    with tempfile.TemporaryDirectory(prefix="hakmem view ") as name:
        folder = pathlib.Path(name)
        subprocess.run([program, folder], check=True)
        paths = [folder / f"{i}.json" for i in (1, 2, 3)]
        dumps = [check_dump(path) for path in paths]
        if not any("sampled" in row for h in dumps[1]["heaps"] for row in h["own"]["classes"]):
            fail("no size class says what was requested")
        check_pages(tool, folder, paths)
        check_errors(tool, folder, dumps[1])
        check_odd_dumps(tool, folder, dumps[1])
    print("ok: view: three dumps, their pages, and what is none")


if __name__ == "__main__":
    main()
