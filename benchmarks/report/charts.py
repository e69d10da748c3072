"""Charts of a measurement, each an SVG text to be put into a page."""

import io
import itertools
import re

import matplotlib

matplotlib.use("svg")
# pylint: disable=wrong-import-position
from matplotlib import pyplot
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    NullFormatter,
    NullLocator,
)

from figures import number

# Text stays text: smaller, searchable, and in the page's font.
matplotlib.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "hakmem",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e5e7eb",
        "figure.constrained_layout.use": True,
    }
)

VERDICT_COLORS = {
    "better": "#15803d",
    "no difference": "#6b7280",
    "worse": "#b91c1c",
    None: "#6b7280",
}
OWN_COLORS = ["#c2410c", "#fb923c", "#fdba74"]
YARDSTICK_COLOR = "#9ca3af"
PEER_COLORS = [
    "#1f77b4",
    "#2ca02c",
    "#9467bd",
    "#8c564b",
    "#0e9aa7",
    "#a3a300",
    "#d65fae",
    "#1e3a5f",
    "#4d7c0f",
    "#000000",
]
TICKS = [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16, 32]

_numbers = itertools.count(1)


def colors_of(results):
    """One color for a program in every chart."""
    own, peers = iter(OWN_COLORS), itertools.cycle(PEER_COLORS)
    chosen = {}
    for program in results.programs:
        if program["role"] in ("first", "variant"):
            chosen[program["label"]] = next(own, OWN_COLORS[-1])
        elif program["role"] == "yardstick":
            chosen[program["label"]] = YARDSTICK_COLOR
        else:
            chosen[program["label"]] = next(peers)
    return chosen


