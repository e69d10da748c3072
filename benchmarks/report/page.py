"""A measurement as one page of HTML."""

import os
import re
from html import escape

import bars
import charts
import tables

HERE = os.path.dirname(os.path.abspath(__file__))


def read(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        return file.read()


def cell_html(cell):
    attributes = f' class="{cell.look}"' if cell.look else ""
    if cell.hint:
        attributes += f' title="{escape(cell.hint)}"'
    if cell.value is not None:
        attributes += f' data-value="{cell.value!r}"'
    # An interval may stand in a line of its own.
    text = re.sub(r"^(\S+ )(\[.*\])$", r"\1<small>\2</small>", escape(cell.text))
    return f"<td{attributes}>{text}</td>"


def table_html(table, name="", long=False):
    """A long table is folded away, has a filter, and its head stays in sight."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in table.head)
    lines = "\n".join(
        "<tr>" + "".join(cell_html(cell) for cell in cells) + "</tr>"
        for cells in table.lines
    )
    extra = (
        f'<input type="search" placeholder="only lines with ..." '
        f'aria-label="{escape(table.title)}: only lines with">'
        if long
        else ""
    )
    return (
        f'{extra}<div class="scroll"><table id="{name}" class="sortable">'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>"
    )


def section(title, about, *parts, name=""):
    body = "\n".join(part for part in parts if part)
    if not body:
        return ""
    return (
        f'<section id="{name}"><h2>{escape(title)}</h2>\n'
        f'<p class="about">{escape(about)}</p>\n{body}\n</section>'
    )


def of_table(table, *before, long=False, name=""):
    """A section that is a table, with what stands before it; nothing if it is empty."""
    if not table.lines and not any(before):
        return ""
    shown = table_html(table, f"{name}-table", long) if table.lines else ""
    return section(table.title, table.about, *before, shown, name=name)


def colors(results):
    """Which color is which program's."""
    chips = "".join(
        f'<span><i style="background:{color}"></i>{escape(label)}</span>'
        for label, color in charts.colors_of(results).items()
    )
    return f'<p class="legend">{chips}</p>'


def verdict_colors(results):
    if results.is_smoke:
        return (
            '<p class="legend"><span><i class="same hatched"></i>'
            "a figure of a smoke run, which says nothing</span></p>"
        )
    chips = "".join(
        f'<span><i class="{look}"></i>{escape(verdict)}</span>'
        for verdict, look in bars.LOOKS.items()
    )
    return f'<p class="legend">{chips}</p>'


def line_chart(results, caption, panels):
    """Panels with lines, below what their colors mean."""
    shown = "\n".join(panels)
    if not shown:
        return ""
    return bars.figure_html(
        caption, f'{colors(results)}<div class="panels">{shown}</div>', "lines"
    )


def summary(results):
    """What a reader who reads one sentence reads."""
    if results.is_smoke:
        return (
            '<p class="note">SMOKE RUN: one run of each and small sets, to see that all '
            "works. The figures say nothing; there are no verdicts.</p>"
        )
    texts = []
    for what, unit in (("in time", "ns"), ("in memory", "MiB")):
        better, same, worse = (
            len(results.verdicts(verdict, (unit,)))
            for verdict in ("better", "no difference", "worse")
        )
        if better + same + worse > 0:
            texts.append(
                f'{what} <b class="better">better at {better}</b>, '
                f'<b class="same">no different at {same}</b> and '
                f'<b class="worse">worse at {worse}</b> of '
                f"{better + same + worse} figures"
            )
    return (
        f'<p class="lead">Beside the best peer of each figure, '
        f'{escape(results.first)} is {"; ".join(texts)}, by {results.pairs} '
        "interleaved pairs.</p>"
    )


def speed_rows(results):
    return [row for row in results.rows if row["unit"] == "ns"]


def memory_rows(results):
    """Those that are more than what any program has without allocating much."""
    return [
        row
        for row in results.rows
        if row["unit"] == "MiB"
        and max(one["median"] for one in row["programs"].values()) >= 16
    ]


def counts_of(results, key):
    """workload -> label -> number, for charts."""
    if key == "os_calls":
        return {
            name: {label: sum(calls.values()) for label, calls in ones.items()}
            for name, ones in results.in_order(results.os_calls)
        }
    return {
        name: {
            label: one.get("per_allocation", 0) + one.get("per_free", 0)
            for label, one in ones.items()
        }
        for name, ones in results.in_order(results.instructions)
    }


def sections(results):
    """In the order of what one wants to know first; losses come before gains."""
    totals = tables.headline(results)
    yield section(
        totals.title,
        totals.about,
        table_html(totals, "totals-table"),
        bars.group_chart(
            results,
            "ns",
            f"Time by group of workloads: {results.first} / other, geometric means; "
            f"left of 1 {results.first} takes less",
        ),
        name="totals",
    )
    if not results.is_smoke:
        yield of_table(tables.losses(results, "Losses: time", True), name="losses-time")
        yield of_table(
            tables.losses(results, "Losses: memory", False), name="losses-memory"
        )
    yield section(
        "Time",
        "Each figure against the best peer for it, whose name stands to "
        "the right; lines are 95 % intervals. Bars to the right are losses.",
        bars.ratio_chart(
            results,
            speed_rows(results),
            f"Time: {results.first} / best peer; left of 1 {results.first} takes less",
        ),
        name="time",
    )
    yield of_table(tables.beside(results), name="time-and-memory")
    yield of_table(tables.by_group(results, "ns"), name="time-by-group")
    yield section(
        "Memory",
        "Resident memory against the best peer; figures below 16 MiB "
        "everywhere are in the table only.",
        bars.ratio_chart(
            results,
            memory_rows(results),
            f"Memory: {results.first} / best peer; left of 1 {results.first} needs less",
        ),
        bars.group_chart(
            results,
            "MiB",
            f"Memory by group of workloads: {results.first} / other, geometric means; "
            f"left of 1 {results.first} needs less",
        ),
        name="memory",
    )
    yield of_table(tables.by_group(results, "MiB"), name="memory-by-group")
    yield section(
        "Memory over time",
        "Resident memory while a workload runs, in the first round.",
        line_chart(
            results,
            "Memory: MiB resident while a workload runs, a line for each program",
            charts.memory_panels(results),
        ),
        name="memory-over-time",
    )
    yield of_table(
        tables.latency(results),
        line_chart(
            results,
            "Time of single calls by percentile, a line for each program; lower is better",
            charts.latency_panels(results),
        ),
        name="latency",
    )
    yield of_table(
        tables.instructions(results),
        bars.dot_chart(
            results,
            counts_of(results, "instructions"),
            "Instructions of one allocation and one free, a dot for each program; left is "
            f"better, and the number is {results.first}'s",
            colors(results),
        ),
        name="instructions",
    )
    yield of_table(tables.huge_pages(results), long=True, name="huge-pages")
    yield of_table(tables.os_calls_by_kind(results), name="os-calls-by-kind")
    yield of_table(
        tables.os_calls(results),
        bars.dot_chart(
            results,
            counts_of(results, "os_calls"),
            "Calls to the system in one run, a dot for each program; left is better, and "
            f"the number is {results.first}'s",
            colors(results),
        ),
        name="os-calls",
    )
    yield of_table(tables.all_results(results), long=True, name="figures")
    yield of_table(tables.missing(results), name="left-out")
    yield of_table(tables.machine(results), name="machine")
    yield of_table(tables.proofs(results), name="proofs")


def page_of(results):
    """The whole page."""
    title = f"{results.title()} beside {len(results.peers())} others"
    if results.is_smoke:
        title = "SMOKE RUN: " + title
    body = "\n".join(text for text in sections(results) if text)
    machine = results.machine()
    where = ", ".join(
        machine[key]
        for key in ("cpu", "cores", "kernel", "compiler", "flags")
        if key in machine
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{read("page.css")}</style>
</head>
<body{' class="smoke"' if results.is_smoke else ""}>
<h1>{escape(title)}</h1>
<p class="about">{escape(results.data["began"][:10])}; {escape(where)}</p>
{summary(results)}
{colors(results)}
{verdict_colors(results)}
{body}
<script>
{read("page.js")}</script>
</body>
</html>
"""
