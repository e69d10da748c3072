"""A page of HTML without scripts: texts, sizes, charts of lines, and what they stand in."""
import html
import os
import sys
import unicodedata

def plain(value):
    """Any text on one line: control characters as C writes them, and nothing that is none."""
    return "".join("\\n" if c == "\n" else
                   f"\\x{ord(c):02x}" if c < " " or "\x7f" <= c < "\xa0" else
                   "\ufffd" if "\ud800" <= c <= "\udfff" or c in "\ufffe\uffff" else c
                   for c in str(value))


def for_terminals(value):
    """The same, where nothing keeps a text from turning the line around."""
    return "".join(f"\\u{ord(c):04x}" if unicodedata.category(c) == "Cf" else c
                   for c in plain(value))


def esc(value):
    """Any text, for HTML."""
    return html.escape(plain(value), quote=True)


def name_of(value):
    return f"<bdi>{esc(value)}</bdi>"


def size_of(value):
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if value >= 1 << shift:
            return f"{value / (1 << shift):.3g} {unit}" if value < 1000 << shift else \
                   f"{value >> shift:,} {unit}"
    return f"{value} B"


def count_of(value, what):
    return f"{value:,} {what}{'' if value == 1 else 's'}"


def share(part, whole):
    return 0 if whole == 0 else min(part / whole, 1)


# ---- charts ----------------------------------------------------------------------------

LAYERS = 6  # that have a colour of their own
DOTS_MOST = 60
LEFT, RIGHT, TOP, BOTTOM = 58, 350, 10, 150


def positions(times):
    span = max(times[-1] - times[0], 0)
    return [LEFT + (RIGHT - LEFT) * ((t - times[0]) / span if span else
                                     i / max(len(times) - 1, 1))
            for i, t in enumerate(times)]


def height_of(value, most):
    return BOTTOM - (BOTTOM - TOP) * value / most


