"""Drawings and tables of what hak_heaps_print says of heaps and SuperSlabs."""
from .page import esc, name_of, share, size_of

HEAPS_DRAWN, HEAPS_LISTED, CLASSES_OF = 400, 300, 12
SUPERSLABS_DRAWN, LEVELS_DRAWN = 256, 10

# ---- the tree map: squarified, so that areas are sizes and tiles nearly squares ----------

def worst(row, side, scale):
    total = sum(row) * scale
    return max(max(side * side * v * scale / (total * total),
                   total * total / (side * side * v * scale)) for v in row)


def squarify(values, width, height):
    """Rectangles (x, y, w, h) for values that are in falling order."""
    out, x, y, i = [], 0.0, 0.0, 0
    left = float(sum(values))
    while i < len(values):
        w, h = width - x, height - y
        side, scale = min(w, h), (w * h / left if left > 0 else 0)
        if side <= 0 or scale <= 0:
            out.extend((x, y, 0, 0) for _ in values[i:])
            break
        row = [values[i]]
        while i + len(row) < len(values):
            more = row + [values[i + len(row)]]
            if worst(more, side, scale) > worst(row, side, scale):
                break
            row = more
        thick, along = sum(row) * scale / side, 0.0
        for value in row:
            length = value * scale / thick
            out.append((x, y + along, thick, length) if w >= h else
                       (x + along, y, length, thick))
            along += length
        if w >= h:
            x += thick
        else:
            y += thick
        left -= sum(row)
        i += len(row)
    return out


def tile_text(heap):
    limit = f", limit {size_of(heap.hard)}" if heap.hard else ""
    return (f"{heap.path}: {size_of(heap.used)} used, {size_of(heap.peak)} at most{limit}, "
            f"{size_of(heap.live)} live in {heap.blocks:,} blocks")


class TreeMap:
    def __init__(self, dump):
        self.shown = {heap.id for heap in
                      sorted(dump.heaps, key=lambda h: -h.used)[:HEAPS_DRAWN]}
        self.out = []
        self.level(dump.tops, None, 0, 160.0, 100.0)

    def level(self, heaps, above, depth, width, height):
        heaps = sorted((h for h in heaps if h.used > 0), key=lambda h: -h.used)
        tiles = [(h.used, h) for h in heaps if h.id in self.shown]
        others = [h for h in heaps if h.id not in self.shown]
        if others:
            tiles.append((sum(h.used for h in others), f"{len(others):,} more"))
        rest = above.used - sum(t[0] for t in tiles) if above else 0
        if rest > 0 and tiles:
            tiles.append((rest, "its own"))
        tiles.sort(key=lambda t: -t[0])
        for (value, what), (x, y, w, h) in zip(
                tiles, squarify([t[0] for t in tiles], width, height)):
            self.tile(value, what, depth, (x, y, w, h), (width, height))

    def tile(self, value, what, depth, box, room):
        x, y, w, h = box
        style = (f"left:{100 * x / room[0]:.3f}%;top:{100 * y / room[1]:.3f}%;"
                 f"width:{100 * w / room[0]:.3f}%;height:{100 * h / room[1]:.3f}%")
        if isinstance(what, str):
            self.out.append(f'<div class="t own" style="{style}" '
                            f'title="{esc(what)}: {size_of(value)}"><span>{esc(what)} '
                            f"{size_of(value)}</span>"
                            "</div>")
            return
        shade = min(4, int(5 * share(what.live, what.used)))
        self.out.append(f'<div class="t s{shade}" style="{style}" '
                        f'title="{esc(tile_text(what))}"><span>{name_of(what.title())} '
                        f"{size_of(what.used)}</span>")
        if what.children and depth + 1 < LEVELS_DRAWN and w > 4 and h > 4:
            self.out.append('<div class="in">')
            self.level(what.children, what, depth + 1, w, h)
            self.out.append("</div>")
        self.out.append("</div>")


def tree_map(dump):
    total = sum(h.used for h in dump.tops)
    if total == 0:
        return "<p>No heap uses any memory.</p>"
    keys = "".join(f'<span class="key s{i}">{20 * i}-{20 * i + 20} %</span>' for i in range(5))
    label = (f"Tree map of {len(dump.heaps):,} heaps, {size_of(total)} in all; the table "
             "below has the same figures")
    return (f'<div class="map" role="img" aria-label="{esc(label)}">'
            f'{"".join(TreeMap(dump).out)}</div>'
            f'<p class="keys">Areas: used bytes. Shades, live of used: {keys}</p>')


def heap_table(dump):
    rows = []
    for heap in dump.heaps[:HEAPS_LISTED]:
        limit = size_of(heap.hard) if heap.hard else "none"
        kind = heap.kind if heap.memory == "system" else f"{heap.kind}, caller's memory"
        rows.append(f'<tr><th scope="row" style="padding-left:{min(heap.depth, 12) * 0.9 + .4:.1f}'
                    f'em">{name_of(heap.title())}</th><td>{size_of(heap.used)}</td>'
                    f"<td>{size_of(heap.peak)}</td><td>{limit}</td><td>{size_of(heap.live)}</td>"
                    f"<td>{heap.blocks:,}</td><td>{esc(kind)}</td></tr>")
    left = len(dump.heaps) - HEAPS_LISTED
    more = f"<p>{left:,} more heaps are not listed.</p>" if left > 0 else ""
    return ('<div class="wide"><table><caption>Heaps, each with those below it</caption>'
            "<thead><tr><th>heap</th><th>used</th><th>at most</th><th>limit</th><th>live</th>"
            "<th>blocks</th><th>kind</th></tr></thead><tbody>"
            f'{"".join(rows)}</tbody></table></div>{more}')


