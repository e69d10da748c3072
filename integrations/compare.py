#!/usr/bin/env python3
"""Each integration over a heap of hakmem's, over libc's malloc, and over the allocators
that Debian has in libc's place: processor time and peak resident set, as Markdown.

  compare.py BUILD [--ms N] [--rounds N] [--runs N] [PROGRAM...]

BUILD is a release build with HAKMEM_BUILD_EXAMPLES. A run does the work so often that it takes
--ms milliseconds over libc's malloc (200), or --rounds times: of a run of a few milliseconds
most would be the start of the process. --runs is how many runs of each are made in turn (5:
the median counts). A quarter of a run's rounds take less than the time given for a round, of
which the least of all runs counts: what else the machine does changes it by a hundredth. Of each
run the program itself says which library its malloc is in.
"""
import argparse
import glob
import os
import re
import statistics
import subprocess
import sys

PEERS = {
    "jemalloc": "libjemalloc.so.2",
    "mimalloc 2": "libmimalloc.so.2",
    "tcmalloc": "libtcmalloc_minimal.so.4",
    "TBB": "libtbbmalloc_proxy.so.2",
}
FOLDERS = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"]


def fail(text):
    print(f"compare.py: {text}", file=sys.stderr)
    sys.exit(2)


def library_of(name):
    for folder in FOLDERS:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return path
    return None


def run(program, rounds, peer, library):
    """Seconds of one run and of a round, and KiB; the allocator named must have served it."""
    env = dict(os.environ, INTEGRATION_ROUNDS=str(rounds))
    if peer != "hakmem":
        env["INTEGRATION_LIBC"] = "1"
        plain = program.replace("hakmem_integration_", "hakmem_libc_")
        if os.path.exists(plain):
            program = plain
    if library is not None:
        env["LD_PRELOAD"] = library
    done = subprocess.run([program], env=env, capture_output=True, text=True)
    match = re.search(r"^measured \S+ ([0-9.]+) ([0-9.]+) ([0-9]+) (.+)$", done.stdout, re.M)
    if done.returncode != 0 or match is None:
        fail(f"{program} over {peer}: {done.stderr.strip() or done.stdout.strip()}")
    served = match[4]
    expected = "hakmem" if peer == "hakmem" else os.path.realpath(library or "libc.so.6")
    if os.path.basename(os.path.realpath(served)) != os.path.basename(expected):
        fail(f"{program} over {peer}: served by {served}")
    return float(match[1]), float(match[2]), int(match[3])


def rounds_for(program, seconds):
    """How often the work is to be done to take so long, the start of the process aside."""
    few, many = 10, 20
    while True:
        first, _, _ = run(program, few, "glibc", None)
        last, _, _ = run(program, many, "glibc", None)
        if last - first > 0.02 or many > 100000:
            return max(few, round(seconds * (many - few) / max(last - first, 1e-6)))
        many *= 2


def measure(program, rounds, runs, peers):
    times = {peer: [] for peer in peers}
    turns = {peer: [] for peer in peers}
    sizes = {peer: [] for peer in peers}
    for number in range(runs):
        order = list(peers) if number % 2 == 0 else list(peers)[::-1]
        for peer in order:
            seconds, turn, kib = run(program, rounds, peer, peers[peer])
            times[peer].append(seconds)
            turns[peer].append(turn)
            sizes[peer].append(kib)
    middle = lambda values: {peer: statistics.median(values[peer]) for peer in peers}
    least = {peer: min(turns[peer]) for peer in peers}
    return middle(times), least, middle(sizes)


def cells(values, unit):
    """hakmem's value, what it is of the best other one's, and all others."""
    others = {peer: value for peer, value in values.items() if peer != "hakmem"}
    best = min(others, key=others.get)
    ratio = values["hakmem"] / others[best]
    rest = " | ".join(unit(value) for value in others.values())
    return f"{unit(values['hakmem'])} | {ratio:.2f} ({best}) | {rest}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("--ms", type=int, default=200)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("programs", nargs="*")
    arguments = parser.parse_intermixed_args()
    pattern = os.path.join(arguments.build, "integrations", "hakmem_integration_*")
    prefix = len("hakmem_integration_")
    programs = {os.path.basename(path)[prefix:]: path for path in sorted(glob.glob(pattern))
                if os.access(path, os.X_OK)}
    if not programs:
        fail(f"no integrations in {arguments.build}")
    for name in arguments.programs:
        if name not in programs:
            fail(f"no integration {name}; there are: {' '.join(programs)}")
    peers = {"hakmem": None, "glibc": None}
    for peer, name in PEERS.items():
        if library_of(name) is not None:
            peers[peer] = library_of(name)
    head = " | ".join(peer for peer in peers if peer != "hakmem")
    line = "|---" * (len(peers) + 2) + "|"
    rows = {"ms of processor time": [], "us of a round": [], "MiB at most": []}
    for name in arguments.programs or programs:
        rounds = arguments.rounds or rounds_for(programs[name], arguments.ms / 1e3)
        times, turns, sizes = measure(programs[name], rounds, arguments.runs, peers)
        rows["ms of processor time"].append(
            f"| {name} | {cells(times, lambda s: f'{s * 1e3:.0f}')} |")
        rows["us of a round"].append(
            f"| {name} | {cells(turns, lambda s: f'{s * 1e6:.1f}')} |")
        rows["MiB at most"].append(
            f"| {name} | {cells(sizes, lambda k: f'{k / 1024:.1f}')} |")
    for title, lines in rows.items():
        print(f"| {title} | hakmem | of the best | {head} |")
        print(line)
        print("\n".join(lines) + "\n")


main()
