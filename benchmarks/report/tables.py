"""The tables of a measurement, as lists of cells: page.py and markdown.py print them."""

from dataclasses import dataclass
from typing import List, Optional

from figures import number, ratio_text, time_taken


@dataclass
class Cell:
    """Its text, the number that it is sorted by, and a word for how it looks."""

    text: str
    value: Optional[float] = None
    look: str = ""
    hint: str = ""


@dataclass
class Table:
    """A title, a head and lines of as many cells."""

    title: str
    about: str
    head: List[str]
    lines: List[List[Cell]]


LOOKS = {"better": "better", "no difference": "same", "worse": "worse"}


def figure_cell(value):
    return Cell(number(value), value)


def count_cell(value):
    return Cell("-" if value is None else f"{value:,}", value)


def ratio_cell(ratio, with_spread=True):
    if ratio is None:
        return Cell("-")
    return Cell(
        ratio_text(ratio, with_spread),
        ratio["ratio"],
        LOOKS.get(ratio.get("verdict"), ""),
    )


def verdict_cell(ratio):
    word = (ratio or {}).get("verdict")
    return Cell(
        {"worse": "WORSE", "no difference": "no diff", None: "-"}.get(word, word),
        (ratio or {}).get("ratio"),
        LOOKS.get(word, ""),
    )


def headline(results):
    """Against whom, how fast and how large, and how often."""
    lines = []

    def add(name, of, against):
        time = results.total("ns", of=of, against=against)
        memory = results.total("MiB", of=of, against=against)
        if not time and not memory:
            return
        counted = time if time and "better" in time else {}
        lines.append(
            [
                Cell(name),
                ratio_cell(time),
                ratio_cell(memory),
                Cell(
                    " / ".join(
                        str(counted[key])
                        for key in ("better", "no_difference", "worse")
                    )
                    if counted
                    else "-"
                ),
                Cell(str((time or memory)["results"])),
            ]
        )

    for label in results.labels_of("first", "variant"):
        add(f"{label} / best peer of each", label, None)
    for label in results.labels[1:]:
        add(f"{results.first} / {label}", results.first, label)
    return Table(
        "Totals",
        "Geometric means of ratios, 95 % interval in brackets; below 1 is better. The "
        "best peer is chosen for each figure by itself: none of them is that good.",
        ["ratio", "time", "memory", "times better / no diff / worse", "of"],
        lines,
    )


def by_group(results, unit):
    """A line per group, a column per program."""
    lines = []
    for group in ["", *results.groups()]:
        cells = [Cell(group or "all"), ratio_cell(results.total(unit, group), False)]
        cells += [
            ratio_cell(results.total(unit, group, against=label), False)
            for label in results.labels[1:]
        ]
        if any(cell.value is not None for cell in cells):
            lines.append(cells)
    what = "time" if unit == "ns" else "memory"
    return Table(
        f"By group: {what}",
        f"Geometric means of {results.first} / other; below 1 {results.first} is "
        "better.",
        ["group", "/ best peer", *["/ " + label for label in results.labels[1:]]],
        lines,
    )


KINDS = {
    "time": "ns",
    "peak memory": "MiB peak",
    "memory after 1 s of light load": "MiB settled",
    "all memory": "MiB",
    "resident / requested": "x",
    "page faults": "faults",
}


def beside(results):
    """Time and memory side by side, against the best peer and against each."""
    lines = []

    def add(name, **choice):
        cells = [ratio_cell(results.total(unit, **choice)) for unit in KINDS.values()]
        if any(cell.value is not None for cell in cells):
            lines.append([Cell(name), *cells])

    add("all / best peer of each")
    for label in results.labels[1:]:
        add(f"all / {label}", against=label)
    for group in results.groups():
        add(f"{group} / best peer of each", group=group)
    return Table(
        "Time and memory",
        f"Geometric means of {results.first} / other; below 1 {results.first} is better. "
        "The best peer is chosen for each figure by itself.",
        ["figures", *KINDS],
        lines,
    )


def huge_pages(results):
    """The share of the resident set that lay in huge pages."""
    lines = [
        [
            Cell(name),
            *[
                Cell("-") if share is None else Cell(f"{100 * share:.0f} %", share)
                for share in (by_label.get(label) for label in results.labels)
            ],
        ]
        for name, by_label in results.data.get("huge_pages", {}).items()
        if any(by_label.values())
    ]
    return Table(
        "Huge pages",
        "Share of the resident set that lay in huge pages when it was largest, in the "
        "first round; workloads without any are left out.",
        ["workload", *results.labels],
        lines,
    )


def losses(results, title, unit_is_time):
    """What the first program is worse at than the best peer, the worst first."""
    lines = []
    for row in results.verdicts("worse"):
        if (row["unit"] == "ns") != unit_is_time:
            continue
        best = row["best_peer"]
        lines.append(
            [
                Cell(row["name"]),
                Cell(row["unit"]),
                figure_cell(results.median(row, results.first)),
                Cell(f"{best} {number(results.median(row, best))}"),
                ratio_cell(results.to_best(row, results.first)),
            ]
        )
    about = "Worse than the best peer by more than the spread, the worst first."
    return Table(
        title, about, ["figure", "unit", results.first, "best peer", "ratio"], lines
    )


