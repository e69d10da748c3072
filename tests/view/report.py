#!/usr/bin/env python3
"""tools/hakmem-report makes pages and advice of real dumps and of made-up ones, of which it is
known what there is to say; what is no dump gets one line and exit 2.

    report.py PROGRAM HAKMEM_REPORT
"""
import copy
import json
import pathlib
import subprocess
import sys
import tempfile

from pages import Tool, check_page, fail

MiB = 1 << 20


# ---- made-up dumps -----------------------------------------------------------------------

STATISTICS = ("live_bytes", "live_blocks", "cached_bytes", "free_bytes", "committed_bytes",
              "peak_committed_bytes", "retained_bytes", "metadata_bytes", "reserved_bytes",
              "threads", "hole_bytes", "uncarved_bytes", "class_waste_bytes",
              "large_slack_bytes", "untouched_bytes", "foreign_bytes")


def head(kind, second, process=1):
    return {"format": kind, "format_version": 1, "version": 100, "process_id": process,
            "time_ns": int(second * 1e9) + 10**12}


def statistics(second, **figures):
    return {**head("hakmem statistics", second), "of": "process",
            **dict.fromkeys(STATISTICS, 0), **figures}


def heap(name, number=1, parent=None, **figures):
    return {"id": f"{number:#x}", "name": name, "parent": parent, "kind": "pooled",
            "memory": "system", "soft_limit": 0, "hard_limit": 0, "refused": 0, "used_bytes": 0,
            "peak_bytes": 0, "live_blocks": 0, "live_bytes": 0,
            "own": {"live_bytes": 0, "classes": []}, **figures}


def superslab(blocks, **figures):
    """Of blocks of 64 KiB, one in each slab."""
    return {"address": "0x200000", "use": "slabs", "heap": "0x1", "group": 0, "samples": False,
            "page_bytes": 4096, "committed_bytes": 2 * MiB, "retained_bytes": 0,
            "slots": "u" * 32, "spans": [{"slot": i, "slabs": 1, "size": 65536, "blocks": 1,
                                          "capacity": 1} for i in range(blocks)], **figures}


def heaps(second, rows, superslabs=(), mappings=(), **figures):
    return {**head("hakmem heaps", second), "process": {**dict.fromkeys(STATISTICS, 0), **figures},
            "heaps": rows, "superslabs": list(superslabs), "mappings": list(mappings)}


NO_WAVES = dict.fromkeys(("waves", "moves", "places_apart", "peak_bytes", "trough_bytes",
                          "together_bytes", "apart_bytes", "best_bytes"), 0)


def place(name, live, low=None, high=None, **figures):
    return {"file": "a.c", "line": 7, "name": name, "live_bytes": live,
            "live_bytes_low": live if low is None else low,
            "live_bytes_high": live if high is None else high, "live_blocks": live // 100,
            "peak_bytes": live, "bytes": live, "blocks": live // 100, "stays_permille": -1,
            "group": 0, **figures}


def sites(second, places, sample_bytes=1, **waves):
    return {**head("hakmem sites", second), "sample_bytes": sample_bytes, "sites": places,
            "waves": {**NO_WAVES, **waves}}


class Reports:
    """Runs the tool over made-up dumps."""

    def __init__(self, tool, folder):
        self.tool, self.folder = tool, folder

    def file(self, dumps):
        path = self.folder / "made up.json"
        path.write_text("\n".join(json.dumps(dump) for dump in dumps))
        return path

    def text(self, *dumps):
        out = self.folder / "out.txt"
        status, said = self.tool.run("--text", "-o", out, self.file(dumps))
        if status != 0 or said:
            fail(f"--text: {status}, {said}")
        return out.read_text(encoding="utf-8")

    def page(self, *dumps):
        out = self.folder / "out.html"
        status, said = self.tool.run("-o", out, self.file(dumps))
        if status != 0 or said:
            fail(f"{status}, {said}")
        return check_page(out.read_text(encoding="utf-8"))

    def says(self, dumps, *parts):
        text = self.text(*dumps)
        for part in parts:
            if part not in text:
                fail(f"the advice does not say {part!r}:\n{text}")
        page = self.page(*dumps).all_text()
        for part in parts:
            if part not in page:
                fail(f"the page does not say {part!r}")


