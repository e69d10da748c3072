"""Advice in plain words, each with the figures that it comes from.

A rule is a function of a record that gives Advice or None. Rules speak only of what is worth a
programmer's time: a MiB, and a part of what the process has.
"""
from .page import count_of, size_of
from .record import MiB


class Advice:
    """What is there, what can be done, and about how many bytes it is."""

    def __init__(self, bytes_about, says, do, page):
        self.bytes_about, self.says, self.do, self.page = bytes_about, says, do, page


def listed(names):
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def per_cent(part, whole):
    return f"{100 * part / whole:.0f} %" if whole else "0 %"


def is_much(value, process):
    """Of what the process has committed."""
    return value >= MiB and value >= process["committed_bytes"] / 20


# ---- places ------------------------------------------------------------------------------

def most_of(rows, share=0.8, most=5):
    """The first rows of (bytes, what) that have a share of all, at most so many."""
    total, out = sum(row[0] for row in rows), []
    for row in rows:
        if sum(r[0] for r in out) >= share * total or len(out) == most:
            break
        out.append(row)
    return out, total


def of_all(waves):
    saved = waves["saved_bytes"]
    return (f"; with what is left of earlier waves that is {size_of(saved)}"
            if saved > 0 else "")


def what_learning_does(waves, places):
    """In words, and how many bytes it is about."""
    saved = waves["together_bytes"] - waves["apart_bytes"]
    could = waves["apart_bytes"] - waves["best_bytes"]
    if waves["places_apart"] > 0:
        return (f"LEARN keeps {count_of(waves['places_apart'], 'place')} apart: by its model a "
                f"wave leaves {size_of(waves['apart_bytes'])} resident instead of "
                f"{size_of(waves['together_bytes'])}, {size_of(max(saved, 0))} less{of_all(waves)}.",
                saved)
    if could > 2 * MiB and places:
        return (f"LEARN=1 would save {size_of(could)}: by its model a wave leaves "
                f"{size_of(waves['best_bytes'])} resident instead of "
                f"{size_of(waves['apart_bytes'])}. A heap of their own for the blocks of "
                f"{listed([place.title() for place in places])} does the same from the first "
                "wave on.", could)
    return ("LEARN=1 would save little by its model: what stays and what goes lie apart "
            "already, are large, or come from the same places. Places behind one wrapper are "
            "one place unless it passes their records on.", 0)


def waves(record):
    left, how = record.left_behind()
    if how is None:
        return None
    first, total = most_of(left)
    if total < MiB:
        return None
    held = sum(row[0] for row in first)
    names = listed([place.title() for _, place in first])
    these = "This place holds" if len(first) == 1 else f"These {len(first)} places hold"
    known = record.sites[-1].waves
    if how == "dumps":
        peak, trough = record.waves[-1].peak, record.waves[-1].trough
        seen = (f"Load came and went {count_of(len(record.waves), 'time')}, at last from "
                f"{size_of(record.sites[peak].live())} to {size_of(record.sites[trough].live())}")
    else:
        seen = (f"Load came and went {count_of(known['waves'], 'time')}, at last from "
                f"{size_of(known['peak_bytes'])} to {size_of(known['trough_bytes'])}")
    do, saved = what_learning_does(
        known, [place for _, place in first if place.stays is not None]) if known["waves"] > 0 else (
        "Put them into a heap of their own: blocks that stay among blocks that go keep "
        "memory from being given back.", total)
    return Advice(max(saved, total), f"{these} {per_cent(held, total)} of what your spikes "
                  f"leave behind: {names}. {seen}.", do, "LEARNING.md")