def all_results(results):
    """Every figure of every program."""
    others = results.labels[1:]
    lines = []
    for row in results.rows:
        ratio = results.to_best(row, results.first)
        cells = [
            Cell(
                row["name"],
                hint=results.workloads.get(row["workload"], {}).get("what", ""),
            ),
            Cell(row["group"]),
            Cell(row["unit"]),
            figure_cell(results.median(row, results.first)),
            Cell(row.get("best_peer", "-")),
            ratio_cell(ratio),
            verdict_cell(ratio),
        ]
        for label in others:
            cell = figure_cell(results.median(row, label))
            compared = results.first_to(row, label)
            cell.look = LOOKS.get((compared or {}).get("verdict"), "")
            cell.hint = f"{results.first} / {label}: {ratio_text(compared)}"
            cells.append(cell)
        lines.append(cells)
    return Table(
        "All figures",
        f"Medians of {results.pairs} runs. The ratio is {results.first} / best peer. "
        f"Colors of the other columns: how {results.first} does beside them.",
        [
            "figure",
            "group",
            "unit",
            results.first,
            "best peer",
            "ratio",
            "verdict",
            *others,
        ],
        lines,
    )


def latency(results):
    """Percentiles of single calls."""
    lines = [
        [
            Cell(row["name"]),
            *[figure_cell(results.median(row, label)) for label in results.labels],
            ratio_cell(results.to_best(row, results.first)),
        ]
        for row in results.latency_rows
    ]
    return Table(
        "Single calls",
        "Times of single calls in ns, above the clock's own.",
        ["figure", *results.labels, "ratio to best peer"],
        lines,
    )


def os_calls(results):
    """Calls to the kernel by workload."""
    lines = []
    for workload, by_label in results.in_order(results.os_calls):
        cells = [Cell(workload)]
        for label in results.labels:
            calls = by_label.get(label)
            if calls is None:
                cells.append(Cell("-"))
                continue
            kinds = ", ".join(
                f"{name} {count}" for name, count in calls.items() if count
            )
            cells.append(
                Cell(f"{sum(calls.values()):,}", sum(calls.values()), hint=kinds)
            )
        lines.append(cells)
    return Table(
        "OS calls",
        "mmap, munmap, mremap, mprotect, madvise and brk of the whole process, in one "
        "run; with those of the loader and of the benchmark itself, the same for all.",
        ["workload", *results.labels],
        lines,
    )


def os_calls_by_kind(results):
    """The same, all workloads together."""
    sums = {}
    for by_label in results.os_calls["counts"].values():
        for label, calls in by_label.items():
            for kind, count in calls.items():
                sums.setdefault(kind, {}).setdefault(label, 0)
                sums[kind][label] += count
    lines = [
        [Cell(kind), *[count_cell(ones.get(label)) for label in results.labels]]
        for kind, ones in sums.items()
    ]
    return Table(
        "OS calls by kind",
        "Of all workloads that the program took part in.",
        ["call", *results.labels],
        lines,
    )


def instructions(results):
    """Instructions of an allocation and of a free, by workload."""
    lines = []
    for workload, by_label in results.in_order(results.instructions):
        cells = [Cell(workload)]
        for label in results.labels:
            one = by_label.get(label)
            if one is None:
                cells.append(Cell("-"))
                continue
            parts = [one.get("per_allocation"), one.get("per_free")]
            cells.append(
                Cell(
                    " + ".join(number(part) for part in parts),
                    sum(part or 0 for part in parts),
                )
            )
        lines.append(cells)
    return Table(
        "Instructions",
        "Of one allocation + one free, means, counted by callgrind: the allocator's own "
        "alone, without what happens once.",
        ["workload", *results.labels],
        lines,
    )


def missing(results):
    """What has no figure, and why."""
    lines = [
        [
            Cell(label),
            Cell(kind, look="worse" if kind == "failed" else ""),
            Cell(reason),
            Cell(", ".join(workloads)),
        ]
        for label, kind, reason, workloads in results.missing()
    ]
    for what, counted in (
        ("OS calls", results.os_calls),
        ("instructions", results.instructions),
    ):
        by_reason = {}
        for workload, by_label in counted["failed"].items():
            for label, reason in by_label.items():
                by_reason.setdefault((label, reason), []).append(workload)
        for (label, reason), workloads in by_reason.items():
            lines.append(
                [
                    Cell(label),
                    Cell(f"{what} not counted"),
                    Cell(reason),
                    Cell(", ".join(workloads)),
                ]
            )
    return Table(
        "Left out",
        "These have no figure, and are left out of ratios and totals.",
        ["program", "", "why", "workloads"],
        lines,
    )


def machine(results):
    """Where and how it was measured."""
    lines = [[Cell(name), Cell(text)] for name, text in results.machine().items()]
    lines.append([Cell("pairs"), Cell(str(results.pairs))])
    if "scale" in results.data:
        lines.append([Cell("scale"), Cell(f"{results.data['scale']:g}")])
    if results.data.get("filter"):
        lines.append([Cell("filter"), Cell(results.data["filter"])])
    lines.append(
        [Cell("begun, taken"), Cell(f"{results.data['began']}, {time_taken(results)}")]
    )
    return Table("Machine", "As the programs themselves told it.", ["what", ""], lines)


def proofs(results):
    """Who served each program."""
    lines = []
    for one in results.programs:
        settings = " ".join(
            [
                *one["arguments"],
                *[f"{name}={text}" for name, text in one["environment"].items()],
            ]
        )
        lines.append(
            [
                Cell(one["label"]),
                Cell(one["role"]),
                Cell(one.get("allocator", "never measured")),
                Cell(str(one.get("runs_proven", 0))),
                Cell(settings),
            ]
        )
    return Table(
        "Who served whom",
        "Every run that gave a figure asked the allocator itself, before and after, "
        "whether its blocks were its own.",
        ["program", "role", "allocator and version", "runs proven", "settings"],
        lines,
    )
