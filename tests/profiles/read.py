#!/usr/bin/env python3
"""Reads a profile of program.c in the way of its format and compares it with the truth.

    read.py FORMAT PROGRAM      FORMAT: json, pprof, heap_v2 or folded

heap_v2 is read by jeprof. pprof is decoded here, by the description of its messages, and
read by `go tool pprof` or pprof too, where one is installed. With a sample of each block
all figures must be exact; with rare samples they must be near. Exit status 77: the reader
is not installed.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

FORMATS = {"json": 1, "pprof": 2, "heap_v2": 3, "folded": 4}
SAMPLE_BYTES = 8192


def run(program, kind, sample_bytes, times):
    """The profile, and by name: live blocks, live bytes, blocks, bytes."""
    done = subprocess.run([program, str(FORMATS[kind]), str(sample_bytes), str(times)],
                          check=True, capture_output=True)
    truth = {}
    for line in done.stderr.decode().splitlines():
        name, *figures = line.split("\t")
        truth[name] = [int(x) for x in figures]
    return done.stdout, truth


def name_of(title):
    return re.sub(r" \(.*:\d+\)$", "", title)


def short(name):
    """What jeprof leaves of a name."""
    return re.sub(r"<.*>|\(.*\)", "", name).strip()


# ---- Readers: each gives by name the figures of the format, None for those it has not ----


def read_json(profile):
    out = {}
    for site in json.loads(profile)["sites"]:
        if not site["live_bytes_low"] <= site["live_bytes"] <= site["live_bytes_high"]:
            sys.exit(f"the bounds do not enclose the estimate: {site}")
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


def read_pprof(profile):
    strings, types, samples, locations, functions = [], [], [], {}, {}
    for number, value in fields(profile):
        if number == 1:
            types.append(dict(fields(value)))
        elif number == 2:
            sample = dict(fields(value))
            at = sample[1] if isinstance(sample[1], int) else varints(sample[1])[0]
            samples.append((at, varints(sample[2])))
        elif number == 4:
            location = dict(fields(value))
            locations[location[1]] = dict(fields(location[4]))
        elif number == 5:
            function = dict(fields(value))
            functions[function[1]] = function
        elif number == 6:
            strings.append(value.decode())
    if strings[0] != "":
        sys.exit("the first string is not empty")
    order = [strings[t[1]] for t in types]
    if order != ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]:
        sys.exit(f"the types of samples are {order}")
    out = {}
    for at, (blocks, size, live_blocks, live_size) in samples:
        function = functions[locations[at][1]]
        out[name_of(strings[function[2]])] = [live_blocks, live_size, blocks, size]
    read_by_pprof(profile, out)
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


def read_heap_v2(profile):
    if not shutil.which("jeprof"):
        sys.exit(77)
    out = {}
    with tempfile.NamedTemporaryFile(suffix=".heap") as file:
        file.write(profile)
        file.flush()
        for column, option in enumerate(["--inuse_objects", "--inuse_space",
                                         "--alloc_objects", "--alloc_space"]):
            text = subprocess.run(["jeprof", "--text", "--show_bytes", option,
                                   "--nodefraction=0", file.name],
                                  check=True, capture_output=True, text=True).stdout
            for line in text.splitlines():
                match = re.match(r" *(\d+) +[\d.]+% +[\d.]+% +\d+ +[\d.]+% (.*)$", line)
                if match:
                    figures = out.setdefault(short(match[2]), [0, 0, 0, 0])
                    figures[column] = int(match[1])
    return out


def read_folded(profile):
    out = {}
    for line in profile.decode().splitlines():
        stack, figure = line.rsplit(" ", 1)
        frames = stack.split(";")
        if not 1 <= len(frames) <= 2 or "" in frames:
            sys.exit(f"no stack of one or two frames: {line}")
        out[name_of(frames[-1])] = [None, int(figure), None, None]
    return out


READERS = {"json": read_json, "pprof": read_pprof, "heap_v2": read_heap_v2,
           "folded": read_folded}


def compare(kind, got, truth, exact):
    for name, figures in truth.items():
        if kind == "folded":
            name = name.replace(";", ",")
        if kind == "heap_v2":
            name = short(name)
        if kind == "folded" and figures[1] == 0:
            if name in got:
                sys.exit(f"{name} is shown, of which nothing lives")
            continue
        if name not in got:
            sys.exit(f"{name} is not in the profile: {got}")
        # Sizes of places differ, so each has its own deviation; five of them at least.
        size = figures[3] / figures[2]
        for mine, true in zip(got[name], figures):
            if mine is None:
                continue
            scale = 1 if true in (figures[1], figures[3]) else size
            slack = 0 if exact else 5 * (true * SAMPLE_BYTES / scale + 1) ** 0.5
            if abs(mine - true) > slack + true * 1e-5:
                sys.exit(f"{name}: {mine} instead of {true}, at most {slack:.0f} off")


def main():
    kind, program = sys.argv[1:]
    for sample_bytes, times in ((1, 1), (SAMPLE_BYTES, 100)):
        profile, truth = run(program, kind, sample_bytes, times)
        compare(kind, READERS[kind](profile), truth, sample_bytes == 1)
    print(f"ok: {kind}")


if __name__ == "__main__":
    os.environ["LC_ALL"] = "C.UTF-8"
    main()