def places_that_grow(record):
    """Grown beyond what samples leave open, over the first half and over the second."""
    rows = []
    for place in record.places.values():
        if len(place.rows) < 4 or None in place.rows:
            continue
        first, middle, last = place.rows[0], place.rows[len(place.rows) // 2], place.rows[-1]
        if middle.low > first.high and last.low > middle.high and \
                last.live - first.live >= max(MiB, last.live // 4) and \
                place.live() == sorted(place.live()):
            rows.append((last.live - first.live, place.last))
    rows.sort(key=lambda e: -e[0])
    if not rows or record.seconds <= 0:
        return None
    grown = rows[0][0]
    return Advice(sum(row[0] for row in rows),
                  f"{count_of(len(rows), 'place')} grew all the time. Most grew "
                  f"{rows[0][1].title()}: by {size_of(grown)} in {record.seconds:.3g} s, which "
                  f"is {size_of(int(grown / record.seconds * 60))} a minute.",
                  "If that is no cache that is still filling, look there for a leak: "
                  "HAK_HEAP_REPORT_LEAKS names what a heap still has at its end.", "SITES.md")


def no_names(record):
    if record.process and not record.sites:
        return Advice(0, "There is no dump of places, so nobody knows who allocated.",
                      "Write hak_sites_print(HAK_FORMAT_JSON, ...) beside the other dumps.",
                      "SITES.md")
    if not record.sites or not record.process:
        return None
    last = record.sites[-1]
    live, named = record.known_at(last.time).process["live_bytes"], last.live()
    if last.sample_bytes == 0:
        return Advice(live, "SAMPLE_BYTES is 0, so nothing is known of places.",
                      "Leave it as it is by default: a sample costs a microsecond every "
                      "256 KiB.", "SITES.md")
    if live < MiB or named >= live / 2:
        return None
    return Advice(live - named, f"{size_of(live - named)} of {size_of(live)} live belong to no "
                  f"place, {per_cent(live - named, live)}.",
                  "Name places: include <hakmem/sites.h> where the program allocates.",
                  "SITES.md")


# ---- the process -------------------------------------------------------------------------

def holes(record):
    p = record.process[-1].process
    free = max(p["free_bytes"] - p["hole_bytes"], 0)
    if not is_much(free, p):
        return None
    says = f"{size_of(free)} are free among blocks that live, and resident"
    if record.heaps:
        rows = sorted(((free * size, size, heap) for heap in record.heaps[-1].heaps
                       for size, _, _, free, _ in heap.classes), key=lambda e: -e[0])
        if rows and rows[0][0] > 0:
            says += (f"; most of it is in blocks of {size_of(rows[0][1])} of the heap "
                     f"{rows[0][2].path}")
    apart = bool(record.sites) and record.sites[-1].waves["places_apart"] > 0
    other = "" if apart else ", or LEARN=1 where places are named"
    return Advice(free, says + ".",
                  f"Blocks that stay should not lie among blocks that go: a heap for each{other}. "
                  "Blocks that the program can move elsewhere are named by hak_move_hint.",
                  "MEMORY.md")


def kept(record):
    p = record.process[-1].process
    if not is_much(p["retained_bytes"], p):
        return None
    return Advice(p["retained_bytes"], f"{size_of(p['retained_bytes'])} of what nobody uses are "
                  "kept for reuse.",
                  "They go by themselves PURGE_DECAY_MS after their last use, but for "
                  "RETAIN_BYTES and a RETAIN_SHARE-th of what is in use; hak_collect(NULL, "
                  "SIZE_MAX, HAK_COLLECT_ALL) gives them back now.", "MEMORY.md")


def cached(record):
    p = record.process[-1].process
    if not is_much(p["cached_bytes"], p):
        return None
    return Advice(p["cached_bytes"], f"{size_of(p['cached_bytes'])} lie ready in caches of "
                  f"{count_of(p['threads'], 'thread')}.",
                  "Call hak_thread_idle in threads that are about to wait for long.", "IDLE.md")


def small_pages(record):
    """Memory that huge pages would suit."""
    if not record.heaps:
        return None
    full = [s for s in record.heaps[-1].superslabs
            if s.use == "slabs" and s.page < 2 * MiB and s.out >= 2 * MiB * 9 // 10]
    held = sum(s.committed for s in full)
    if held < 32 * MiB or not is_much(held, record.process[-1].process):
        return None
    return Advice(held // 100, f"{count_of(len(full), 'SuperSlab')} with small pages are nine "
                  f"tenths full, {size_of(held)} in all: huge pages would cost no memory there, "
                  "and fewer misses of address translation.",
                  "Heaps are given huge pages as they grow densely; HUGE_PAGES_AFTER=0 has that "
                  "begin at once, HUGE_PAGES=2 asks for them always, and where the system "
                  "gives none (/sys/kernel/mm/transparent_hugepage/enabled) neither helps.",
                  "MEMORY.md")


# ---- heaps -------------------------------------------------------------------------------

def limits(record):
    if not record.heaps:
        return None
    last = record.heaps[-1].heaps
    refused = sorted((h for h in last if h.refused > 0), key=lambda h: -h.refused)
    if refused:
        h = refused[0]
        return Advice(h.hard, f"{count_of(len(refused), 'heap')} refused requests at a hard "
                      f"limit; {h.path} did {count_of(h.refused, 'time')}, with a limit of "
                      f"{size_of(h.hard)}.",
                      "Raise the limit, or free something in the heap's on_pressure.",
                      "BUDGETS.md")
    near = sorted((h for h in last if h.hard and h.peak >= 0.9 * h.hard),
                  key=lambda h: -h.peak)
    if not near:
        return None
    h = near[0]
    return Advice(h.hard - h.peak, f"{count_of(len(near), 'heap')} came near a hard limit; "
                  f"{h.path} used {size_of(h.peak)} of {size_of(h.hard)} at most.",
                  "A request that would pass the limit fails.", "BUDGETS.md")


def rounding(record):
    """Of the class that loses most between what was asked for and what is usable."""
    if not record.heaps:
        return None
    rows = []
    for heap in record.heaps[-1].heaps:
        for size, live, _, _, sampled in heap.classes:
            if sampled and sampled[1] > 0 and sampled[0] < sampled[1]:
                lost = size * live * (sampled[1] - sampled[0]) // sampled[1]
                rows.append((lost, size, heap, sampled))
    rows.sort(key=lambda e: -e[0])
    if not rows or not is_much(rows[0][0], record.process[-1].process):
        return None
    lost, size, heap, sampled = rows[0]
    return Advice(lost, f"Blocks of {size_of(size)} of the heap {heap.path} are "
                  f"{per_cent(sampled[0], sampled[1])} full: {size_of(lost)} of them were "
                  "never asked for.",
                  "Round sizes that grow by steps to hak_good_size.", "MEMORY.md")


RULES = {"process": (holes, kept, cached), "sites": (waves, places_that_grow),
         "any": (no_names, limits, rounding, small_pages)}


def advice_of(record):
    """All that there is to say, what is most about first."""
    rules = list(RULES["any"])
    if record.process:
        rules += RULES["process"]
    if record.sites:
        rules += RULES["sites"]
    found = [a for a in (rule(record) for rule in rules) if a is not None]
    return sorted(found, key=lambda a: -a.bytes_about)
