"""What several dumps of one process say over time."""
from .dumps import BadDump, HeapsDump, SitesDump, StatisticsDump

MiB = 1 << 20
WAVE_LEAST = 4 * MiB


def own_of(heap):
    """What a heap uses without those below it."""
    return max(heap.used - sum(below.used for below in heap.children), 0)


class Wave:
    """Load that came and went: numbers of dumps of places at its beginning, peak and end."""

    def __init__(self, start, peak, trough):
        self.start, self.peak, self.trough = start, peak, trough


def waves_of(live, mean):
    """The waves of a row of live bytes, told from chance as the library tells them: see
    docs/LEARNING.md. `mean` is the mean distance of samples."""
    out, start, peak, trough = [], 0, 0, None
    for i, now in enumerate(live):
        if trough is None:
            if now > live[peak]:
                peak = i
            elif now < live[start] and peak == start:
                start = peak = i
            if live[peak] - now >= max(WAVE_LEAST, 5 * (mean * live[peak]) ** 0.5) and \
                    now <= live[peak] / 2:
                trough = i
        elif now < live[trough]:
            trough = i
        elif now > live[trough] * 1.125 + MiB:
            out.append(Wave(start, peak, trough))
            start, peak, trough = trough, i, None
    if trough is not None:
        out.append(Wave(start, peak, trough))
    return out


class PlaceOverTime:
    """A place of the last dump that has it, and its live bytes in each dump."""

    def __init__(self, count):
        self.last, self.rows = None, [None] * count

    def live(self):
        return [0 if row is None else row.live for row in self.rows]


class Record:
    """Dumps of one process, in the order of time."""

    def __init__(self, dumps, cut=False):
        for dump in dumps:
            if dump.process_id != dumps[0].process_id:
                raise BadDump(f"{dump.name} is of another process than {dumps[0].name}: a report "
                              "is of one process")
        dumps = sorted(dumps, key=lambda d: d.time)
        self.dumps, self.cut = dumps, cut
        self.heaps = [d for d in dumps if isinstance(d, HeapsDump)]
        self.sites = [d for d in dumps if isinstance(d, SitesDump)]
        self.process = [d for d in dumps if isinstance(d, (HeapsDump, StatisticsDump))]
        self.seconds = (dumps[-1].time - dumps[0].time) / 1e9
        self.find_places()
        self.waves = waves_of([d.live() for d in self.sites],
                              self.sites[-1].sample_bytes if self.sites else 0)

    def find_places(self):
        self.places = {}
        for i, dump in enumerate(self.sites):
            for place in dump.places:
                key = (place.file, place.line, place.name)
                over_time = self.places.setdefault(key, PlaceOverTime(len(self.sites)))
                over_time.last = over_time.rows[i] = place

    def heaps_over_time(self):
        """What each heap uses without those below it, in each dump of heaps, by its path:
        heaps of one name that come and go are one row."""
        out = {}
        for i, dump in enumerate(self.heaps):
            for heap in dump.heaps:
                row = out.setdefault(heap.path, [0] * len(self.heaps))
                row[i] += own_of(heap)
        return out

    def left_behind(self):
        """By place, the bytes that waves left behind, the most first; and how it is known: by
        the dumps, by the library's own samples, or not at all (None)."""
        out = []
        for place in self.places.values():
            live = place.live()
            out.append((sum(max(live[w.trough] - live[w.start], 0) for w in self.waves),
                        place.last))
        how = "dumps" if self.waves else None
        if not self.waves and self.sites and self.sites[-1].waves["waves"] > 0:
            out = [(int(place.last.stays * place.last.peak), place.last)
                   for place in self.places.values() if place.last.stays is not None]
            how = "samples"
        out = sorted(((left, place) for left, place in out if left > 0),
                     key=lambda e: -e[0])
        return out, how if out else None

    def known_at(self, time):
        """What is known of the process nearest to a time, or None."""
        return min(self.process, key=lambda d: abs(d.time - time), default=None)