def class_tables(dump):
    out = []
    heaps = sorted((h for h in dump.heaps if h.classes), key=lambda h: -h.own_live)
    for heap in heaps[:CLASSES_OF]:
        rows = []
        for size, live, cached, free, sampled in heap.classes:
            asked = "not known" if sampled is None else \
                f"{100 * share(sampled[0], sampled[1]):.0f} %"
            rows.append(f'<tr><th scope="row">{size:,}</th><td>{live:,}</td><td>{cached:,}</td>'
                        f"<td>{free:,}</td><td>{size_of(live * size)}</td><td>{asked}</td></tr>")
        out.append(f"<details><summary>{name_of(heap.path)}: {size_of(heap.own_live)} of its own"
                   '</summary><div class="wide"><table><thead><tr><th>block size</th><th>live'
                   "</th><th>cached</th><th>free</th><th>live bytes</th><th>requested of usable"
                   f'</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div></details>')
    left = len(heaps) - CLASSES_OF
    if left > 0:
        out.append(f"<p>{left:,} smaller heaps are not listed.</p>")
    return "".join(out) or "<p>No heap has blocks of a size class.</p>"


# ---- the map of SuperSlabs -------------------------------------------------------------

STATES = {"u": "used", "k": "free, kept with its pages", "p": "free, given back",
          "n": "not used yet"}


def group_of(size):
    return next((i for i, most in enumerate((128, 1024, 57344)) if size <= most), 3)


def cell(superslab, i):
    state, span = superslab.slots[i], superslab.spans.get(i)
    x, y = i % 16 * 10, i // 16 * 12
    if superslab.use == "large":
        css, fill, says = "g3", 1.0, "part of a large block"
    elif state == "u" and span:
        size, blocks, capacity = span
        css, fill = f"g{group_of(size)}", max(share(blocks, capacity), 0.12)
        says = f"blocks of {size_of(size)}, {blocks:,} of {capacity:,} out"
    else:
        css, fill, says = {"k": "kept", "p": "gone"}.get(state, "new"), 0.0, \
            STATES.get(state, "unknown")
    bar = "" if fill == 0 else (f'<rect class="{css}" x="{x}" y="{y + 10 - 10 * fill:.1f}" '
                                f'width="9" height="{10 * fill:.1f}"/>')
    back = css if css in ("kept", "gone") else "new"
    return (f"<g><title>slab {i}: {esc(says)}</title>"
            f'<rect class="{back}" x="{x}" y="{y}" width="9" height="10"/>{bar}</g>')


def superslab_map(dump):
    if not dump.superslabs:
        return "<p>There are no SuperSlabs.</p>"
    cards = []
    for s in dump.superslabs[:SUPERSLABS_DRAWN]:
        used = s.slots.count("u")
        owner = dump.owner(s.heap)
        says = (f"SuperSlab {s.address} of {owner}: {used} of 32 slabs used, "
                f"{size_of(s.committed)} committed, {size_of(s.retained)} kept")
        cards.append(f'<figure><svg viewBox="0 0 160 24" role="img" aria-label="{esc(says)}">'
                     f'{"".join(cell(s, i) for i in range(32))}</svg>'
                     f"<figcaption>{name_of(owner)}<br><code>{esc(s.address)}</code> "
                     f"{size_of(s.committed)}, pages of {size_of(s.page)}</figcaption></figure>")
    left = len(dump.superslabs) - SUPERSLABS_DRAWN
    more = f"<p>{left:,} more SuperSlabs are not drawn.</p>" if left > 0 else ""
    keys = "".join(f'<span class="key {css}">{what}</span>' for css, what in
                   (("g0", "to 128 B"), ("g1", "to 1 KiB"), ("g2", "to 56 KiB"),
                    ("g3", "large"), ("kept", "kept"), ("gone", "given back")))
    return (f'<p class="keys">A cell is a slab of 64 KiB, filled as far as its blocks are out: '
            f'{keys}</p><div class="cards">{"".join(cards)}</div>{more}')


def mapping_table(dump):
    if not dump.mappings:
        return ""
    rows = "".join(f'<tr><th scope="row"><code>{esc(address)}</code></th>'
                   f"<td>{name_of(dump.owner(heap))}</td><td>{size_of(usable)}</td>"
                   f"<td>{size_of(committed)}</td></tr>"
                   for address, heap, usable, committed in dump.mappings[:HEAPS_LISTED])
    return ('<div class="wide"><table><caption>Large blocks with address space of their own'
            "</caption><thead><tr><th>address</th><th>heap</th><th>usable</th><th>committed</th>"
            f"</tr></thead><tbody>{rows}</tbody></table></div>")