def axes(most, times):
    span = max(times[-1] - times[0], 0)
    middle = (TOP + BOTTOM) // 2
    out = [f'<line class="axis" x1="{LEFT}" x2="{RIGHT}" y1="{y}" y2="{y}"/><text x="{LEFT - 4}" '
           f'y="{y + 4}" text-anchor="end">{size_of(value)}</text>'
           for y, value in ((TOP, most), (middle, most // 2), (BOTTOM, 0))]
    out.append(f'<text x="{LEFT}" y="166">first dump</text><text x="{RIGHT}" y="166" '
               'text-anchor="end">'
               f'{f"{span / 1e9:.3g} s later" if span else "last dump"}</text>')
    return out


def figure(title, says, drawn, legend):
    return (f'<figure class="chart"><figcaption>{esc(title)}</figcaption><svg viewBox="0 0 360 172" '
            f'role="img" aria-label="{esc(title + ". " + "; ".join(says))}">{"".join(drawn)}</svg>'
            f'<ul class="legend">{"".join(legend)}</ul></figure>')


def chart(title, lines, times):
    """Lines of [(name, values)]; None where there is no value."""
    most = max((v for _, values in lines for v in values if v is not None), default=0) or 1
    at, drawn = positions(times), axes(most, times)
    legend, says = [], []
    for k, (name, values) in enumerate(lines):
        points = [(x, height_of(v, most)) for x, v in zip(at, values) if v is not None]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        drawn.append(f'<polyline class="l{k}" points="{joined}"/>')
        if len(points) <= DOTS_MOST:
            drawn.extend(f'<circle class="l{k}" cx="{x:.1f}" cy="{y:.1f}" r="2.2"/>'
                         for x, y in points)
        known = [v for v in values if v is not None]
        said = f"{name}: {size_of(known[0])} at first, {size_of(known[-1])} at last"
        says.append(said)
        legend.append(f'<li><svg viewBox="0 0 24 8" aria-hidden="true"><line class="l{k}" x1="0" '
                      f'x2="24" y1="4" y2="4"/></svg> {name_of(said)}</li>')
    return figure(title, says, drawn, legend)


def layers(title, rows, times):
    """Areas of [(name, values)], one upon the other; the last one may be of the others, in
    grey, if there are more than LAYERS."""
    sums = [sum(values) for values in zip(*(values for _, values in rows))]
    most = max(sums, default=0) or 1
    at, drawn, legend, says = positions(times), axes(most, times), [], []
    below = [0] * len(times)
    for k, (name, values) in enumerate(rows):
        above = [low + value for low, value in zip(below, values)]
        edge = [f"{x:.1f},{height_of(v, most):.1f}" for x, v in zip(at, above)]
        back = [f"{x:.1f},{height_of(v, most):.1f}" for x, v in zip(at, below)]
        drawn.append(f'<polygon class="a{k}" points="{" ".join(edge + back[::-1])}"/>')
        below = above
        said = f"{name}: {size_of(values[-1])} at last, {size_of(max(values))} at most"
        says.append(said)
        legend.append(f'<li><svg viewBox="0 0 24 8" aria-hidden="true"><rect class="a{k}" '
                      f'width="24" height="8"/></svg> {name_of(said)}</li>')
    return figure(title, says, drawn, legend[::-1])


def columns(title, groups, names):
    """Columns of counts: `groups` is [(name, count for each of `names`)], one upon the
    other."""
    sums = [sum(counts) for counts in zip(*(counts for _, counts in groups))]
    most = max(sums, default=0) or 1
    drawn = [f'<line class="axis" x1="{LEFT - 30}" x2="{RIGHT}" y1="{y}" y2="{y}"/>'
             f'<text x="{LEFT - 34}" y="{y + 4}" text-anchor="end">{value:,}</text>'
             for y, value in ((TOP, most), (BOTTOM, 0))]
    wide = (RIGHT - LEFT + 30) / len(names)
    below = [0] * len(names)
    for k, (name, counts) in enumerate(groups):
        for i, count in enumerate(counts):
            if count == 0:
                continue
            top = height_of(below[i] + count, most)
            drawn.append(f'<rect class="a{k}" x="{LEFT - 30 + i * wide + 2:.1f}" y="{top:.1f}" '
                         f'width="{wide - 4:.1f}" height="{height_of(below[i], most) - top:.1f}">'
                         f"<title>{esc(name)}, {esc(names[i])}: {count:,}</title></rect>")
            below[i] += count
    drawn += [f'<text x="{LEFT - 30 + (i + 0.5) * wide:.1f}" y="166" text-anchor="middle">'
              f"{esc(name)}</text>" for i, name in enumerate(names)]
    legend = [f'<li><svg viewBox="0 0 24 8" aria-hidden="true"><rect class="a{k}" width="24" '
              f'height="8"/></svg> {name_of(f"{name}: {sum(counts):,}")}</li>'
              for k, (name, counts) in enumerate(groups)]
    says = [f"{name}: {sum(counts):,}" for name, counts in groups]
    return figure(title, says, drawn, legend)


def bar(title, parts):
    """One bar of [(name, bytes)]."""
    total = sum(value for _, value in parts) or 1
    drawn, legend, x = [], [], 0.0
    for k, (name, value) in enumerate(parts):
        said = f"{name}: {size_of(value)}"
        drawn.append(f'<rect class="a{k}" x="{x:.2f}" y="0" width="{360 * value / total:.2f}" '
                     f'height="22"><title>{esc(said)}</title></rect>')
        legend.append(f'<li><svg viewBox="0 0 24 8" aria-hidden="true"><rect class="a{k}" '
                      f'width="24" height="8"/></svg> {name_of(said)}</li>')
        x += 360 * value / total
    says = "; ".join(f"{name}: {size_of(value)}" for name, value in parts)
    return (f'<figure class="chart"><figcaption>{esc(title)}</figcaption><svg viewBox="0 0 360 22" '
            f'role="img" aria-label="{esc(title + ". " + says)}">{"".join(drawn)}</svg>'
            f'<ul class="legend">{"".join(legend)}</ul></figure>')


def table(caption, heads, rows):
    """Rows of HTML; the first cell of each is its head."""
    head = "".join(f'<th scope="col">{esc(name)}</th>' for name in heads)
    body = "".join(f'<tr><th scope="row">{row[0]}</th>'
                   + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>" for row in rows)
    return (f'<div class="wide"><table><caption>{esc(caption)}</caption><thead><tr>{head}</tr>'
            f"</thead><tbody>{body}</tbody></table></div>")


# ---- the page --------------------------------------------------------------------------

CSS = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#57606a;--line:#d0d7de;--card:#f6f8fa;
--s0:#e7f0fa;--s1:#c5dbf2;--s2:#94bce5;--s3:#5c95d0;--s4:#2f6cab;--on:#10243a;--on4:#fff;
--g0:#2f6cab;--g1:#1f7d72;--g2:#a1620f;--g3:#a23b72;--kept:#c9ced6;--new:#eceff3;
--l0:#2f6cab;--l1:#c97b16;--l2:#2a9d8f;--l3:#a23b72;--l4:#6b5bd2;--l5:#5b6570}
@media (prefers-color-scheme:dark){:root{--bg:#14181d;--fg:#e6e9ed;--soft:#a3adb8;--line:#39424d;
--card:#1c2229;--s0:#1f2f40;--s1:#24405c;--s2:#2c5680;--s3:#356ca2;--s4:#8bbdf0;--on:#eef4fb;
--on4:#0b1a2a;--g0:#6aa9e9;--g1:#4fc3b4;--g2:#e8a54a;--g3:#dd7fb2;--kept:#5a6470;--new:#262d36;
--l0:#6aa9e9;--l1:#e8a54a;--l2:#4fc3b4;--l3:#dd7fb2;--l4:#a99cf5;--l5:#b0bac5}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:1200px;background:var(--bg);color:var(--fg);
font:16px/1.45 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.2rem;margin:1.6rem 0 .5rem}
h3{font-size:1rem;margin:1.2rem 0 .4rem}
p{margin:.4rem 0}.soft,figcaption,caption{color:var(--soft)}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.5rem;margin:.6rem 0}
dl div{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.4rem .6rem}
dt{color:var(--soft);font-size:.85rem}dd{margin:0;font-weight:600}
.map{position:relative;width:100%;aspect-ratio:16/10;border:1px solid var(--line);overflow:hidden}
.t{position:absolute;overflow:hidden;border:1px solid var(--bg);font-size:12px;line-height:16px;
color:var(--on)}.t>span{display:block;padding:0 3px;white-space:nowrap;overflow:hidden;
text-overflow:ellipsis;height:16px}.in{position:absolute;inset:17px 2px 2px 2px}
.s0{background:var(--s0)}.s1{background:var(--s1)}.s2{background:var(--s2)}
.s3{background:var(--s3)}.s0,.s1,.s2,.s3{color:var(--on)}.s4{background:var(--s4);color:var(--on4)}
.own{background:var(--card);color:var(--soft)}
.keys{font-size:.85rem}.key{display:inline-block;padding:0 .45rem;margin:.1rem;border-radius:4px;
border:1px solid var(--line)}
span.g0,span.g1,span.g2,span.g3{color:var(--bg)}span.g0{background:var(--g0)}
span.g1{background:var(--g1)}span.g2{background:var(--g2)}span.g3{background:var(--g3)}
span.kept{background:var(--kept)}span.gone{border-style:dashed}
.wide{overflow-x:auto;margin:.6rem 0}table{border-collapse:collapse;font-size:.9rem;min-width:100%}
caption{text-align:left;padding:.2rem 0}
td,th{border-bottom:1px solid var(--line);padding:.2rem .5rem;text-align:right;white-space:nowrap}
tbody th,thead th:first-child{text-align:left;font-weight:500}
thead th{white-space:normal;overflow-wrap:normal;vertical-align:bottom}
tbody th{max-width:22rem;white-space:normal;min-width:7rem}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.7rem}
figure{margin:0}figcaption{font-size:.8rem;line-height:1.3}
.cards svg{width:100%;display:block}svg .g0{fill:var(--g0)}svg .g1{fill:var(--g1)}
svg .g2{fill:var(--g2)}svg .g3{fill:var(--g3)}svg .kept{fill:var(--kept)}svg .new{fill:var(--new)}
svg .gone{fill:none;stroke:var(--soft);stroke-width:.6;stroke-dasharray:1.5 1.2}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1rem}
.chart{max-width:34rem}.chart svg text{font-size:10px;fill:var(--soft)}
@media (max-width:30rem){.chart svg text{font-size:12px}}
.axis{stroke:var(--line);stroke-width:1}
.chart>svg{width:100%;display:block}polyline{fill:none;stroke-width:1.8}
.legend{list-style:none;padding:0;margin:.3rem 0;font-size:.85rem}
.legend svg{width:24px;height:8px;vertical-align:middle}.legend line{stroke-width:2.4}
""" + "".join(f".l{i}{{stroke:var(--l{i})}}circle.l{i}{{fill:var(--l{i})}}" for i in range(6)) + "".join(
    f".a{i}{{fill:var(--l{i})}}" for i in range(6)) + """
.a6{fill:var(--kept)}.a7{fill:var(--soft)}
polygon,rect[class^=a]{stroke:var(--bg);stroke-width:.6}
.lives{width:54px;height:21px;vertical-align:middle}
.advice{padding:0;list-style:none}.advice li{border-left:4px solid var(--l1);background:var(--card);
padding:.5rem .8rem;margin:.6rem 0;border-radius:0 6px 6px 0}.advice p{margin:.2rem 0}
.l1{stroke-dasharray:6 3}.l2{stroke-dasharray:2 2}.l3{stroke-dasharray:8 2 2 2}
.l4{stroke-dasharray:4 4}.l5{stroke-dasharray:1 3}circle{stroke-dasharray:none}
details{border:1px solid var(--line);border-radius:6px;padding:.3rem .6rem;margin:.4rem 0}
summary{cursor:pointer;padding:.3rem 0}
"""


def whole(title, body):
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<title>{esc(title)}</title><style>{CSS}</style></head><body>"
            f"<h1>{name_of(title)}</h1>{body}</body></html>\n")


def facts(rows):
    """Rows of (name, text)."""
    return "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>"
                            for name, value in rows) + "</dl>"


def ascii_only(value):
    return str(value).encode("ascii", "backslashreplace").decode("ascii").replace("\n", "\\n")


def write(path, data):
    if path is not None:
        with open(path, "wb") as file:
            file.write(data)
        return
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError:
        # What is left must not be written once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