# ---- advice ------------------------------------------------------------------------------

def spike(second, level, stays, **waves):
    """Live bytes of a place that goes, and of two that stay."""
    return sites(second, [place("goes", level), place("stays", stays * 3, stays_permille=1000),
                          place("too", stays, stays_permille=990)], **waves)


def check_waves(reports):
    rows = [(0, 0), (64 * MiB, MiB), (0, MiB), (64 * MiB, 2 * MiB), (MiB, 2 * MiB)]
    learned = {"waves": 2, "together_bytes": 40 * MiB, "apart_bytes": 40 * MiB,
               "best_bytes": 9 * MiB}
    dumps = [spike(i, *row, **learned) for i, row in enumerate(rows)]
    reports.says(dumps, "These 2 places hold 89 % of what your spikes leave behind: "
                 "stays (a.c:7) and too (a.c:7)", "Load came and went 2 times", "LEARN=1 would save 31 MiB",
                 "leaves 9 MiB resident instead of 40 MiB")
    apart = dict(learned, apart_bytes=9 * MiB, places_apart=2)
    dumps = [spike(i, *row, **apart) for i, row in enumerate(rows)]
    reports.says(dumps, "LEARN keeps 2 places apart", "31 MiB less.")
    saves = dict(apart, saved_bytes=45 * MiB)
    dumps = [spike(i, *row, **saves) for i, row in enumerate(rows)]
    reports.says(dumps, "with what is left of earlier waves that is 45 MiB.")
    # Out of order, and in one dump by the library's own knowledge.
    reports.says(dumps[::-1], "Load came and went 2 times")
    one = [sites(0, [place("stays", MiB, peak_bytes=20 * MiB, stays_permille=500)],
                 peak_bytes=64 * MiB, trough_bytes=MiB, **learned)]
    reports.says(one, "This place holds 100 %", "from 64 MiB to 1 MiB")
    # What chance makes of rare samples is no wave, and neither is load that only rises.
    quiet = [sites(i, [place("p", live)], 256 << 10) for i, live in
             enumerate((0, 6 * MiB, 3 * MiB, 6 * MiB))]
    rising = [sites(i, [place("p", i * 8 * MiB)]) for i in range(5)]
    for dumps in (quiet, rising):
        if "spikes" in reports.text(*dumps):
            fail("a spike is seen where there is none")


def check_places(reports):
    growing = [sites(60 * i, [place("grows", (i + 1) * 4 * MiB), place("still", MiB)])
               for i in range(5)]
    reports.says(growing, "1 place grew all the time", "grows (a.c:7): by 16 MiB in 240 s",
                 "4 MiB a minute")
    unsure = [sites(60 * i, [place("grows", (i + 1) * 4 * MiB, low=0, high=99 * MiB)])
              for i in range(5)]
    if "grew" in reports.text(*unsure):
        fail("a place grows within the bounds of its figures")
    reports.says([statistics(0, live_bytes=9 * MiB), sites(0, [place("p", MiB)])],
                 "8 MiB of 9 MiB live belong to no place, 89 %")
    reports.says([statistics(0)], "There is no dump of places")
    reports.says([statistics(0), sites(0, [], 0)], "SAMPLE_BYTES is 0")