def svg_of(figure, title):
    """The figure's SVG without its prolog, with ids that no other chart has."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    prefix = f"chart{next(_numbers)}-"
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'href="#', f'href="#{prefix}', text)
    text = re.sub(r"url\(#", f"url(#{prefix}", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)


def ratio_axis(axis, low, high):
    """A logarithmic axis around 1, with ticks that halve and double."""
    axis.set_xscale("log", base=2)
    axis.set_xlim(low, high)
    axis.xaxis.set_major_locator(
        FixedLocator([tick for tick in TICKS if low <= tick <= high])
    )
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(
        FuncFormatter(
            lambda value, _: f"{value:g}" if value >= 1 else f"1/{1 / value:g}"
        )
    )
    axis.axvline(1, color="#111827", linewidth=1)


def limits_of(ratios):
    """Wide enough for all, at most 32 times either way."""
    values = [one["ratio"] for one in ratios]
    low = max(1 / 32, min([0.5, *values]) / 1.4)
    return low, min(32, max([2, *values]) * 1.4)


def draw_ratio(axis, place, ratio, limits, height=0.7):
    """A bar from 1, its spread as a line; cut at the limits."""
    low, high = limits
    value = min(max(ratio["ratio"], low), high)
    color = VERDICT_COLORS[ratio.get("verdict")]
    axis.barh(place, value - 1, left=1, height=height, color=color, alpha=0.75)
    if "low" in ratio:
        ends = [min(max(ratio[end], low), high) for end in ("low", "high")]
        axis.plot(ends, [place, place], color="#111827", linewidth=1)


def ratio_chart(results, rows, title):
    """Every row against its best peer: above 1 the first program loses."""
    rows = [row for row in rows if results.to_best(row, results.first)]
    if not rows:
        return ""
    ratios = [results.to_best(row, results.first) for row in rows]
    limits = limits_of(ratios)
    figure, axis = pyplot.subplots(figsize=(10, 0.9 + 0.19 * len(rows)))
    for place, (row, ratio) in enumerate(zip(rows, ratios)):
        draw_ratio(axis, place, ratio, limits)
        axis.text(
            1.01,
            place,
            f"{number(ratio['ratio'])}  {row['best_peer']}",
            va="center",
            fontsize=7.5,
            transform=axis.get_yaxis_transform(),
        )
        if place > 0 and row["group"] != rows[place - 1]["group"]:
            axis.axhline(place - 0.5, color="#9ca3af", linewidth=0.8)
    ratio_axis(axis, *limits)
    axis.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=7.5)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel(f"{results.first} / best peer; left of 1 {results.first} is better")
    axis.xaxis.set_label_position("top")
    axis.xaxis.tick_top()
    return svg_of(figure, title)


def group_chart(results, unit, title):
    """A panel per program, a bar per group."""
    groups = [
        group
        for group in ["", *results.groups()]
        if results.total(unit, group)
        or any(results.total(unit, group, against=label) for label in results.labels)
    ]
    panels = [("best peers", None)] + [(label, label) for label in results.labels[1:]]
    totals = {
        (name, group): results.total(unit, group, against=against)
        for name, against in panels
        for group in groups
    }
    shown = [total for total in totals.values() if total]
    if not shown:
        return ""
    limits = limits_of(shown)
    per_line = 6
    lines = -(-len(panels) // per_line)
    figure, axes = pyplot.subplots(
        lines,
        per_line,
        sharey=True,
        squeeze=False,
        figsize=(12, lines * (0.8 + 0.2 * len(groups))),
    )
    for place, axis in enumerate(axes.flat):
        if place >= len(panels):
            axis.set_visible(False)
            continue
        name = panels[place][0]
        for line, group in enumerate(groups):
            if totals[name, group]:
                draw_ratio(axis, line, totals[name, group], limits)
        ratio_axis(axis, *limits)
        axis.xaxis.set_major_locator(
            FixedLocator(
                [
                    tick
                    for tick in (1 / 16, 1 / 4, 1, 4, 16)
                    if limits[0] <= tick <= limits[1]
                ]
            )
        )
        axis.set_title(name)
        axis.set_yticks(range(len(groups)), [group or "ALL" for group in groups])
        axis.set_ylim(len(groups) - 0.4, -0.6)
        axis.grid(axis="y", visible=False)
    return svg_of(figure, title)


def panels_for(count, per_line, width, height):
    """So many axes, and the figure that they are in; those left over are hidden."""
    lines = -(-count // per_line)
    figure, axes = pyplot.subplots(
        lines, per_line, squeeze=False, figsize=(width, lines * height)
    )
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, list(axes.flat[:count])


def latency_chart(results, title):
    """A panel per workload, a line per program, over percentiles."""
    workloads = results.latency_workloads()
    if not workloads:
        return ""
    colors = colors_of(results)
    figure, axes = panels_for(len(workloads), 3, 11, 3)
    for axis, (name, phases) in zip(axes, workloads.items()):
        for label in results.labels:
            places = [
                (place, results.median(row, label))
                for place, row in enumerate(phases.values())
            ]
            known = [
                (place, max(value, 1)) for place, value in places if value is not None
            ]
            if known:
                axis.plot(
                    *zip(*known),
                    marker="o",
                    markersize=3,
                    color=colors[label],
                    linewidth=2.2 if label == results.first else 1,
                    zorder=3 if label == results.first else 2,
                )
        axis.set_yscale("log")
        axis.set_xticks(range(len(phases)), phases.keys())
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: time_text(value)))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_title(name)
    return svg_of(figure, title)


def time_text(ns):
    """ "10 ns", "2 us"."""
    for unit, size in (("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:g} {unit}"
    return f"{ns:g} ns"


def memory_chart(results, title):
    """A panel per workload, a line per program: resident memory at the same work.

    Programs take different times for it, so that the points, which all take at the
    same places, are shown in order; where their numbers differ, by time."""
    shown = [name for name in results.workloads if name in results.points]
    if not shown:
        return ""
    colors = colors_of(results)
    figure, axes = panels_for(len(shown), 3, 11, 2.8)
    for axis, name in zip(axes, shown):
        series = results.points[name]
        same = len({len(points) for points in series.values()}) == 1
        for label in results.labels:
            points = series.get(label, [])
            if not points:
                continue
            seconds, mib = zip(*points)
            share = [
                100 * place / max(1, len(points) - 1) for place in range(len(points))
            ]
            axis.plot(
                share if same else seconds,
                mib,
                color=colors[label],
                linewidth=2.2 if label == results.first else 1,
                zorder=3 if label == results.first else 2,
            )
        axis.set_ylim(bottom=0)
        axis.set_ylabel("MiB")
        axis.set_xlabel("% of the work" if same else "seconds")
        axis.set_title(name)
    return svg_of(figure, title)


def dot_chart(results, values, unit, title):
    """A line per workload, a dot per program; `values` is workload -> label -> number."""
    values = {name: ones for name, ones in values.items() if ones}
    if not values:
        return ""
    colors = colors_of(results)
    figure, axis = pyplot.subplots(figsize=(10, 0.9 + 0.22 * len(values)))
    for place, ones in enumerate(values.values()):
        for label, value in ones.items():
            own = label == results.first
            axis.plot(
                max(value, 1),
                place,
                "D" if own else "o",
                color=colors[label],
                markersize=7 if own else 5,
                alpha=0.9,
                zorder=3 if own else 2,
            )
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_yticks(range(len(values)), values.keys(), fontsize=7.5)
    axis.set_ylim(len(values) - 0.4, -0.6)
    axis.set_xlabel(unit)
    return svg_of(figure, title)
