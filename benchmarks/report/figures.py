"""What hakmem_bench_compare wrote, and the questions that pages and tables ask of it."""

import json
import re

FORMAT = "hakmem comparison 1"


class Refused(Exception):
    """The results cannot be reported; the text says why."""


def number(value):
    """Three digits that say something."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def ratio_text(ratio, with_spread=True):
    """ "0.52 [0.50 0.55]", without the brackets where there is no spread."""
    if ratio is None:
        return "-"
    text = number(ratio["ratio"])
    if with_spread and "low" in ratio:
        text += f" [{number(ratio['low'])} {number(ratio['high'])}]"
    return text


def time_taken(results):
    """Seconds that the measurement took, in words."""
    seconds = results.data["seconds"]
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"


class Results:
    """One measurement. Programs are named by their labels."""

    def __init__(self, data):
        self.data = data
        self.programs = data["programs"]
        self.labels = [program["label"] for program in self.programs]
        self.first = self.labels[0]
        self.is_smoke = data["smoke"]
        self.pairs = data["pairs"]
        self.rows = data["results"]
        self.workloads = {one["name"]: one for one in data["workloads"]}
        self.os_calls = data.get("os_calls", {"counts": {}, "failed": {}})
        self.instructions = data.get("instructions", {"counts": {}, "failed": {}})
        self.points = data.get("points", {})
        self.latency_rows = data.get("latency", {}).get("results", [])

    @classmethod
    def read(cls, path):
        """Raises Refused where there is nothing that may be reported."""
        try:
            with open(path, encoding="utf-8") as file:
                data = json.load(file)
        except (OSError, ValueError) as error:
            raise Refused(f"cannot read {path}: {error}") from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise Refused(f"{path} is no comparison of hakmem_bench_compare")
        results = cls(data)
        results.check()
        return results

    def check(self):
        """No figure without a proof of who served it, and no verdict of too few."""
        if not self.rows:
            raise Refused("there are no results")
        proven = {
            one["label"]
            for one in self.programs
            if one.get("allocator") and one.get("runs_proven", 0) >= self.pairs
        }
        for row in self.rows:
            for label in row["programs"]:
                if label not in proven:
                    raise Refused(f"no proof of the allocator behind {label}")
        if not self.is_smoke and self.pairs < 7:
            raise Refused("fewer than 7 pairs say nothing")

    # ---- Who ---------------------------------------------------------------------

    def labels_of(self, *roles):
        return [one["label"] for one in self.programs if one["role"] in roles]

    def program(self, label):
        return self.programs[self.labels.index(label)]

    def peers(self):
        return self.labels_of("peer")

    # ---- What --------------------------------------------------------------------

    def groups(self):
        """In the order of the suite; "" is left out."""
        return list(dict.fromkeys(row["group"] for row in self.rows if row["group"]))

    @staticmethod
    def median(row, label):
        one = row["programs"].get(label)
        return one["median"] if one else None

    @staticmethod
    def to_best(row, label):
        """The ratio of the program to the row's best peer, or None."""
        return row["programs"].get(label, {}).get("this_to_best")

    @staticmethod
    def first_to(row, label):
        return row["programs"].get(label, {}).get("first_to_this")

    def total(self, unit, group="", of=None, against=None):
        """The total against a program, or without one against the best peers."""
        for total in self.data["totals"]:
            same = (
                total["unit"] == unit
                and total["group"] == group
                and total["of"] == (of or self.first)
            )
            if same and total.get("against") == against:
                return total
        return None

    def verdicts(self, verdict, units=None):
        """Rows on which the first program is so beside the best peer; worst first."""
        rows = [
            row
            for row in self.rows
            if (self.to_best(row, self.first) or {}).get("verdict") == verdict
            and (units is None or row["unit"] in units)
        ]
        return sorted(rows, key=lambda row: -self.to_best(row, self.first)["ratio"])

    def in_order(self, counted):
        """(workload, label -> counts) in the order of the suite."""
        return [
            (name, counted["counts"][name])
            for name in self.workloads
            if name in counted["counts"]
        ]

    def missing(self):
        """(label, what happened, reason, workloads) of all that was left out."""
        found = []
        for program in self.programs:
            for kind in ("failed", "skipped"):
                by_reason = {}
                for workload, reason in program[kind].items():
                    by_reason.setdefault(reason, []).append(workload)
                for reason, workloads in by_reason.items():
                    found.append((program["label"], kind, reason, workloads))
        return found

    def latency_workloads(self):
        """By workload: percentile -> row."""
        found = {}
        for row in self.latency_rows:
            phase = row["name"].split("/", 1)[-1]
            found.setdefault(row["workload"], {})[phase] = row
        return found

    def machine(self):
        """What the first program told of compiler and machine, and who told otherwise."""
        notes = {}
        for name, text in self.programs[0]["notes"].items():
            if name in ("allocator", "scale", "tiny"):
                continue
            others = [
                f"{one['label']}: {one['notes'][name]}"
                for one in self.programs
                if one["notes"].get(name, text) != text
            ]
            notes[name] = "; ".join([text, *others])
        for one in self.data.get("latency", {}).get("programs", [])[:1]:
            if "clock" in one["notes"]:
                notes["clock of single calls"] = one["notes"]["clock"]
        return notes

    def title(self):
        version = self.programs[0].get("allocator", self.first)
        return re.sub(r"\s+", " ", version)