def check_process(reports):
    base = {"committed_bytes": 100 * MiB, "threads": 3, "live_bytes": 10 * MiB}
    named = sites(0, [place("p", 10 * MiB)])
    reports.says([statistics(0, **base, retained_bytes=30 * MiB), named],
                 "30 MiB of what nobody uses are kept for reuse")
    reports.says([statistics(0, **base, cached_bytes=30 * MiB), named],
                 "30 MiB lie ready in caches of 3 threads", "hak_thread_idle")
    classes = [{"size": 48, "live_blocks": 1, "cached_blocks": 0, "free_blocks": 5},
               {"size": 512, "live_blocks": MiB // 16, "cached_blocks": 0, "free_blocks": 65536,
                "sampled": {"blocks": 9, "requested_bytes": 300, "usable_bytes": 400}}]
    row = heap("odd", own={"live_bytes": 0, "classes": classes})
    reports.says([heaps(0, [row], **base, free_bytes=50 * MiB, hole_bytes=10 * MiB), named],
                 "40 MiB are free among blocks", "most of it is in blocks of 512 B of the heap odd",
                 "Blocks of 512 B of the heap odd are 75 % full: 8 MiB")
    reports.says([statistics(0, **base), named], "Nothing stands out.")


def check_heaps(reports):
    named = sites(0, [])
    rows = [heap("tight", 1, hard_limit=MiB, refused=7, peak_bytes=MiB), heap("free", 2)]
    reports.says([heaps(0, rows), named], "1 heap refused requests", "tight did 7 times")
    rows[0]["refused"] = 0
    reports.says([heaps(0, rows), named], "1 heap came near a hard limit", "1 MiB of 1 MiB")
    full = [superslab(32) for _ in range(20)]
    reports.says([heaps(0, [heap("h")], full, committed_bytes=40 * MiB), named],
                 "20 SuperSlabs with small pages are nine tenths full, 40 MiB in all")
    mapping = {"address": "0x1", "heap": "0x1", "usable_bytes": 1, "committed_bytes": 3 * MiB}
    mixed = [superslab(32), superslab(16, group=2), superslab(1, samples=True),
             superslab(0, use="free", heap=None), superslab(0, use="large"),
             superslab(32, page_bytes=2 * MiB)]
    places = sites(0, [place("p", MiB, group=2, stays_permille=900, saved_bytes=-7 * MiB)])
    places["sites"][0]["lived_permille"] = [900, 0, 0, 60, 0, 40]
    page = reports.page(heaps(0, [heap("h")], mixed, [mapping]), places)
    if not any("90 % until 256 KiB, 0 % until 2 MiB" in value and "4 % longer" in value
               for _, name, value in page.attributes if name == "aria-label"):
        fail("the page does not say how long blocks of a place live")
    for part in ("apart, group 2, of places of which 90 % stays after a wave: 1",
                 "not apart: 2", "samples: 1", "free: 1", "large blocks: 1", "0 0 0 0 0 1 0 0 0 0",
                 "pages of 4 KiB: 10 MiB", "pages of 2 MiB: 2 MiB", "address space of their own"):
        if part not in page.all_text():
            fail(f"the page does not say {part!r}")


def check_history(reports):
    """Heaps that come and go, more of them than there are colours; and very many dumps."""
    dumps = []
    for i in range(1000):
        rows = [heap("default", used_bytes=9 * MiB)]
        rows += [heap(f"h{k}", 10 + k + i, used_bytes=(k + 1) * MiB) for k in range(9)]
        rows.append(heap("below", 5000, "0x1", used_bytes=4 * MiB))
        dumps.append(heaps(i, rows, committed_bytes=MiB * (64 if i == 501 else 60)))
    page = reports.page(*dumps, sites(3, [place("p", MiB)]))
    text = page.all_text()
    for part in ("1,001 dumps over 999 s", "5 more heaps", "default: 5 MiB at last"):
        if part not in text:
            fail(f"the history does not say {part!r}")
    points = [value for tag, name, value in page.attributes if (tag, name) == ("polyline", "points")]
    if not points or any(not 200 < len(p.split()) <= 302 for p in points):
        fail(f"of 1,000 moments {[len(p.split()) for p in points]} are drawn")
    if "10.0" not in points[1]:
        fail("the highest moment is not drawn")


# ---- errors ------------------------------------------------------------------------------

