"""A measurement as tables in Markdown, for documents."""

import tables


def line_of(cells):
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def text_of(table):
    if not table.lines:
        return ""
    lines = [
        f"**{table.title}.** {table.about}",
        "",
        line_of(table.head),
        "|" + "---|" * len(table.head),
    ]
    lines += [line_of([cell.text for cell in cells]) for cells in table.lines]
    return "\n".join(lines) + "\n"


def markdown_of(results):
    """All tables, one after another."""
    parts = [
        tables.headline(results),
        tables.beside(results),
        tables.by_group(results, "ns"),
        tables.by_group(results, "MiB"),
        tables.losses(results, "Losses: time", True),
        tables.losses(results, "Losses: memory", False),
        tables.all_results(results),
        tables.latency(results),
        tables.huge_pages(results),
        tables.os_calls_by_kind(results),
        tables.instructions(results),
        tables.missing(results),
        tables.machine(results),
        tables.proofs(results),
    ]
    texts = [text_of(part) for part in parts]
    if results.is_smoke:
        texts.insert(
            0,
            "**SMOKE RUN: one run of each and small sets. The figures say "
            "nothing.**\n",
        )
    return "\n".join(text for text in texts if text)
