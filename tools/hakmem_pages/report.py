"""The parts of a report: what a record says, drawn and in words."""
from .advice import advice_of
from .drawings import heap_table, tree_map
from .page import (LAYERS, bar, chart, columns, count_of, esc, facts, layers, name_of, share,
                   size_of, table, whole)
from .record import MiB

MOMENTS_DRAWN = 300
PLACES_LISTED = 100
SUPERSLAB = 2 * MiB


# ---- over time ---------------------------------------------------------------------------

def drawn_moments(values):
    """Numbers of the moments that are drawn: of very many, the one of each piece with most."""
    count = len(values)
    if count <= MOMENTS_DRAWN:
        return list(range(count))
    edges = [i * count // MOMENTS_DRAWN for i in range(MOMENTS_DRAWN + 1)]
    picked = [max(range(a, b), key=lambda i: values[i]) for a, b in zip(edges, edges[1:])]
    return sorted({0, count - 1, *picked})


def largest_and_others(rows, others):
    """Of [(name, values)], those that had most at some time, and the sum of all others."""
    rows = sorted(rows, key=lambda row: -max(row[1]))
    shown = [row for row in rows[:LAYERS] if max(row[1]) > 0]
    rest = rows[len(shown):]
    if any(max(values) > 0 for _, values in rest):
        total = [sum(values) for values in zip(*(values for _, values in rest))]
        shown.append((f"{len(rest):,} {others}", total))
    return shown


def over_time(title, rows, others, dumps):
    if not rows or len(dumps) < 2:
        return ""
    sums = [sum(values) for values in zip(*(values for _, values in rows))]
    at = drawn_moments(sums)
    times = [dumps[i].time for i in at]
    shown = largest_and_others([(name, [values[i] for i in at]) for name, values in rows],
                               others)
    return layers(title, shown, times) if shown else ""


def history(record):
    out = ""
    if len(record.process) > 1:
        at = drawn_moments([d.process["committed_bytes"] for d in record.process])
        dumps = [record.process[i] for i in at]
        out += chart("The process", [(name, [d.process[key] for d in dumps]) for name, key in
                                     (("live", "live_bytes"), ("committed", "committed_bytes"),
                                      ("kept for reuse", "retained_bytes"))],
                     [d.time for d in dumps])
    heaps = list(record.heaps_over_time().items())
    out += over_time("By heap: what each uses without those below it", heaps, "more heaps",
                     record.heaps)
    places = [(place.last.title(), place.live()) for place in record.places.values()]
    out += over_time("By place: live bytes, estimated", places, "more places", record.sites)
    return out and f'<h2>Over time</h2><div class="charts">{out}</div>'


# ---- places ------------------------------------------------------------------------------

def rate_of(record, place):
    """What it allocated a second."""
    rows = [(dump.time, row.bytes) for dump, row in zip(record.sites, place.rows) if row]
    if len(rows) < 2 or rows[-1][0] <= rows[0][0]:
        return "not known"
    return f"{size_of(int((rows[-1][1] - rows[0][1]) * 1e9 / (rows[-1][0] - rows[0][0])))}/s"


LIFE_NAMES = ("256 KiB", "2 MiB", "16 MiB", "128 MiB", "1 GiB")


def lives(place):
    """What was freed, by how much was allocated during its life: a small drawing."""
    if sum(place.lived) == 0:
        return "not known"
    says = [f"{value / 10:.0f} % until {name}" for value, name in zip(place.lived, LIFE_NAMES)]
    says = ", ".join([*says, f"{place.lived[-1] / 10:.0f} % longer"])
    bars = "".join(f'<rect class="a0" x="{9 * i}" y="{20 - value / 50:.1f}" width="8" '
                   f'height="{max(value / 50, 0.6):.1f}"/>'
                   for i, value in enumerate(min(v, 1000) for v in place.lived))
    return (f'<svg class="lives" viewBox="0 0 54 21" role="img" aria-label="{says}">'
            f"<title>{says}</title>{bars}</svg>")


def saved_of(value):
    return f"-{size_of(-value)}" if value < 0 else size_of(value)


def place_row(record, place, left):
    p = place.last
    stays = "not known" if p.stays is None else f"{100 * p.stays:.0f} %"
    return (name_of(p.title()), size_of(p.live), f"{size_of(p.low)} to {size_of(p.high)}",
            f"{p.blocks:,}", size_of(p.peak), size_of(p.bytes), rate_of(record, place), lives(p), stays,
            size_of(left), saved_of(p.saved), f"group {p.group}" if p.group else "no")


def places(record):
    if not record.places:
        return ""
    behind, how = record.left_behind()
    left = {id(place): value for value, place in behind}
    rows = sorted(record.places.values(),
                  key=lambda p: -max(p.last.live, left.get(id(p.last), 0)))
    note = {"dumps": "What spikes left behind is from the dumps before and after them.",
            "samples": "What spikes left behind is what stays of a place's peak.",
            None: "No spike was seen: live bytes never fell to half of what they were."}[how]
    more = len(rows) - PLACES_LISTED
    return ("<h2>Places</h2><p>Estimates from samples; the real figure lies between the bounds "
            f"95 times in 100. {note} Lives are told by what all places allocate meanwhile: "
            f"until {', '.join(LIFE_NAMES)}, and longer, from left to right. What a place saves is its "
            "part of what is resident less since places are kept apart, or would be with LEARN=1, "
            "by a model.</p>"
            + table("Places that allocate", ("place", "live", "bounds", "blocks", "at most",
                                             "allocated", "rate", "lives", "stays after a wave",
                                             "left behind", "saves", "apart"),
                    [place_row(record, p, left.get(id(p.last), 0))
                     for p in rows[:PLACES_LISTED]])
            + (f"<p>{more:,} more places are not listed.</p>" if more > 0 else ""))


# ---- SuperSlabs --------------------------------------------------------------------------

TENTHS = [f"{10 * i}" for i in range(10)]


def kind_of(superslab):
    """What lives there: by group, as places are kept apart by how much of them stays."""
    if superslab.use == "large":
        return "large blocks"
    if superslab.use == "free":
        return "free"
    if superslab.samples:
        return "samples"
    return f"apart, group {superslab.group}" if superslab.group else "not apart"


def fill_of(superslab):
    if superslab.use == "large":
        return share(superslab.committed, SUPERSLAB)
    return share(superslab.out, SUPERSLAB)


def group_says(record, kind):
    """Which places a group is for."""
    if not kind.startswith("apart") or not record.sites:
        return ""
    number = int(kind.split()[-1])
    rows = [p for p in record.sites[-1].places if p.group == number and p.stays is not None]
    weight = sum(p.peak for p in rows)
    if weight == 0:
        return ""
    mean = sum(p.stays * p.peak for p in rows) / weight
    return f", of places of which {100 * mean:.0f} % stays after a wave"


def superslabs(record):
    if not record.heaps:
        return ""
    kinds = {}
    for s in record.heaps[-1].superslabs:
        kinds.setdefault(kind_of(s), []).append(s)
    if not kinds:
        return "<h2>SuperSlabs</h2><p>There are none.</p>"
    order = sorted(kinds, key=lambda kind: (kind in ("samples", "large blocks", "free"), kind))
    groups, rows = [], []
    for kind in order:
        counts = [0] * 10
        for s in kinds[kind]:
            counts[min(int(10 * fill_of(s)), 9)] += 1
        groups.append((kind + group_says(record, kind), counts))
        committed = sum(s.committed for s in kinds[kind])
        out = sum(s.out if s.use != "large" else s.committed for s in kinds[kind])
        rows.append((esc(kind), f"{len(kinds[kind]):,}", size_of(committed), size_of(out),
                     f"{100 * share(out, SUPERSLAB * len(kinds[kind])):.0f} %",
                     size_of(sum(s.retained for s in kinds[kind])),
                     " ".join(f"{n:,}" for n in counts)))
    return ("<h2>SuperSlabs</h2>"
            '<div class="charts">'
            + columns("SuperSlabs by how full they are: from so many per cent on", groups, TENTHS)
            + "</div>"
            + table("SuperSlabs by what lives in them",
                    ("what", "SuperSlabs", "committed", "in blocks", "filled", "kept",
                     "by tenths of fill"), rows))


def page_sizes(record):
    if not record.heaps:
        return ""
    last, sizes = record.heaps[-1], {}
    for s in last.superslabs:
        sizes.setdefault(s.page, []).append(s)
    parts = [(f"pages of {size_of(size)}", sum(s.committed for s in sizes[size]))
             for size in sorted(sizes)]
    own = sum(committed for _, _, _, committed in last.mappings)
    if own:
        parts.append(("large blocks with address space of their own", own))
    if not parts:
        return ""
    rows = [(size_of(size), f"{len(sizes[size]):,}",
             size_of(sum(s.committed for s in sizes[size])),
             f"{100 * share(sum(s.committed * fill_of(s) for s in sizes[size]), sum(s.committed for s in sizes[size])):.0f} %")
            for size in sorted(sizes)]
    return ("<h2>Page sizes</h2>" + bar("Committed memory by the size of pages asked for", parts)
            + table("SuperSlabs by the size of their pages",
                    ("pages", "SuperSlabs", "committed", "filled"), rows))


# ---- the process -------------------------------------------------------------------------

ROWS = (("live", "live_bytes"), ("cached by threads", "cached_bytes"),
        ("free among blocks", "free_bytes"), ("kept for reuse", "retained_bytes"),
        ("not cut into blocks yet", "uncarved_bytes"), ("the library's own", "metadata_bytes"),
        ("rounding of slabs", "class_waste_bytes"), ("behind large blocks", "large_slack_bytes"))


def resident(record):
    if not record.process:
        return ""
    p = record.process[-1].process
    p = dict(p, free_bytes=max(p["free_bytes"] - p["hole_bytes"], 0))
    less = [(name, p[key]) for name, key in
            (("never touched", "untouched_bytes"),
             ("in memory of the program's", "foreign_bytes")) if p[key] > 0]
    parts = [(name, p[key]) for name, key in ROWS if p[key] > 0]
    note = "" if not less else ("<p>Less " + ", ".join(
        f"{size_of(value)} {name}" for name, value in less)
        + f", that is {size_of(p['committed_bytes'])} committed.</p>")
    return ("<h2>What is resident</h2>" + (bar("By what it is used for", parts) if parts else "")
            + note)


def summary(record):
    rows = []
    if record.process:
        p = record.process[-1].process
        most = max(d.process["committed_bytes"] for d in record.process)
        rows += [("live", size_of(p["live_bytes"])), ("committed", size_of(p["committed_bytes"])),
                 ("at most", size_of(max(most, p["peak_committed_bytes"]))),
                 ("live blocks", f"{p['live_blocks']:,}"), ("threads", f"{p['threads']:,}")]
    if record.heaps:
        rows.append(("heaps", f"{len(record.heaps[-1].heaps):,}"))
    if record.sites:
        rows.append(("places", f"{len(record.sites[-1].places):,}"))
        rows.append(("waves seen", f"{max(len(record.waves), record.sites[-1].waves['waves']):,}"))
    return facts(rows)


def what_was_read(record):
    says = f"{count_of(len(record.dumps), 'dump')} over {record.seconds:.3g} s"
    if len(record.dumps) == 1:
        says = "one dump"
    cut = ", without a last one that is cut off" if record.cut else ""
    return f"hakmem, process {record.dumps[0].process_id}: {says}{cut}"


def advice(found):
    if not found:
        return "<p>Nothing stands out.</p>"
    return '<ul class="advice">' + "".join(
        f"<li><p>{name_of(a.says)}</p><p>{esc(a.do)} See docs/{a.page}.</p></li>"
        for a in found) + "</ul>"


def heaps(record):
    if not record.heaps:
        return ""
    return f"<h2>Heaps</h2>{tree_map(record.heaps[-1])}{heap_table(record.heaps[-1])}"


def page(record, title):
    return whole(title, f'<p class="soft">{esc(what_was_read(record))}</p>{summary(record)}'
                 f"<h2>Advice</h2>{advice(advice_of(record))}{history(record)}{places(record)}"
                 f"{superslabs(record)}{page_sizes(record)}{resident(record)}{heaps(record)}")


def text(record, shown):
    """The advice alone; `shown` makes a line of a text fit for where it goes."""
    lines = [what_was_read(record)]
    for a in advice_of(record):
        lines += ["", shown(a.says), f"  {shown(a.do)} See docs/{a.page}."]
    if len(lines) == 1:
        lines += ["", "Nothing stands out."]
    return "\n".join(lines) + "\n"
