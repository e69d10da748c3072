"""Where the source has conditions that guard a change of state: for conditions.py."""

import collections
import re

import mutants as common

# What changes state by itself; what calls such a function does too.
CHANGES = re.compile(r"\bhak_(?:store|add|sub|or|and|exchange|cas)_\w+\(|"
                     r"(?:->|\.)\w+(?:\[[^\]]*\])?\s*(?:[-+|&^]?=(?!=)|\+\+|--)|"
                     r"^\s*\*\w+\s*=(?!=)|(?:\+\+|--)\w+->|\bmem(?:set|cpy|move)\(", re.M)
CALL = re.compile(r"\b([a-z]\w+)\(")
LEAVES = re.compile(r"^\s*(?:\{[^{}]*?)?\b(return|continue|break|goto)\b", re.S)
CONSTANT = re.compile(r"^(?:[A-Z0-9_]+|sizeof|[\s()<>=!+*/&|-]|\d)+$")


def blank(text):
    """The text with comments and lines of the preprocessor as spaces, strings as zeros."""
    def spaces(match):
        return re.sub(r"[^\n]", " " if match.group().lstrip()[0] in "/#" else "0", match.group())
    text = re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])+'", spaces, text,
                  flags=re.S)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", spaces, text, flags=re.M)


def close_of(text, at):
    """Where the bracket that opens at `at` is closed."""
    depth = 0
    for i in range(at, len(text)):
        depth += text[i] in "([{"
        depth -= text[i] in ")]}"
        if depth == 0:
            return i
    raise common.Wrong("brackets that do not match")


def statement_end(text, at):
    while text[at].isspace():
        at += 1
    if text[at] == "{":
        return close_of(text, at) + 1
    word = re.match(r"(if|while|for|switch)\s*\(", text[at:])
    if word:
        end = statement_end(text, close_of(text, at + word.end() - 1) + 1)
        other = re.match(r"\s*else\b", text[end:])
        return statement_end(text, end + other.end()) if other else end
    if text.startswith("do", at) and not text[at + 2].isalnum():
        return text.index(";", statement_end(text, at + 2)) + 1
    depth = 0
    for i in range(at, len(text)):
        depth += text[i] in "([{"
        depth -= text[i] in ")]}"
        if text[i] == ";" and depth == 0:
            return i + 1
    raise common.Wrong("a statement without an end")


def operands(text, start, end):
    """(operator, places) of what && or || joins at the outermost level; '' if neither."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    inner = re.match(r"(?:HAK_LIKELY|HAK_UNLIKELY)?\(", text[start:end])
    if inner and close_of(text, start + inner.end() - 1) == end - 1:
        return operands(text, start + inner.end(), end - 1)
    depth, last, found, parts = 0, start, set(), []
    for i in range(start, end - 1):
        depth += text[i] in "([{"
        depth -= text[i] in ")]}"
        if depth:
            continue
        if text[i] == "?":
            return "", [(start, end)]
        if text[i:i + 2] in ("&&", "||"):
            found.add(text[i:i + 2])
            parts.append((last, i))
            last = i + 2
    if len(found) != 1:
        return "", [(start, end)]
    return found.pop(), parts + [(last, end)]


class Condition:
    def __init__(self, file, function, start, end, to, changes, kind):
        self.file, self.function, self.start, self.end = file, function, start, end
        self.to, self.changes, self.kind = to, changes, kind
        self.number = self.line = 0
        self.text = self.key = ""


def functions(text):
    """(start of the body, its end, name) of each function."""
    found = []
    for match in re.finditer(r"^[A-Za-z_][^\n;{}=]*?\b(\w+)\(", text, re.M):
        close = close_of(text, match.end() - 1)
        after = re.match(r"\s*\{", text[close + 1:])
        if after:
            start = close + after.end()
            found.append((start, close_of(text, start), match.group(1)))
    return found


def leaves(text, start, end, to):
    """Each operand with the constant that leaves it out."""
    operator, parts = operands(text, start, end)
    if not operator:
        return [(parts[0][0], parts[0][1], to)] if to is not None else []
    constant = 1 if operator == "&&" else 0
    return [leaf for part in parts for leaf in leaves(text, part[0], part[1], constant)]


def conditions_of(file, text, mutating):
    plain = blank(text)
    found = []
    for start, end, name in functions(plain):
        body = plain[start:end]

        def add(at, stop, to, guarded, kind):
            changes = bool(CHANGES.search(guarded)) or any(
                call in mutating for call in CALL.findall(guarded))
            whole = operands(plain, at, stop)
            places = leaves(plain, at, stop, to)
            if whole[0] and to is not None:
                places.append((at, stop, to))
            for a, b, constant in places:
                if not CONSTANT.match(plain[a:b]):
                    found.append(Condition(file, name, a, b, constant, changes, kind))

        for match in re.finditer(r"\bif\s*\(", body):
            open_at = start + match.end() - 1
            close = close_of(plain, open_at)
            then_end = statement_end(plain, close + 1)
            then = plain[close + 1:then_end]
            exits = LEAVES.match(then)
            guarded = then + plain[then_end:end] if exits else then
            other = re.match(r"\s*else\b", plain[then_end:end])
            if other:
                guarded = then + plain[then_end:statement_end(plain, then_end + other.end())]
            add(open_at + 1, close, 0 if exits else 1, guarded, "if")
        for match in re.finditer(r"\breturn\s+([^;]*);", body):
            at, stop = start + match.start(1), start + match.end(1)
            if operands(plain, at, stop)[0]: # what a caller does or not
                add(at, stop, None, plain[start:end], "return")
    return found


def survey(root):
    """All conditions of the source, and its files' texts."""
    texts = {p: p.read_text() for p in sorted((root / "src").rglob("*.[ch]"))}
    bodies = collections.defaultdict(str)
    for text in texts.values():
        plain = blank(text)
        for start, end, name in functions(plain):
            bodies[name] += plain[start:end]
    mutating = {n for n, b in bodies.items() if CHANGES.search(b)}
    calls = {n: set(CALL.findall(b)) for n, b in bodies.items()}
    while True:
        more = {n for n in bodies if n not in mutating and calls[n] & mutating}
        if not more:
            break
        mutating |= more
    found, times = [], collections.Counter()
    for path, text in texts.items():
        if path.name in ("check.h", "check.c") and path.parent.name == "base":
            continue # asserts
        for c in sorted(conditions_of(str(path.relative_to(root)), text, mutating),
                        key=lambda c: (c.start, -c.end)):
            c.number = len(found) + 1
            c.text = " ".join(text[c.start:c.end].split())
            c.line = text.count("\n", 0, c.start) + 1
            name = f"{c.file} {c.function}: {c.text} -> {c.to}"
            times[name] += 1
            c.key = name if times[name] == 1 else f"{name} ({times[name]})"
            found.append(c)
    return found, texts
