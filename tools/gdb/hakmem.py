"""hakmem in gdb: what lies at an address, and which heaps there are.

    (gdb) source tools/gdb/hakmem.py
    (gdb) hakmem heaps            all heaps as a tree, with what they use and their limits
    (gdb) hakmem block ADDRESS    the block that an address lies in, its heap, and whether
                                  it is in use; ADDRESS is any expression

and handles of heaps are printed with their names. Works in live processes and in core files
of a library that was compiled with -g, at any level of optimisation: structures are read, no
function of the process is called. docs/GDB.md has examples.

What the library's files keep for themselves is found by the names of the variables there, so
this script goes with the version of the library that it lies beside.
"""
import gdb

# A handle is the address of a record with a tag above and below it; see heap/heap_record.h.
RECORD_BITS = (1 << 48) - (1 << 6)
ALL_BITS = (1 << 64) - 1
# Classes that are none of the size classes; see superslab/slab.h and external_range.h.
CLASS_LARGE = 0xfe
CLASS_EXTERNAL = 0xfd
LEAST_BLOCK = 8
STEPS_MOST = 1 << 20  # of any list: memory may be corrupt
NOT_OURS = "no memory of hakmem's"
# As in base/text.c.
REORDERING = "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
MALLOCED_ON = 2  # see external/malloced.h


def pointer(value):
    return int(value) & ALL_BITS


def count_of(array):
    low, high = array.type.strip_typedefs().range()
    return high - low + 1


def at(address, type_name):
    """The object of a type of the library's at an address."""
    return gdb.Value(address).cast(gdb.lookup_type(type_name).pointer()).dereference()


def size_text(value):
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if value >= 1 << shift:
            return f"{value / (1 << shift):.1f} {unit}"
    return f"{value} B"


def quoted(data):
    """A name as part of one line, whose order of characters it does not change."""
    text = data.decode("utf-8", "backslashreplace")
    return "".join("\\n" if c == "\n" else f"\\x{ord(c):02x}" if c < " " or "\x7f" <= c < "\xa0"
                   else f"\\u{ord(c):04x}" if c in REORDERING else c for c in text)


