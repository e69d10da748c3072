"""Charts of a measurement that are lines: each panel is an SVG to be put into a page."""

import io
import itertools
import re
from html import escape

import matplotlib

matplotlib.use("svg")
# pylint: disable=wrong-import-position
from matplotlib import pyplot
from matplotlib.ticker import FuncFormatter, NullFormatter

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

# In the page these are variables, which follow its light or dark colors.
PAGE_COLORS = {"#000000": "var(--ink)", "#e5e7eb": "var(--line)"}
# All of them can be seen on white and on black.
OWN_COLORS = ["#dd5516", "#fb923c", "#fdba74"]
YARDSTICK_COLOR = "#9ca3af"
PEER_COLORS = [
    "#2b83c6",
    "#2ca02c",
    "#9467bd",
    "#a0674b",
    "#0e9aa7",
    "#a3a300",
    "#d65fae",
    "#5b76c9",
    "#6a9a1f",
    "#7d8590",
]

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


def svg_of(figure, alternative):
    """The figure's SVG without its prolog, with ids that no other chart has."""
    stream = io.StringIO()
    figure.savefig(
        stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
    )
    pyplot.close(figure)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    prefix = f"chart{next(_numbers)}-"
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'href="#', f'href="#{prefix}', text)
    text = re.sub(r"url\(#", f"url(#{prefix}", text)
    for color, variable in PAGE_COLORS.items():
        text = text.replace(color, variable)
    label = escape(alternative, quote=True)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


class Panel:
    """A small chart of its own; panels stand side by side as the page's width allows."""

    def __init__(self, results):
        self.results = results
        self.colors = colors_of(results)
        self.figure, self.axis = pyplot.subplots(figsize=(3.6, 2.7))

    def line(self, label, places, values):
        """A program's line; figures of a smoke run are dashed, as they say nothing."""
        own = label == self.results.first
        self.axis.plot(
            places,
            values,
            color=self.colors[label],
            linewidth=2.4 if own else 1.1,
            zorder=3 if own else 2,
            linestyle="--" if self.results.is_smoke else "-",
        )

    def html(self, name, what, values, unit):
        """`values` is label -> number, which the alternative text lists."""
        listed = ", ".join(
            f"{label} {number(value)}" for label, value in values.items()
        )
        alternative = f"{name}: {what}, in {unit}: {listed}"
        return (
            f'<div class="panel"><h3>{escape(name)}</h3>'
            f"{svg_of(self.figure, alternative)}</div>"
        )


def time_text(ns):
    """ "10 ns", "2 us"."""
    for unit, size in (("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:g} {unit}"
    return f"{ns:g} ns"


def latency_panels(results):
    """A panel per workload, a line per program, over percentiles."""
    for name, phases in results.latency_workloads().items():
        panel = Panel(results)
        last = {}
        for label in results.labels:
            known = [
                (place, max(value, 1))
                for place, value in enumerate(
                    results.median(row, label) for row in phases.values()
                )
                if value is not None
            ]
            if known:
                panel.line(label, *zip(*known))
                last[label] = known[-1][1]
        axis = panel.axis
        axis.set_yscale("log")
        axis.set_xticks(range(len(phases)), phases.keys())
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: time_text(value)))
        axis.yaxis.set_minor_formatter(NullFormatter())
        yield panel.html(name, f"times of single calls, {list(phases)[-1]}", last, "ns")


def memory_panels(results):
    """A panel per workload, a line per program: resident memory at the same work.

    Programs take different times for it, so that the points, which all take at the
    same places, are shown in order; where their numbers differ, by time."""
    for name in results.workloads:
        series = results.points.get(name, {})
        if not any(len(points) > 1 for points in series.values()):
            continue
        panel = Panel(results)
        same = len({len(points) for points in series.values()}) == 1
        most = {}
        for label in results.labels:
            points = series.get(label, [])
            if not points:
                continue
            seconds, mib = zip(*points)
            share = [
                100 * place / max(1, len(points) - 1) for place in range(len(points))
            ]
            panel.line(label, share if same else seconds, mib)
            most[label] = max(mib)
        panel.axis.set_ylim(bottom=0)
        panel.axis.set_ylabel("MiB resident")
        panel.axis.set_xlabel("% of the work" if same else "seconds")
        yield panel.html(name, "most resident memory", most, "MiB")
