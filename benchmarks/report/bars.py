"""Charts of a measurement that are HTML: bars and dots on a logarithmic line, whose text
is text. They fit any width, follow the page's colors, and can be read aloud."""

import math
from html import escape

from charts import colors_of
from figures import number, ratio_text

TICKS = [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16, 32]
LOOKS = {"better": "better", "no difference": "same", "worse": "worse"}


class Line:
    """Places on a logarithmic line, in per cent of it."""

    def __init__(self, low, high):
        self.low, self.high = low, high

    def place(self, value):
        value = min(max(value, self.low), self.high)
        return 100 * math.log(value / self.low) / math.log(self.high / self.low)

    def span(self, one, other):
        """Where what lies between two values begins, and its width."""
        begin, end = sorted((self.place(one), self.place(other)))
        return f"left:{begin:.2f}%;width:{max(end - begin, 0.3):.2f}%"

    def grid(self, ticks, text_of):
        """Lines across the whole chart, with their values at its top."""
        return "".join(
            f'<i class="tick{" one" if tick == 1 else ""}" '
            f'style="left:{self.place(tick):.2f}%"><b>{text_of(tick)}</b></i>'
            for tick in ticks
            if self.low <= tick <= self.high
        )


def ratio_line(ratios):
    """Wide enough for all, at most 32 times either way."""
    values = [one["ratio"] for one in ratios]
    low = max(1 / 32, min([0.5, *values]) / 1.4)
    return Line(low, min(32, max([2, *values]) * 1.4))


def tick_text(value):
    return f"{value:g}" if value >= 1 else f"1/{1 / value:g}"


def figure_html(caption, body, look=""):
    return (
        f'<figure class="chart {look}"><figcaption>{escape(caption)}</figcaption>\n'
        f"{body}\n</figure>"
    )


def bar_html(line, ratio):
    """A bar from 1, its spread as a line; cut at the ends."""
    spread = ""
    if "low" in ratio:
        spread = f'<i class="spread" style="{line.span(ratio["low"], ratio["high"])}"></i>'
    return f'<i class="bar" style="{line.span(1, ratio["ratio"])}"></i>{spread}'


def row_html(name, track, value="", look="", hint=""):
    title = f' title="{escape(hint)}"' if hint else ""
    return (
        f'<li class="{look}"{title}><span class="name">{escape(name)}</span>'
        f'<span class="track">{track}</span><span class="value">{escape(value)}</span></li>'
    )


def plot_html(rows, grid, look=""):
    text = "\n".join(rows)
    lines = f'<li class="grid" aria-hidden="true">{grid}</li>'
    return f'<ul class="plot {look}">{lines}\n{text}</ul>'


def ratio_chart(results, rows, caption):
    """Every row against its best peer: above 1 the first program loses."""
    rows = [row for row in rows if results.to_best(row, results.first)]
    if not rows:
        return ""
    ratios = [results.to_best(row, results.first) for row in rows]
    line = ratio_line(ratios)
    shown, group = [], None
    for row, ratio in zip(rows, ratios):
        look = LOOKS.get(ratio.get("verdict"), "same")
        if group not in (None, row["group"]):
            look += " next"
        group = row["group"]
        shown.append(
            row_html(
                row["name"],
                bar_html(line, ratio),
                f"{number(ratio['ratio'])} {row['best_peer']}",
                look,
                f"{row['name']}: {ratio_text(ratio)} of {row['best_peer']}'s, "
                f"{ratio.get('verdict', 'no verdict')}",
            )
        )
    return figure_html(caption, plot_html(shown, line.grid(TICKS, tick_text)))


def group_chart(results, unit, caption):
    """A panel per program, a bar per group."""
    groups = [
        group
        for group in ["", *results.groups()]
        if results.total(unit, group)
        or any(results.total(unit, group, against=label) for label in results.labels)
    ]
    panels = [("best peer of each", None)] + [(name, name) for name in results.labels[1:]]
    totals = {
        (name, group): results.total(unit, group, against=against)
        for name, against in panels
        for group in groups
    }
    known = [total for total in totals.values() if total]
    if not known:
        return ""
    line = ratio_line(known)
    grid = line.grid([1 / 16, 1 / 4, 1, 4, 16], tick_text)
    shown = []
    for name, _ in panels:
        rows = []
        for group in groups:
            total = totals[name, group]
            look = LOOKS.get((total or {}).get("verdict"), "same")
            rows.append(
                row_html(
                    group or "ALL",
                    bar_html(line, total) if total else "",
                    number(total["ratio"]) if total else "-",
                    look,
                )
            )
        shown.append(
            f'<div class="panel"><h3>{escape(results.first)} / {escape(name)}</h3>'
            f'{plot_html(rows, grid, "narrow")}</div>'
        )
    return figure_html(caption, f'<div class="panels">{"".join(shown)}</div>')


def dot_chart(results, values, caption, legend):
    """A line per workload, a dot per program; `values` is workload -> label -> number."""
    values = {name: ones for name, ones in values.items() if ones}
    numbers = [max(one, 1) for ones in values.values() for one in ones.values()]
    if not numbers:
        return ""
    colors = colors_of(results)
    line = Line(max(1, min(numbers) / 1.3), max(max(numbers) * 1.3, 10))
    ticks = [10**power for power in range(10)]
    if line.high / line.low < 100:
        ticks = [step * tick for tick in ticks for step in (1, 2, 5)]
    rows = []
    for name, ones in values.items():
        dots = "".join(
            f'<i class="dot{" own" if label == results.first else ""}" style="left:'
            f'{line.place(max(value, 1)):.2f}%;background:{colors[label]}"></i>'
            for label, value in ones.items()
        )
        hint = ", ".join(f"{label} {number(value)}" for label, value in ones.items())
        own = ones.get(results.first)
        rows.append(row_html(name, dots, number(own), "", f"{name}: {hint}"))
    grid = line.grid(ticks, lambda at: f"{at:,}")
    return figure_html(caption, legend + plot_html(rows, grid))
