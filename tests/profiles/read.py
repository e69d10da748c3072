#!/usr/bin/env python3
"""Reads a profile of program.c in the way of its format and compares it with the truth.

    read.py FORMAT PROGRAM      FORMAT: json, pprof, heap_v2, folded or heaptrack; with
                                "_stacks" behind it for all but json

heap_v2 is read by jeprof and heaptrack by heaptrack_print. pprof is decoded here, by the
description of its messages, and read by `go tool pprof` or pprof too, where one is installed.
With a sample of each block all figures must be exact; with rare samples they must be near, and
within the bounds that JSON has. Exit status 77: the reader is not installed.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

FORMATS = {"json": 1, "pprof": 2, "heap_v2": 3, "folded": 4, "heaptrack": 5}
STACKS = 16  # to be added
SAMPLE_BYTES = 8192


class Run:
    """The profile, and what is true: live blocks, live bytes, blocks and bytes, by name and, as
    keys (name, way), by the way to the place."""

    def __init__(self, program, kind, sample_bytes, times):
        reader = kind.removesuffix("_stacks")
        number = FORMATS[reader] + (0 if kind == reader else STACKS)
        done = subprocess.run([program, str(number), str(sample_bytes), str(times)], check=True,
                              capture_output=True)
        self.program, self.profile = os.path.realpath(program), done.stdout
        self.by_place, self.by_way, self.ways = {}, {}, {}
        for line in done.stderr.decode().splitlines():
            if line.startswith("# "):
                way, address = line[2:].split()
                self.ways[int(address, 16)] = way
                continue
            name, way, *figures = line.split("\t")
            self.by_way[name, way] = figures = [int(x) for x in figures]
            sums = self.by_place.setdefault(name, [0, 0, 0, 0])
            sums[:] = [a + b for a, b in zip(sums, figures)]


def name_of(title):
    return re.sub(r" \(.*:\d+\)$", "", title)


def short(name):
    """What jeprof leaves of a name."""
    return re.sub(r"<.*>|\(.*\)", "", name).strip()


# ---- Readers: each gives by name the figures of the format, None for those it has not ----


def read_json(run):
    out = {}
    for site in json.loads(run.profile)["sites"]:
        live = run.by_place[site["name"]][1]
        # The same samples are taken in each run, so these are no matter of chance.
        for value in (site["live_bytes"], live):
            if not site["live_bytes_low"] <= value <= site["live_bytes_high"]:
                sys.exit(f"the bounds do not enclose {value}: {site}")
        out[site["name"]] = [site[k] for k in ("live_blocks", "live_bytes", "blocks", "bytes")]
    return out


def fields(data):
    """The fields of a message: number and value."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        elif key & 7 == 2:
            length = varint()
            if at + length > len(data):
                sys.exit("a field is longer than its message")
            yield key >> 3, data[at:at + length]
            at += length
        else:
            sys.exit(f"a field of the unknown kind {key & 7}")


def varints(data):
    out, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            out.append(value)
            value = shift = 0
    return out


def parse_pprof(profile):
    """Samples as (numbers of locations, values), and parts by number."""
    strings, types, samples = [], [], []
    parts = {3: {}, 4: {}, 5: {}}  # mappings, locations, functions
    for number, value in fields(profile):
        if number == 1:
            types.append(dict(fields(value)))
        elif number == 2:
            sample = dict(fields(value))
            samples.append((varints(sample[1]), varints(sample[2])))
        elif number in parts:
            part = dict(fields(value))
            if part[1] in parts[number]:
                sys.exit(f"the number {part[1]} is there twice")
            parts[number][part[1]] = part
        elif number == 6:
            strings.append(value.decode())
    if strings[0] != "":
        sys.exit("the first string is not empty")
    order = [strings[t[1]] for t in types]
    if order != ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]:
        sys.exit(f"the types of samples are {order}")
    return samples, strings, parts[3], parts[4], parts[5]


