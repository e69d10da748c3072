#!/usr/bin/env python3
"""worst.py DIR [--rounds N] [--scale X] - how long single calls take at worst.

Runs the latency mode of the suite's programs in DIR (benchmarks/suite of a build) in
turns, hakmem also with manual purging, and prints a Markdown table for each figure: the
middle one of the rounds. The longest call of a run is often the system's; the smallest
of the rounds says more about the allocator, so `max` shows that.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys

PREFIX = "hakmem_suite_"
ORDER = ["hakmem", "mimalloc3", "mimalloc2", "rpmalloc", "jemalloc", "tcmalloc", "snmalloc"]
FIGURES = {"p99.9": statistics.median, "p99.99": statistics.median, "max": min}


def programs_in(folder):
    """Columns: a name, the program, and the variables it runs with."""
    found = []
    for name in ORDER:
        program = folder / (PREFIX + name)
        if not program.is_file():
            continue
        found.append((name, program, {}))
        if name == "hakmem":
            found.append(("hakmem, manual", program, {"HAKMEM_PURGE_MODE": "0"}))
    return found


def run(program, variables, scale):
    """Figures of one run by workload: {(workload, figure): ns}."""
    command = [str(program), "--latency", "--scale", str(scale)]
    environment = dict(os.environ, **variables)
    out = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True,
                         text=True, timeout=600).stdout
    figures = {}
    for line in out.splitlines():
        words = line.split()
        if len(words) >= 4 and words[0] == "result":
            workload, _, figure = words[1].rpartition("/")
            figures[workload, figure] = float(words[2])
    return figures


def table(columns, values, figure, pick):
    workloads = sorted({key[1] for key in values if key[2] == figure})
    print(f"\n{figure}, ns\n")
    print("| | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for workload in workloads:
        cells = [f"{pick(values[column, workload, figure]):,.0f}" for column in columns]
        print(f"| {workload} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=0.3)
    options = parser.parse_args()
    programs = programs_in(options.folder)
    if not programs:
        sys.exit(f"worst.py: no {PREFIX}* in {options.folder}")
    values = {}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        for name, program, variables in programs:
            for (workload, figure), ns in run(program, variables, options.scale).items():
                values.setdefault((name, workload, figure), []).append(ns)
    for figure, pick in FIGURES.items():
        table([name for name, _, _ in programs], values, figure, pick)


if __name__ == "__main__":
    main()