class Library:
    """The variables of the library, as they are now."""

    def __init__(self):
        self.registry = self.variable("hak_registry_table")
        self.infos = self.variable("hak_class_infos")

    def missing(self, name):
        raise gdb.GdbError(f"hakmem: {name} is not known: the program contains no hakmem, or "
                           "one compiled without -g")

    def variable(self, name):
        symbol = gdb.lookup_global_symbol(name)
        if symbol is None:
            self.missing(name)
        try:
            return symbol.value()
        except gdb.error:
            raise gdb.GdbError(f"hakmem: {name} cannot be read: is there a process or a core "
                               "file?") from None

    def static(self, function, name, file):
        """A variable of the file that has the function; in the library as one file its name
        may have that of the file behind it."""
        symbol = gdb.lookup_global_symbol(function)
        if symbol is None:
            self.missing(function)
        names = (f"{name}_{file}", name)
        found = {s.name: s for s in symbol.symtab.static_block() if s.name in names}
        for wanted in names:
            if wanted in found:
                return found[wanted].value()
        self.missing(f"{name} of {file}.c")

    def class_size(self, cls):
        return int(self.infos[cls]["size"]) if cls < count_of(self.infos) else 0

    # -- heaps ---------------------------------------------------------------------------

    def records(self):
        """Every record of a heap that was ever made."""
        made = int(self.static("hak_heap_at", "made", "heap_heap_record"))
        chunks = self.static("hak_heap_at", "chunks", "heap_heap_record")
        for i in range(count_of(chunks)):
            address = pointer(chunks[i])
            if address == 0:
                continue
            chunk = chunks[i].dereference()
            per_chunk = count_of(chunk["heaps"])
            for k in range(min(per_chunk, made - i * per_chunk)):
                if int(chunk["made"][k]) != 0:
                    yield chunk["heaps"][k]

    def record_of(self, handle):
        """The record that a handle leads to; None if there is no such record."""
        address = pointer(handle) & RECORD_BITS
        for record in self.records():
            if pointer(record.address) == address:
                return record
        return None

    @staticmethod
    def name(record):
        words = record["names"][int(record["name_at"]) & 1]
        data = b"".join(int(words[i]).to_bytes(8, "little") for i in range(count_of(words)))
        return quoted(data.split(b"\0")[0]) or "?"

    def path(self, record):
        names = [self.name(record)]
        for _ in range(64):
            above = pointer(record["parent"])
            if above == 0:
                break
            record = self.record_of(above)
            names.append("?" if record is None else self.name(record))
            if record is None:
                break
        return "/".join(reversed(names))

    def owner(self, record):
        """What a heap without a handle has is that of the nearest heap above with one."""
        for _ in range(64):
            above = self.record_of(record["parent"])
            if int(record["released"]) == 0 or above is None:
                break
            record = above
        if int(record["released"]) != 0:
            return self.static("hak_heap_get_default", "default_heap",
                               "heap_heap").dereference()
        return record

    # -- addresses -------------------------------------------------------------------------

    def leaf(self, address):
        if pointer(self.registry) == 0:
            raise gdb.GdbError("hakmem: the library is not running")
        registry = self.registry.dereference()
        leaf_type = gdb.lookup_type("struct hak_leaf")
        self.slabs = {f.name: f.type for f in leaf_type.fields()}["note"].range()[1] + 1
        index = address // (self.slabs << 16)
        if index >= count_of(registry["leaf"]):
            return None
        distance = int(registry["leaf"][index])
        if distance == 0:
            return None
        return at(pointer(registry["absent"].address) + distance, "struct hak_leaf")

    def locate(self, address):
        """The Block that an address lies in, or a text that says what is there."""
        malloced = self.static("hak_malloced_find", "tree", "external_malloced")
        if pointer(malloced) != 0:
            block = self.in_malloced(malloced, address)
            if block is not None:
                return block
        found = self.located(address)
        if found == NOT_OURS and int(self.variable("hak_malloced_state")) == MALLOCED_ON:
            return "neither memory of hakmem's nor a block that it has from malloc"
        return found

    def in_malloced(self, node, address):
        """The block of malloc's: the one with the highest address up to this one, if it is
        as long. The tree holds addresses inverted."""
        found = None
        for _ in range(STEPS_MOST):
            if pointer(node) == 0:
                break
            start = ~int(node["hidden"]) & ALL_BITS
            if start <= address:
                found, start_found = node, start
            node = node["high"] if start <= address else node["low"]
        if found is None or address - start_found >= int(found["size"]):
            return None
        return Block(self, found["owner"]["extent"], start_found, int(found["size"]),
                     "in use, one of malloc's")

    def located(self, address):
        leaf = self.leaf(address)
        if leaf is None:
            return NOT_OURS
        low = address % (self.slabs << 16)
        extent = pointer(leaf["extent"][low >> 21])
        if extent == 0:
            return self.in_external(leaf, low, address)
        note = int(leaf["note"][low >> 16])
        extent = at(extent, "struct hak_extent")
        kinds = {f.name: f.enumval for f in gdb.lookup_type("hak_extent_kind_t").fields()}
        kind = int(extent["kind"])
        if kind == kinds["HAK_EXTENT_EXTERNAL"] or (
                kind == kinds["HAK_EXTENT_SLABS"] and (note & 0xff) - 1 == CLASS_EXTERNAL):
            return self.in_external(leaf, low, address)
        if kind == kinds["HAK_EXTENT_SLABS"]:
            return self.in_slabs(extent, note, address)
        if kind == kinds["HAK_EXTENT_RUN"]:
            start = pointer(extent["block"])
            superslab = at(pointer(extent.address), "struct hak_superslab")
            back = ((address & ~((1 << 21) - 1)) - start) >> 21
            if start != 0 and 0 <= back <= int(superslab["index"]):
                first = (superslab.address - back).dereference()["extent"]
                return self.large(first, address)
        if kind == kinds["HAK_EXTENT_MAPPING"]:
            found = self.in_external(leaf, low, address)
            return self.large(extent, address) if isinstance(found, str) else found
        return "memory that no heap has"

    def large(self, extent, address):
        start, size = pointer(extent["block"]), int(extent["size"])
        if start == 0 or not start <= address < start + size:
            return "memory behind a large block, or kept for one"
        return Block(self, extent, start, size, "in use")

    def in_slabs(self, extent, note, address):
        superslab = at(pointer(extent.address), "struct hak_superslab")
        slot, back = address >> 16 & 31, note >> 8
        if note == 0 or back > slot:
            return "a slab that nobody uses"
        slab = superslab["slabs"][slot - back]
        start = (address & ~0xffff) - (back << 16)
        cls = (note & 0xff) - 1
        if cls == CLASS_LARGE:
            if int(slab["cls"]) != CLASS_LARGE:
                return "memory of a large block that was freed"
            size = int(slab["usable"])
            return Block(self, extent, start, size, "in use") if address < start + size else \
                "memory behind a large block"
        size = self.class_size(cls)
        if size == 0:
            return "a slab that nobody uses"
        index = (address - start) // size
        if index >= int(slab["carved"]):
            return "a slab in use, beyond the blocks that were ever given out"
        block = Block(self, extent, start + index * size, size, None)
        try:
            block.state = Search(self, extent, slab, cls, start, block.start).state()
        except gdb.error as error:
            block.state = f"in use or free, which cannot be told: {error}"
        return block

    def in_external(self, leaf, low, address):
        link = leaf["range"][low >> 21]
        for _ in range(STEPS_MOST):
            if pointer(link) == 0:
                break
            extent = link.dereference()["extent"]
            start, size = pointer(extent["block"]), int(extent["size"])
            if start <= address < start + size:
                return self.external_chunk(extent, address)
            link = link.dereference()["next"]
        return NOT_OURS

    def external_chunk(self, extent, address):
        external = at(pointer(extent.address), "struct hak_external_heap")
        base, starts = pointer(external["base"]), external["map"]["starts"]
        granules = int(external["map"]["granules"])
        size = 1 << int(external["map"]["shift"])  # of a granule
        granule = (address - base) // size
        if not 0 <= granule < granules:
            return "the records of a heap in memory of the caller's"

        def is_start(i):
            return int(starts[i // 64]) >> (i % 64) & 1

        first, end = granule, granule + 1
        while first > 0 and not is_start(first):
            first -= 1
        while end < granules and not is_start(end):
            end += 1
        used = int(external["map"]["used"][first // 64]) >> (first % 64) & 1
        if not used:
            return "free memory of a heap in memory of the caller's"
        return Block(self, extent, base + first * size, (end - first) * size, "in use")

    def place_of(self, start):
        """Where the program allocated a block that is a sample; or None."""
        table = self.static("hak_sample_add", "table", "learn_sample")
        if pointer(table) == 0:
            return None
        count = int(self.static("hak_sample_add", "live", "learn_sample"))
        for i in range(4096 if count else 0):
            if pointer(table[i]["block"]) == start:
                return self.origin(int(table[i]["origin"])), int(table[i]["size"])
        return None

    def origin(self, number):
        chunks = self.static("hak_origin_make", "chunks", "learn_origin")
        chunk = chunks[number // 64]
        if pointer(chunk) == 0 or number < 2:
            return "a place that is not known"
        origin = (chunk + number % 64).dereference()
        text = bytes(int(origin["text"][i]) & 0xff for i in range(count_of(origin["text"])))
        name_at = int(origin["name_at"])
        file, name = text.split(b"\0")[0], text[name_at:].split(b"\0")[0]
        where = f"{quoted(file)}:{int(origin['line'])}" if file else ""
        return f"{quoted(name)} ({where})" if name and where else quoted(name) or where


class Block:
    def __init__(self, library, extent, start, size, state):
        self.library, self.start, self.size, self.state = library, start, size, state
        self.record = library.record_of(extent["heap"])

    def text(self, address):
        inside = address - self.start
        where = "is" if inside == 0 else f"is {inside} bytes into"
        said = f"0x{address:x} {where} a block of {self.size} bytes at 0x{self.start:x}, "
        if self.record is None:
            said += "of a heap that is not known"
        else:
            owner = self.library.owner(self.record)
            handle = pointer(owner["handle"])
            said += f'of heap 0x{handle:x} "{self.library.path(owner)}"'
        said += f": {self.state}"
        place = self.library.place_of(self.start) if self.state == "in use" else None
        return said + (f"; {place[1]} bytes were asked for by {place[0]}" if place else "")


class Search:
    """Whether a block of a slab is in use: it is on no list then."""

    def __init__(self, library, extent, slab, cls, span, block):
        self.library, self.extent, self.slab, self.cls = library, extent, slab, cls
        self.span, self.block = span, block
        self.secret = int(library.static("hak_threads_visit", "key",
                                         "heap_threads")["secret"])
        self.memory = gdb.selected_inferior()

    def next(self, block):
        """What a link leads to: it is an address, xor a secret where checks are on."""
        try:
            word = int.from_bytes(self.memory.read_memory(block, 8).tobytes(), "little")
        except gdb.MemoryError:
            return 0
        for to in (word ^ self.secret, word):
            if to != 0 and to % LEAST_BLOCK == 0 and to >> 48 == 0:
                return to
        return 0

    def is_on(self, head):
        at_block, steps, seen = pointer(head), 0, set()
        while at_block != 0 and steps < STEPS_MOST and at_block not in seen:
            if at_block == self.block:
                return True
            seen.add(at_block)
            at_block, steps = self.next(at_block), steps + 1
        return False

    def is_in(self, magazine):
        if pointer(magazine) == 0:
            return False
        magazine = magazine.dereference()
        count = min(int(magazine["count"]), count_of(magazine["blocks"]))
        return any(pointer(magazine["blocks"][i]) == self.block for i in range(count))

    def is_cached(self, bins, holds):
        bin_of, hold = bins[self.cls], holds[self.cls]
        return self.is_on(bin_of["list"]["head"]) or self.is_on(bin_of["ready"]) or \
            self.is_on(hold["spare"]) or self.is_in(hold["magazine"])

    def states(self):
        chunks = self.library.static("hak_threads_visit", "chunks", "heap_threads")
        for i in range(count_of(chunks)):
            if pointer(chunks[i]) == 0:
                continue
            places = chunks[i].dereference()["places"]
            for k in range(count_of(places)):
                if pointer(places[k]["state"]) != 0 and int(places[k]["bare"]) == 0:
                    yield at(pointer(places[k]["state"]), "struct hak_thread_state")

    def cache_of(self, state, record):
        """The bins and holds of a thread for the heap, or None."""
        index, per_chunk = int(record["index"]), 128
        chunk = state["chunks"][count_of(state["chunks"]) - 1 - index // per_chunk]
        if pointer(chunk) == 0:
            return None
        cache = chunk.dereference()["caches"][index % per_chunk]
        if pointer(cache) == 0:
            return None
        cache = cache.dereference()
        if pointer(cache["heap_id"]) != pointer(self.extent["heap"]):
            return None
        number = int(cache["index"])
        room = count_of(state["indices"])
        return (state["indices"][number] if number < room else cache["own"]), cache["holds"]

    def is_put_away(self):
        page = int(self.extent["os"].dereference()["page_size"])
        first, last = (self.block - self.span) // page, \
            (self.block + self.library.class_size(self.cls) - 1 - self.span) // page
        per_slab = (1 << 16) // page
        return any(int((self.slab.address + i // per_slab).dereference()["holes"]) >>
                   (i % per_slab) & 1 for i in range(first, last + 1))

    def state(self):
        word = int(self.slab["word"])
        remote = word & 0xffff
        if self.is_put_away() or self.is_on(self.slab["list"]["head"]) or \
                (remote and self.is_on(self.span + ((remote - 1) << 3))):
            return "free, in its slab"
        record = self.library.record_of(self.extent["heap"])
        if record is None:
            return "of no heap"
        default = pointer(record["index"]) == 0
        for state in self.states():
            thread = state["thread"]
            if default:
                if self.is_cached(thread["bins"], thread["holds"]):
                    return "free, cached by a thread"
                continue
            found = self.cache_of(state, record)
            if found is not None and self.is_cached(*found):
                return "free, cached by a thread"
        if pointer(record["serial"]) != 0:
            serial = record["serial"].dereference()
            if self.is_cached(serial["bins"], serial["holds"]):
                return "free, cached by its heap"
        return "free, on its way to another thread" if self.is_waiting(record) else "in use"

    def is_waiting(self, record):
        store = record["store"].dereference()
        if self.cls >= 64 or not int(store["begun"]) >> self.cls & 1:
            return False
        places = store["centrals"][self.cls]["places"]
        return any(self.is_in(places[i]) for i in range(count_of(places)))


# ---- commands ------------------------------------------------------------------------------

def in_a_line(invoke):
    """What goes wrong is said as gdb says it of its own commands: memory that is read may
    be corrupt, and expressions are the user's."""
    def invoke_safely(self, argument, from_tty):
        try:
            invoke(self, argument, from_tty)
        except gdb.GdbError:
            raise
        except (gdb.error, LookupError, ValueError, OverflowError) as error:
            raise gdb.GdbError(f"hakmem: {error}") from None
    return invoke_safely


class Hakmem(gdb.Command):
    """What hakmem, the allocator, knows: hakmem heaps, hakmem block ADDRESS."""

    def __init__(self):
        super().__init__("hakmem", gdb.COMMAND_DATA, prefix=True)

    def invoke(self, argument, from_tty):
        if argument.strip():
            raise gdb.GdbError(f'hakmem: there is no "{argument.split()[0]}"; there are: '
                               "hakmem heaps, hakmem block ADDRESS")
        gdb.execute("help hakmem")


class Heaps(gdb.Command):
    """hakmem heaps: all heaps as a tree, with what they use (with those below), the most
that this was, and their limits."""

    def __init__(self):
        super().__init__("hakmem heaps", gdb.COMMAND_DATA)

    @in_a_line
    def invoke(self, argument, from_tty):
        if argument.strip():
            raise gdb.GdbError("hakmem heaps takes no argument")
        library, below = Library(), {}
        records = [r for r in library.records() if pointer(r["handle"]) != 0]
        known = {pointer(record.address) for record in records}
        for record in records:
            parent = pointer(record["parent"])
            below.setdefault(parent if parent in known else 0, []).append(record)
        print(f"{'handle':>18} {'used':>11} {'at most':>11} {'limit':>11}  heap")
        while below:  # more than once if parents lead in a circle
            top = below.pop(0) if 0 in below else below.pop(next(iter(below)))
            waiting = [(record, 0) for record in reversed(top)]
            while waiting:
                record, depth = waiting.pop()
                self.show(library, record, depth, known)
                children = below.pop(pointer(record.address), [])
                waiting += [(child, depth + 1) for child in reversed(children)]

    @staticmethod
    def show(library, record, depth, known):
        try:
            budget = record["store"].dereference()["pool"]["budget"]
            hard = int(budget["hard"])
            limit = "-" if hard == ALL_BITS else size_text(hard)
            figures = [size_text(int(budget["charged"])), size_text(int(budget["peak"])), limit]
        except gdb.error:
            figures = ["?", "?", "?"]
        handle, parent = pointer(record["handle"]), pointer(record["parent"])
        name = library.name(record)
        if "?" in figures or handle & RECORD_BITS != pointer(record.address) or \
                parent != 0 and parent not in known:
            name += f" (the record at {pointer(record.address):#x} was overwritten)"
        print(f"{handle:#18x} {figures[0]:>11} {figures[1]:>11} {figures[2]:>11}  "
              f"{'  ' * depth}{name}")


class BlockAt(gdb.Command):
    """hakmem block ADDRESS: the block that an address lies in, its heap, and whether it is
in use. ADDRESS is any expression."""

    def __init__(self):
        super().__init__("hakmem block", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    @in_a_line
    def invoke(self, argument, from_tty):
        if not argument.strip():
            raise gdb.GdbError("hakmem block needs an address")
        value = gdb.parse_and_eval(argument)
        if value.type.strip_typedefs().code in (gdb.TYPE_CODE_FUNC, gdb.TYPE_CODE_ARRAY):
            value = value.address
        try:
            address = pointer(value)
        except gdb.error:
            raise gdb.GdbError("hakmem block: the expression is no address") from None
        found = Library().locate(address)
        print(f"0x{address:x} is in no block: {found}" if isinstance(found, str) else
              found.text(address))


# ---- printers ------------------------------------------------------------------------------

class HandlePrinter:
    """A heap's handle with its name; inside the library, where such a pointer may be a
    record, that of the record."""

    def __init__(self, value):
        self.value = value

    def to_string(self):
        handle = pointer(self.value)
        if handle == 0:
            return "0x0 (no heap, or the default one)"
        try:
            library = Library()
            record = library.record_of(handle)
            if record is None:
                return f"{handle:#x} (no heap)"
            if handle not in (pointer(record["handle"]), pointer(record.address)):
                return f"{handle:#x} (a heap that has ended)"
            return f'{handle:#x} "{library.path(record)}"'
        except (gdb.error, gdb.GdbError):
            return f"{handle:#x}"


def find_printer(value):
    kind = value.type.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_PTR and \
            kind.target().unqualified().strip_typedefs().tag == "hak_heap":
        return HandlePrinter(value)
    return None


find_printer.name = "hakmem"
gdb.pretty_printers[:] = [p for p in gdb.pretty_printers
                          if getattr(p, "name", None) != "hakmem"] + [find_printer]
Hakmem()
Heaps()
BlockAt()
