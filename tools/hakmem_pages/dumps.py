"""Reads what hak_heaps_print, hak_sites_print and hak_stats_print write as JSON.

Nothing is believed that is not checked: what is wrong raises BadDump with a text for people.
"""
import json
import os
import sys

MOST = 2**64
LIVES = 6  # lengths of life that are told apart


class BadDump(Exception):
    pass

def number(row, member, where):
    value = row.get(member)
    if type(value) is not int or not 0 <= value < MOST:
        raise BadDump(f"{where}: '{member}' is not a number of bytes or blocks")
    return value


def difference(row, member, where):
    """A number that may be below 0, and is 0 in dumps of versions that do not say it."""
    value = row.get(member, 0)
    if type(value) is not int or not -MOST < value < MOST:
        raise BadDump(f"{where}: '{member}' is not a number of bytes")
    return value


def text(row, member, where, or_null=False):
    value = row.get(member)
    if value is None and or_null and member in row:
        return None
    if not isinstance(value, str):
        raise BadDump(f"{where}: '{member}' is not a text")
    return value


def objects(row, member, where):
    value = row.get(member)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadDump(f"{where}: '{member}' is not a list of objects")
    return value


def an_object(row, member, where):
    value = row.get(member)
    if not isinstance(value, dict):
        raise BadDump(f"{where}: '{member}' is not an object")
    return value


class Heap:
    def __init__(self, row, where):
        self.id = text(row, "id", where)
        self.name = text(row, "name", where)
        self.parent = text(row, "parent", where, or_null=True)
        self.kind, self.memory = text(row, "kind", where), text(row, "memory", where)
        self.soft, self.hard = number(row, "soft_limit", where), number(row, "hard_limit", where)
        self.used, self.peak = number(row, "used_bytes", where), number(row, "peak_bytes", where)
        self.live, self.blocks = number(row, "live_bytes", where), number(row, "live_blocks", where)
        self.refused = number(row, "refused", where)
        own = an_object(row, "own", where)
        self.own_live = number(own, "live_bytes", where)
        self.classes = []
        for item in objects(own, "classes", where):
            figures = [number(item, member, where) for member in
                       ("size", "live_blocks", "cached_blocks", "free_blocks")]
            sampled = item.get("sampled")
            if sampled is not None:
                sampled = an_object(item, "sampled", where)
                sampled = (number(sampled, "requested_bytes", where),
                           number(sampled, "usable_bytes", where))
            self.classes.append((*figures, sampled))
        self.children = []

    def title(self):
        return self.name or "(no name)"


class SuperSlab:
    def __init__(self, row, where):
        self.address, self.use = text(row, "address", where), text(row, "use", where)
        self.heap = text(row, "heap", where, or_null=True)
        self.page = number(row, "page_bytes", where)
        self.committed = number(row, "committed_bytes", where)
        self.retained = number(row, "retained_bytes", where)
        self.group = number({"group": 0, **row}, "group", where)
        self.samples = row.get("samples", False)  # neither was there at first
        if type(self.samples) is not bool:
            raise BadDump(f"{where}: 'samples' is neither true nor false")
        self.slots = text(row, "slots", where)
        if len(self.slots) != 32:
            raise BadDump(f"{where}: 'slots' has not 32 letters")
        self.spans, self.out = {}, 0
        for item in objects(row, "spans", where):
            slot, slabs, size, blocks, capacity = (
                number(item, member, where)
                for member in ("slot", "slabs", "size", "blocks", "capacity"))
            if slot >= 32:
                raise BadDump(f"{where}: a span is at slot {slot}")
            self.out += size * blocks
            for i in range(slot, min(slot + max(slabs, 1), 32)):
                self.spans[i] = (size, blocks, max(capacity, 1))


class Dump:
    """What each of them begins with."""

    def __init__(self, name, row):
        self.name = name
        self.time = number(row, "time_ns", "the dump")
        self.process_id = number(row, "process_id", "the dump")


def statistics(row, where):
    """The fields of hak_stats_t."""
    for key in ("live_bytes", "live_blocks", "committed_bytes", "peak_committed_bytes",
                "retained_bytes", "cached_bytes", "free_bytes", "metadata_bytes",
                "reserved_bytes", "threads", "hole_bytes", "uncarved_bytes",
                "class_waste_bytes", "large_slack_bytes", "untouched_bytes", "foreign_bytes"):
        number(row, key, where)
    return {key: number(row, key, where) for key in row}


class StatisticsDump(Dump):
    """What hak_stats_print writes for the process."""

    def __init__(self, name, row):
        super().__init__(name, row)
        if row.get("of") != "process":
            raise BadDump("is of one heap: hak_stats_print(NULL, ...) says what the process has")
        self.process = statistics({key: value for key, value in row.items()
                                   if key not in ("format", "of")}, "the dump")