def way_of(run, calls, strings, mappings):
    """By the locations behind that of the place, the innermost first."""
    if not calls:
        return ""
    for call in calls:
        mapping = mappings[call[2]]
        if not mapping[2] <= call[3] < mapping[3] or strings[mapping[5]] != run.program:
            sys.exit(f"a call is in no code of the program: {call}, {mapping}")
    if len(calls) != 2 or calls[1][3] in run.ways:
        sys.exit(f"main did not call a way alone: {calls}")
    return run.ways[calls[0][3]]


def read_pprof(run, stacks=False):
    samples, strings, mappings, locations, functions = parse_pprof(run.profile)
    out, by_place = {}, {}
    for at, (blocks, size, live_blocks, live_size) in samples:
        place = dict(fields(locations[at[0]][4]))
        name = name_of(strings[functions[place[1]][2]])
        way = way_of(run, [locations[number] for number in at[1:]], strings, mappings)
        figures = [live_blocks, live_size, blocks, size]
        out[(name, way) if stacks else name] = figures
        sums = by_place.setdefault(name, [0, 0, 0, 0])
        sums[:] = [a + b for a, b in zip(sums, figures)]
    read_by_pprof(run.profile, by_place)
    return out


def read_by_pprof(profile, expected):
    tool = ["go", "tool", "pprof"] if shutil.which("go") else ["pprof"]
    if not shutil.which(tool[0]):
        return
    with tempfile.NamedTemporaryFile(suffix=".pb") as file:
        file.write(profile)
        file.flush()
        text = subprocess.run([*tool, "-top", "-sample_index=inuse_space", "-unit=B",
                               "-nodefraction=0", file.name],
                              check=True, capture_output=True, text=True).stdout
    for name, figures in expected.items():
        if figures[1] > 0 and not re.search(rf"^ *{figures[1]}B.*{re.escape(name)}", text, re.M):
            sys.exit(f"pprof does not show {figures[1]}B of {name}:\n{text}")


def read_by_jeprof(run, *program):
    """By name: what jeprof says of it alone."""
    if not shutil.which("jeprof"):
        sys.exit(77)
    out = {}
    with tempfile.NamedTemporaryFile(suffix=".heap") as file:
        file.write(run.profile)
        file.flush()
        for column, option in enumerate(["--inuse_objects", "--inuse_space",
                                         "--alloc_objects", "--alloc_space"]):
            text = subprocess.run(["jeprof", "--text", "--show_bytes", option,
                                   "--nodefraction=0", *program, file.name],
                                  check=True, capture_output=True, text=True).stdout
            for line in text.splitlines():
                match = re.match(r" *(\d+) +[\d.]+% +[\d.]+% +\d+ +[\d.]+% (.*)$", line)
                if match:
                    figures = out.setdefault(short(match[2]), [0, 0, 0, 0])
                    figures[column] = int(match[1])
    return out


def read_heap_v2(run, stacks=False):
    if not stacks:
        by_name = read_by_jeprof(run)
        return {name: by_name.get(short(name), [0, 0, 0, 0]) for name in run.by_place}
    # Names come from the program, and places have none: a way has the sum of its places.
    if not shutil.which("nm") or not shutil.which("addr2line"):
        sys.exit(77)
    by_name = read_by_jeprof(run, run.program)
    for way in run.ways.values():
        run.by_way["all", way] = [sum(column) for column in zip(
            *(figures for key, figures in run.by_way.items() if key[1] == way))]
    run.by_way = {key: figures for key, figures in run.by_way.items() if key[0] == "all"}
    return {("all", way): by_name.get(way, [0, 0, 0, 0]) for way in run.ways.values()}