def check_errors(reports):
    good = sites(0, [place("p", MiB)])

    def changed(**members):
        return json.dumps({**copy.deepcopy(good), **members})

    bad = [("empty", ""), ("binary", "\0\1\xff"), ("cut", json.dumps(good)[:-9]),
           ("deep", "[" * 100000), ("list", "[1]"), ("other", '{"version": 1}'),
           ("word", '{"format": "hakmem sites", "format_version": 1, "time_ns": NaN}'),
           ("newer", changed(format_version=2)), ("sites", changed(sites=3)),
           ("place", changed(sites=[{**good["sites"][0], "live_bytes": -1}])),
           ("share", changed(sites=[{**good["sites"][0], "stays_permille": 1001}])),
           ("saved", changed(sites=[{**good["sites"][0], "saved_bytes": "1"}])),
           ("lives", changed(sites=[{**good["sites"][0], "lived_permille": [1, "2"]}])),
           ("waves", changed(waves={})), ("of a heap", json.dumps({**statistics(0), "of": "heap"})),
           ("rubbish behind", json.dumps(good) + "x"),
           ("another process", json.dumps(good) + changed(process_id=2)),
           ("no time", changed(time_ns=None))]
    path, none = reports.folder / "bad\n.json", reports.folder / "none.html"
    for name, data in bad:
        path.write_text(data)
        status, said = reports.tool.run("-o", none, path)
        if status != 2 or said.count("\n") != 1 or not said.startswith("hakmem-report: "):
            fail(f"a dump that is {name}: {status}, {said}")
        if none.exists():
            fail(f"a dump that is {name} makes a page")
    path.write_text(json.dumps(good))
    for arguments in ([reports.folder / "missing.json"], [reports.folder],
                      ["-o", reports.folder / "no" / "page.html", path]):
        status, said = reports.tool.run(*arguments)
        if status != 2 or said.count("\n") != 1:
            fail(f"{arguments}: {status}, {said}")
    # A program that was killed while it wrote: what is whole counts.
    for cut in (1, 40, 200):
        path.write_text(json.dumps(good) + "\n" + json.dumps(good)[:-cut])
        status, said = reports.tool.run("--text", "-o", none, path)
        if status != 0 or "one dump, without a last one that is cut off" not in none.read_text():
            fail(f"a record whose end is cut off by {cut}: {status}, {said}")
    done = reports.tool.process()
    if done.returncode != 2 or b"usage" not in done.stderr or b"Traceback" in done.stderr:
        fail(f"without arguments: {done.returncode}, {done.stderr.decode()}")


# ---- real dumps --------------------------------------------------------------------------

def check_real(reports, program):
    folder = reports.folder / "real"
    folder.mkdir()
    subprocess.run([program, folder], check=True)
    paths = [folder / name for name in ("sites.json", "statistics.json", "1.json", "3.json",
                                        "2.json")]
    out = folder / "page.html"
    status, said = reports.tool.run("-o", out, "--title", "A <server>", *paths)
    if status != 0 or said:
        fail(f"real dumps: {status}, {said}")
    page = check_page(out.read_text(encoding="utf-8"))
    for part in ("A <server>", "</script><script>alert(1)//", 'a "name"\\n\\x01\ufffd&amp;<b>',
                 '<b>\u202e&amp;" (odd;\\n</title>.c:7)', "plugin \u20ac\U0001f600", "9 dumps",
                 "By heap", "By place", "SuperSlabs by what lives in them", "Page sizes"):
        if part not in page.all_text():
            fail(f"the page does not say {part!r}")
    one = reports.tool.process("--text", "-", data=paths[0].read_bytes())
    if one.returncode != 0 or b"3 dumps" not in one.stdout or "\u202e".encode() in one.stdout:
        fail(f"places alone, from standard input: {one}")


def main():
    program, tool = sys.argv[1], Tool(sys.argv[2])
    with tempfile.TemporaryDirectory(prefix="hakmem report ") as name:
        reports = Reports(tool, pathlib.Path(name))
        check_waves(reports)
        check_places(reports)
        check_process(reports)
        check_heaps(reports)
        check_history(reports)
        check_errors(reports)
        check_real(reports, program)
    print("ok: report: real dumps and made-up ones, their advice, and what is none")


if __name__ == "__main__":
    main()