class HeapsDump(Dump):
    """What hak_heaps_print writes."""

    def __init__(self, name, row):
        super().__init__(name, row)
        self.process = statistics(an_object(row, "process", "the dump"), "process")
        self.heaps = [Heap(item, f"heap {i + 1}")
                      for i, item in enumerate(objects(row, "heaps", "the dump"))]
        self.superslabs = [SuperSlab(item, f"SuperSlab {i + 1}")
                           for i, item in enumerate(objects(row, "superslabs", "the dump"))]
        self.mappings = []
        for i, item in enumerate(objects(row, "mappings", "the dump")):
            where = f"mapping {i + 1}"
            self.mappings.append((text(item, "address", where),
                                  text(item, "heap", where, or_null=True),
                                  number(item, "usable_bytes", where),
                                  number(item, "committed_bytes", where)))
        self.link()

    def link(self):
        """Each heap's parent stands before it, so there is no circle."""
        self.by_id, self.tops = {}, []
        for heap in self.heaps:
            if heap.id in self.by_id:
                raise BadDump(f"heap {heap.id} is there twice")
            if heap.parent is None:
                self.tops.append(heap)
                heap.path = heap.title()
                heap.depth = 0
            elif heap.parent in self.by_id:
                above = self.by_id[heap.parent]
                above.children.append(heap)
                heap.path = f"{above.path[-400:]}/{heap.title()}"
                heap.depth = above.depth + 1
            else:
                raise BadDump(f"heap {heap.id} stands before its parent, or has none")
            self.by_id[heap.id] = heap

    def owner(self, heap_id):
        heap = self.by_id.get(heap_id)
        return "nobody" if heap_id is None else heap.path if heap else "a heap made meanwhile"


class Place:
    """Figures are estimates; `low` and `high` are the bounds of `live`."""

    def __init__(self, row, where):
        self.file, self.name = text(row, "file", where), text(row, "name", where)
        self.line = number(row, "line", where)
        self.live, self.low, self.high, self.blocks, self.peak, self.bytes, self.all_blocks = (
            number(row, member, where) for member in
            ("live_bytes", "live_bytes_low", "live_bytes_high", "live_blocks", "peak_bytes",
             "bytes", "blocks"))
        stays = row.get("stays_permille")
        if type(stays) is not int or not -1 <= stays <= 1000:
            raise BadDump(f"{where}: 'stays_permille' is no number from -1 to 1000")
        self.stays = None if stays < 0 else stays / 1000
        self.group = number(row, "group", where)
        self.saved = difference(row, "saved_bytes", where)
        lived = row.get("lived_permille", [0] * LIVES)
        if not isinstance(lived, list) or len(lived) != LIVES:
            raise BadDump(f"{where}: 'lived_permille' has not {LIVES} numbers")
        self.lived = [number({"lived_permille": value}, "lived_permille", where)
                      for value in lived]

    def title(self):
        at = f"{self.file}:{self.line}" if self.file else ""
        if self.name and at:
            return f"{self.name} ({at})"
        return self.name or at or "(no name)"


class SitesDump(Dump):
    """What hak_sites_print writes."""

    def __init__(self, name, row):
        super().__init__(name, row)
        self.sample_bytes = number(row, "sample_bytes", "the dump")
        self.places = [Place(item, f"place {i + 1}")
                       for i, item in enumerate(objects(row, "sites", "the dump"))]
        waves = an_object(row, "waves", "the dump")
        self.waves = {key: number(waves, key, "waves") for key in
                      ("waves", "moves", "places_apart", "peak_bytes", "trough_bytes",
                       "together_bytes", "apart_bytes", "best_bytes")}
        self.waves["saved_bytes"] = difference(waves, "saved_bytes", "waves")

    def live(self):
        return sum(place.live for place in self.places)


def not_a_number(word):
    raise BadDump(f"is not JSON: {word}")


def integer(digits):
    if len(digits) > 20:  # none of a dump is as long
        raise BadDump("is not JSON of hakmem's: a number is too large")
    return int(digits)


KINDS = {"hakmem heaps": ("hak_heaps_print", HeapsDump),
         "hakmem sites": ("hak_sites_print", SitesDump),
         "hakmem statistics": ("hak_stats_print", StatisticsDump)}


def dump_of(name, row, kinds):
    kind = row.get("format") if isinstance(row, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        known = " or ".join(KINDS[k][0] for k in kinds)
        raise BadDump(f"is not what {known} writes as JSON")
    if row.get("format_version") != 1:
        raise BadDump("has another format_version than 1, which is what this tool knows")
    return KINDS[kind][1](name, row)


def is_cut(data, error):
    """Whether the text ends before what begins in it does."""
    rest = data[error.pos:].strip()
    return rest == "" or error.msg.startswith("Unterminated") or \
        any(word.startswith(rest) for word in ("true", "false", "null"))


def rows_of(data):
    """The objects of a text, and whether the last one is cut off, which then is left out."""
    decoder = json.JSONDecoder(parse_constant=not_a_number, parse_int=integer)
    rows, at = [], 0
    while True:
        while at < len(data) and data[at] in " \t\r\n":
            at += 1
        if at == len(data):
            break
        try:
            row, at = decoder.raw_decode(data, at)
        except json.JSONDecodeError as error:
            if rows and is_cut(data, error):
                return rows, True
            raise
        rows.append(row)
    if not rows:
        raise BadDump("is not JSON: it is empty")
    return rows, False


def bytes_of(path):
    if path == "-":
        return sys.stdin.buffer.read()
    with open(path, "rb") as file:
        return file.read()


def read(path, kinds):
    """The dumps of a file, one behind the other, of the kinds that are wanted; and whether a
    last one is cut off."""
    name = "standard input" if path == "-" else os.path.basename(path)
    try:
        # Shells and editors may have put a byte order mark before it.
        rows, cut = rows_of(bytes_of(path).decode("utf-8-sig"))
        if len(rows) == 1:
            return [dump_of(name, rows[0], kinds)], cut
        return [dump_of(f"{name}, {i + 1}", row, kinds) for i, row in enumerate(rows)], cut
    except OSError as error:
        raise BadDump(error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise BadDump("is not JSON: not UTF-8") from None
    except RecursionError:
        raise BadDump("is not JSON of hakmem's: nested too deeply") from None
    except ValueError as error:
        raise BadDump(f"is not JSON: {error}") from None