def read_folded(run, stacks=False):
    out, level, main = {}, None, set()
    for line in run.profile.decode().splitlines():
        stack, figure = line.rsplit(" ", 1)
        frames = stack.split(";")
        calls = [frame for frame in frames if re.search(r"\+0x[0-9a-f]+$", frame)]
        if not 1 <= len(frames) - len(calls) <= 2 or "" in frames or len(calls) not in (0, 2):
            sys.exit(f"no stack of a place: {line}")
        name = name_of(frames[-1]).replace("a,b", "a;b")
        if not stacks:
            out[name] = [None, int(figure), None, None]
            continue
        out[name, calls[1] if calls else ""] = [None, int(figure), None, None]
        main.update(calls[:1])
        if name == "textures":  # which one way leads to
            level = calls[1]
    if not stacks:
        return out
    # Addresses are those of the file, so only their differences are known here.
    if len(main) != 1 or os.path.basename(run.program) != level.split("+")[0]:
        sys.exit(f"the frames of main are {main}, and {level}")
    first = {way: address for address, way in run.ways.items()}["level"]

    def address_of(frame):
        return first + int(frame.split("+")[1], 16) - int(level.split("+")[1], 16)

    return {(name, frame and run.ways[address_of(frame)]): figures
            for (name, frame), figures in out.items()}


def read_heaptrack(run, stacks=False):
    if not shutil.which("heaptrack_print"):
        sys.exit(77)
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "heaptrack.txt")
        with open(path, "wb") as file:
            file.write(run.profile)
        for column, cost in ((0, "allocations"), (1, "leaked")):
            folded = os.path.join(folder, cost)
            subprocess.run(["heaptrack_print", "-f", path, "-t", "0", "-F", folded,
                            "--flamegraph-cost-type", cost], check=True, capture_output=True)
            with open(folded, encoding="utf-8") as file:
                lines = file.read().splitlines()
            for line in lines:
                name = next(name for name in run.by_place if f"{name} (" in line or
                            f"{name};" in line)
                calls = re.findall(r"0x([0-9a-f]+);", line)
                way = run.ways[int(calls[1], 16)] if calls else ""
                figures = out.setdefault((name, way) if stacks else name, [None] * 4)
                # Where each block is a sample, all of them are told of.
                figures[(2, 1)[column]] = int(line.rsplit(" ", 1)[1])
    for key, figures in out.items():
        if run.sampled:
            figures[2] = None
    return out


READERS = {"json": read_json, "pprof": read_pprof, "heap_v2": read_heap_v2,
           "folded": read_folded, "heaptrack": read_heaptrack}


def compare(kind, got, truth, exact):
    for key, figures in truth.items():
        if kind == "folded" and figures[1] == 0:
            if key in got:
                sys.exit(f"{key} is shown, of which nothing lives")
            continue
        if key not in got:
            sys.exit(f"{key} is not in the profile: {got}")
        # Sizes of places differ, so each has its own deviation; five of them at least.
        size = figures[3] / figures[2]
        for mine, true in zip(got[key], figures):
            if mine is None:
                continue
            scale = 1 if true in (figures[1], figures[3]) else size
            slack = 0 if exact else 5 * (true * SAMPLE_BYTES / scale + 1) ** 0.5
            if abs(mine - true) > slack + true * 1e-5:
                sys.exit(f"{key}: {mine} instead of {true}, at most {slack:.0f} off")


def main():
    kind, program = sys.argv[1:]
    reader = kind.removesuffix("_stacks")
    for sample_bytes, times in ((1, 1), (SAMPLE_BYTES, 100)):
        run = Run(program, kind, sample_bytes, times)
        run.sampled = sample_bytes > 1
        if kind == reader:
            got, truth = READERS[kind](run), run.by_place
        else:
            got = READERS[reader](run, stacks=True)
            truth = run.by_way  # of all places of a way, where a reader knows no more
        compare(reader, got, truth, sample_bytes == 1)
    print(f"ok: {kind}")


if __name__ == "__main__":
    os.environ["LC_ALL"] = "C.UTF-8"
    main()
