#!/usr/bin/env python3
"""Tests of report.py: test_report.py RESULTS.json, the results of a real smoke run."""

import copy
import json
import os
import subprocess
import sys
import tempfile
import unittest
from html.parser import HTMLParser

HERE = os.path.dirname(os.path.abspath(__file__))
REPORT = os.path.join(HERE, "report.py")
REAL = ""

VOID = {"meta", "input", "br", "img", "link", "hr"}


class Page(HTMLParser):
    """Tables by id, as lines of (text, number); fails where tags do not match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tables, self.ids, self.text = [], {}, [], []
        self.pictures, self.captions, self.figures = [], [], 0
        self.table, self.cell = None, None
        self.outside = []
        self.feed(text)
        self.close()
        if self.open:
            raise ValueError(f"never closed: {self.open}")

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        for name in ("src", "href", "xlink:href"):
            if not attributes.get(name, "#").startswith("#"):
                self.outside.append(attributes[name])
        self.figures += tag == "figure"
        if tag == "svg":
            self.pictures.append(attributes.get("aria-label", ""))
        if tag == "figcaption":
            self.captions.append("")
        if tag == "table":
            self.table = self.tables.setdefault(attributes["id"], [])
        elif tag == "tr":
            self.table.append([])
        elif tag in ("td", "th"):
            value = attributes.get("data-value")
            self.cell = ["", None if value is None else float(value)]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            raise ValueError(f"</{tag}> at {self.getpos()} closes nothing")
        if tag in ("td", "th"):
            self.table[-1].append(tuple(self.cell))
            self.cell = None

    def handle_data(self, data):
        self.text.append(data)
        if "figcaption" in self.open:
            self.captions[-1] += data
        if self.cell is not None:
            self.cell[0] += data


def full_run(data):
    """What the same results would be, had there been seven pairs of each."""
    data = copy.deepcopy(data)
    data["smoke"], data["pairs"] = False, 7
    for program in data["programs"]:
        program["runs_proven"] = 7
    verdicts = ["better", "no difference", "worse"]
    for place, row in enumerate(data["results"]):
        for one in row["programs"].values():
            one["series"] *= 7
            for key in ("this_to_best", "first_to_this"):
                if key in one:
                    ratio = one[key]["ratio"]
                    one[key].update(
                        low=ratio * 0.99, high=ratio * 1.01, verdict=verdicts[place % 3]
                    )
    return data


class Report(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(REAL, encoding="utf-8") as file:
            cls.real = json.load(file)

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="hakmem report ")
        self.addCleanup(self.folder.cleanup)

    def run_it(self, data, *arguments):
        path = os.path.join(self.folder.name, "results.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write(data if isinstance(data, str) else json.dumps(data))
        return subprocess.run(
            [sys.executable, "-B", REPORT, path, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    def page_of(self, data):
        path = os.path.join(self.folder.name, "page.html")
        done = self.run_it(data, "--html", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        return Page(text), text

    def refuse(self, data, reason):
        path = os.path.join(self.folder.name, "page.html")
        done = self.run_it(data, "--html", path, "--markdown")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(reason, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertFalse(os.path.exists(path))

    def test_every_workload_and_every_figure_is_in_the_page(self):
        page, _ = self.page_of(self.real)
        head, *lines = page.tables["figures-table"]
        names = [text for text, _ in head]
        found = {line[0][0]: dict(zip(names, line)) for line in lines}
        self.assertEqual(len(found), len(self.real["results"]))
        counted = 0
        for row in self.real["results"]:
            for label, one in row["programs"].items():
                text, value = found[row["name"]][label]
                self.assertEqual(value, one["median"], row["name"])
                self.assertAlmostEqual(
                    float(text.replace(",", "")), value, delta=max(0.006, 0.006 * value)
                )
                counted += 1
        self.assertGreater(counted, len(found))
        text = "".join(page.text)
        for workload in self.real["workloads"]:
            self.assertTrue(workload["name"] in text, workload["name"])

    def test_the_page_needs_no_other_file_and_is_small(self):
        page, text = self.page_of(self.real)
        self.assertEqual(page.outside, [])
        self.assertFalse("@import" in text)
        self.assertEqual(sorted(page.ids), sorted(set(page.ids)))
        self.assertLess(len(text), 5 * 2**20)

    def test_all_parts_that_were_measured_are_there(self):
        page, _ = self.page_of(self.real)
        for key, table in (
            ("os_calls", "os-calls-table"),
            ("latency", "latency-table"),
            ("instructions", "instructions-table"),
        ):
            measured = self.real.get(key, {})
            if measured.get("counts") or measured.get("results"):
                self.assertGreater(len(page.tables[table]), 1)
        self.assertGreaterEqual(len(page.pictures), 3)
        served = {line[0][0]: line[2][0] for line in page.tables["proofs-table"]}
        for program in self.real["programs"]:
            self.assertEqual(served[program["label"]], program["allocator"])

    def test_charts_say_what_they_show(self):
        page, text = self.page_of(full_run(self.real))
        self.assertGreaterEqual(page.figures, 3)
        self.assertEqual(len(page.captions), page.figures)
        for caption in page.captions:
            self.assertRegex(caption, "^(Time|Memory|Instructions|Calls)[ :].*")
            self.assertRegex(caption, "left|lower|resident")
        # Figures that cannot be seen can be read; colors are the page's, light or dark.
        first = self.real["programs"][0]["label"]
        for picture in page.pictures:
            self.assertRegex(picture, f"^[a-z0-9_]+: .* in (ns|MiB): .*{first} [0-9]")
        self.assertFalse("#000000" in text)
        self.assertTrue("prefers-color-scheme: dark" in text)

    def test_a_smoke_run_says_so_everywhere(self):
        page, text = self.page_of(self.real)
        self.assertTrue("<title>SMOKE RUN" in text)
        self.assertTrue('<body class="smoke">' in text)
        self.assertFalse('<body class="smoke">' in self.page_of(full_run(self.real))[1])
        self.assertNotIn("losses-time-table", page.tables)
        verdicts = {line[6][0] for line in page.tables["figures-table"][1:]}
        self.assertEqual(verdicts, {"-"})
        markdown = self.run_it(self.real, "--markdown").stdout
        self.assertTrue(markdown.startswith("**SMOKE RUN"))
        self.assertFalse("WORSE" in markdown)

    def test_losses_are_those_that_the_verdicts_say_and_the_worst_comes_first(self):
        data = full_run(self.real)
        first = data["programs"][0]["label"]
        lost = {
            row["name"]: row["programs"][first]["this_to_best"]["ratio"]
            for row in data["results"]
            if row["unit"] == "ns"
            and row["programs"][first].get("this_to_best", {}).get("verdict") == "worse"
        }
        self.assertTrue(lost)
        page, text = self.page_of(data)
        self.assertFalse("SMOKE RUN" in text)
        shown = [
            (line[0][0], line[4][1]) for line in page.tables["losses-time-table"][1:]
        ]
        self.assertEqual(dict(shown), lost)
        self.assertEqual(
            [ratio for _, ratio in shown], sorted(lost.values(), reverse=True)
        )
        self.assertTrue(f"worse at {len(lost)}" in text)

    def test_markdown_has_every_figure(self):
        text = self.run_it(self.real, "--markdown").stdout
        for row in self.real["results"]:
            self.assertTrue(f"| {row['name']} |" in text, row["name"])

    def test_hostile_names_do_no_harm(self):
        data = copy.deepcopy(self.real)
        data["programs"][0]["notes"]["cpu"] = "<script>alert('&')</script>"
        page, text = self.page_of(data)
        self.assertFalse("<script>alert" in text)
        self.assertTrue("<script>alert('&')</script>" in "".join(page.text))

    def test_no_figure_without_proof(self):
        data = copy.deepcopy(self.real)
        del data["programs"][1]["allocator"]
        self.refuse(data, "no proof of the allocator behind")

    def test_no_verdict_of_fewer_than_seven_pairs(self):
        data = copy.deepcopy(self.real)
        data["smoke"] = False
        self.refuse(data, "fewer than 7 pairs")

    def test_no_report_of_nothing(self):
        data = copy.deepcopy(self.real)
        data["results"] = []
        self.refuse(data, "there are no results")
        self.refuse("{}", "is no comparison")
        self.refuse("half a fil", "cannot read")


if __name__ == "__main__":
    REAL = os.path.abspath(sys.argv.pop(1))
    unittest.main()
