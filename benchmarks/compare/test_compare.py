#!/usr/bin/env python3
"""Tests of the runner, against programs that pretend: test_compare.py RUNNER."""

import json
import math
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
PRETENDER = os.path.join(HERE, "pretender.sh")
RUNNER = ""


def program(label, pretend="", role=None, **environment):
    """The arguments that stand for one program."""
    words = ["--as", label, "--env", "PRETEND=" + pretend]
    if role:
        words += ["--role", role]
    for name, value in environment.items():
        words += ["--env", "PRETEND_%s=%s" % (name.upper(), value)]
    return words + [PRETENDER]


class Compare(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="hakmem compare ")
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def run_it(self, *arguments):
        return subprocess.run(
            [RUNNER, *arguments], capture_output=True, text=True, check=False
        )

    def measure(self, *arguments):
        """Of a run that must succeed: its JSON, and what it printed."""
        path = self.path("results.json")
        done = self.run_it("--json", path, *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(path, encoding="utf-8") as file:
            return json.load(file), done.stdout

    def refuse(self, status, text, *arguments):
        path = self.path("results.json")
        done = self.run_it("--json", path, *arguments)
        self.assertEqual(done.returncode, status, done.stdout)
        self.assertIn(text, done.stderr)
        self.assertFalse(os.path.exists(path), "a refused run wrote results")

    @staticmethod
    def result(measured, name):
        return next(one for one in measured["results"] if one["name"] == name)

    @staticmethod
    def total(measured, **wanted):
        return next(
            one
            for one in measured["totals"]
            if all(one.get(key) == value for key, value in wanted.items())
        )

    # ---- What it measures ------------------------------------------------------

    def test_series_ratios_verdicts_and_best_peer(self):
        measured, printed = self.measure(
            "--suite",
            *program("own", factor=2),
            *program("fast", factor=1),
            *program("slow", factor=4),
            *program("bound", role="yardstick", factor=1)
        )
        self.assertEqual(measured["pairs"], 7)
        self.assertFalse(measured["smoke"])
        row = self.result(measured, "good/free")
        self.assertEqual(
            (row["workload"], row["group"], row["unit"]), ("good", "a", "ns")
        )
        self.assertEqual(
            row["programs"]["own"],
            {
                "median": 40,
                "series": [40] * 7,
                "this_to_best": {"ratio": 2, "low": 2, "high": 2, "verdict": "worse"},
            },
        )
        self.assertEqual(row["best_peer"], "fast")
        self.assertEqual(
            row["programs"]["slow"]["first_to_this"],
            {"ratio": 0.5, "low": 0.5, "high": 0.5, "verdict": "better"},
        )
        self.assertEqual([one["runs_proven"] for one in measured["programs"]], [14] * 4)
        self.assertEqual(
            [one["role"] for one in measured["programs"]],
            ["first", "peer", "peer", "yardstick"],
        )
        self.assertIn("WORSE", printed)

    def test_equal_programs_do_not_differ(self):
        measured, printed = self.measure("--suite", *program("own"), *program("other"))
        verdicts = {
            row["programs"]["other"]["first_to_this"]["verdict"]
            for row in measured["results"]
        }
        self.assertEqual(verdicts, {"no difference"})
        self.assertNotIn("better  ", printed)
        self.assertNotIn("WORSE", printed)

    def test_a_difference_within_the_spread_is_none(self):
        # Times 11 to 24 by run, of one program alone: pairs on both sides of 1.
        measured, _ = self.measure(
            "--suite",
            "--filter",
            "good",
            *program("own", count=self.path("count")),
            *program("other", count=self.path("count"))
        )
        ratio = self.result(measured, "good/time")["programs"]["other"]["first_to_this"]
        self.assertLess(ratio["low"], 1)
        self.assertGreater(ratio["high"], 1)
        self.assertEqual(ratio["verdict"], "no difference")

    def test_totals_are_geometric_means_with_units_apart(self):
        measured, _ = self.measure(
            "--suite",
            *program("own", factor=2),
            *program("fast", factor=1),
            *program("slow", factor=8)
        )
        total = self.total(measured, group="", unit="ns", against="slow")
        self.assertTrue(math.isclose(total["ratio"], 0.25))
        self.assertEqual((total["results"], total["better"]), (4, 4))
        total = self.total(measured, group="b", unit="MiB", against="fast")
        self.assertTrue(math.isclose(total["ratio"], 2))
        self.assertEqual((total["results"], total["worse"]), (1, 1))
        total = self.total(measured, group="", unit="ns", against_best_peers=True)
        self.assertTrue(math.isclose(total["ratio"], 2))

    def test_a_variant_is_no_peer_and_is_held_against_the_best(self):
        measured, _ = self.measure(
            "--suite",
            *program("own", factor=4),
            *program("variant", role="variant", factor=1),
            *program("peer", factor=2)
        )
        row = self.result(measured, "good/free")
        self.assertEqual(row["best_peer"], "peer")
        self.assertEqual(row["programs"]["variant"]["this_to_best"]["ratio"], 0.5)
        total = self.total(measured, group="", unit="ns", of="variant")
        self.assertTrue(math.isclose(total["ratio"], 0.5))

    def test_points_notes_and_checks_are_kept(self):
        measured, _ = self.measure("--suite", *program("own"), *program("other"))
        self.assertEqual(measured["points"]["good"]["other"], [[0, 1.5], [0.5, 2.5]])
        self.assertEqual(measured["programs"][0]["notes"]["compiler"], "none")
        self.assertEqual(measured["programs"][1]["checks"], {"good": "42", "odd": "42"})

    def test_order_is_turned_around_every_other_round(self):
        measured, _ = self.measure(
            "--suite",
            "--filter",
            "good",
            *program("own", count=self.path("count")),
            *program("other", count=self.path("count"))
        )
        programs = self.result(measured, "good/time")["programs"]
        # Each run's time is 10 and its place among all runs.
        places = sorted(
            (time - 10, label)
            for label, one in programs.items()
            for time in one["series"]
        )
        self.assertEqual(
            [label for _, label in places][:6],
            ["own", "other", "other", "own", "own", "other"],
        )

    def test_os_calls_by_kind(self):
        measured, _ = self.measure(
            "--suite",
            "--smoke",
            "--os-calls",
            "--filter",
            "good",
            *program("own"),
            *program("other")
        )
        counted = measured["os_calls"]
        if counted["failed"]:
            self.skipTest("tracing is not allowed here")
        calls = counted["counts"]["good"]["own"]
        self.assertGreater(calls["mmap"], 0)
        self.assertEqual(
            set(calls), {"mmap", "munmap", "mremap", "mprotect", "madvise", "brk"}
        )

    def test_a_smoke_run_gives_no_verdict(self):
        measured, printed = self.measure(
            "--suite", "--smoke", *program("own", factor=4), *program("other")
        )
        self.assertTrue(measured["smoke"])
        self.assertEqual(measured["pairs"], 1)
        self.assertNotIn("verdict", json.dumps(measured))
        self.assertNotIn("worse", json.dumps(measured))
        self.assertIn("SMOKE RUN", printed)
        self.assertNotIn("WORSE", printed)

    def test_whole_programs_are_compared_without_suite(self):
        measured, _ = self.measure(*program("own"), *program("own"), "--", "good")
        self.assertEqual(
            [one["label"] for one in measured["programs"]], ["own", "own-2"]
        )
        self.assertEqual(measured["workloads"], [])

    # ---- What others fail in -----------------------------------------------------

    def fails(self, pretend, reason, *options):
        measured, printed = self.measure(
            "--suite",
            *options,
            *program("own"),
            *program("odd one", pretend),
            *program("other")
        )
        failed = measured["programs"][1]["failed"]
        self.assertEqual(list(failed), ["odd"])
        self.assertIn(reason, failed["odd"])
        self.assertIn("FAILED odd one: odd", printed)
        self.assertNotIn("odd one", self.result(measured, "odd/time")["programs"])
        self.assertIn("odd one", self.result(measured, "good/time")["programs"])
        self.assertIn("other", self.result(measured, "odd/time")["programs"])

    def test_a_peer_that_crashes(self):
        self.fails("crashes", "signal 11")

    def test_a_peer_that_crashes_in_a_later_round(self):
        path = self.path("count")
        measured, _ = self.measure(
            "--suite", *program("own"), *program("late", "crashes-late", count=path)
        )
        self.assertIn("status 5", measured["programs"][1]["failed"]["odd"])
        self.assertNotIn("late", self.result(measured, "odd/time")["programs"])

    def test_a_peer_that_hangs(self):
        self.fails("hangs", "did not end within 0.5 s", "--timeout", "0.5")

    def test_a_peer_without_proof(self):
        self.fails("unproven", "no proof of the allocator")

    def test_a_peer_with_other_results(self):
        self.fails("errs", "check odd: 43, but own: 42")

    def test_a_peer_that_leaves_a_figure_out(self):
        self.fails("lacks", "odd/free is missing")

    def test_a_peer_that_has_one_more_figure(self):
        self.fails("more", "odd/more is more")

    def test_a_peer_that_says_a_figure_twice(self):
        self.fails("twice", "said twice")

    def test_a_peer_that_cannot_be_read(self):
        self.fails("garbles", "cannot read")

    def test_a_peer_that_skips_is_left_out_and_no_failure(self):
        measured, printed = self.measure(
            "--suite", *program("own"), *program("shy", "skips")
        )
        self.assertEqual(measured["programs"][1]["skipped"], {"odd": "cannot"})
        self.assertEqual(measured["programs"][1]["failed"], {})
        self.assertNotIn("shy", self.result(measured, "odd/time")["programs"])
        self.assertNotIn("best_peer", self.result(measured, "odd/time"))
        self.assertIn("shy skipped 1", printed)
        self.assertEqual(self.total(measured, unit="ns", against="shy")["results"], 2)

    # ---- What it refuses -----------------------------------------------------------

    def test_the_first_program_must_not_fail(self):
        for pretend, text in (
            ("crashes", "signal 11"),
            ("unproven", "no proof"),
            ("fails-at-once", "status 9"),
        ):
            self.refuse(1, text, "--suite", *program("own", pretend), *program("other"))

    def test_any_failure_ends_a_comparison_of_whole_programs(self):
        self.refuse(
            1, "no proof", *program("own"), *program("other", "unproven"), "--", "odd"
        )

    def test_an_unknown_workload(self):
        self.refuse(
            1,
            "has no workload that matches 'nowhere'",
            "--suite",
            "--filter",
            "nowhere",
            *program("own"),
            *program("other")
        )

    def test_fewer_than_seven_pairs(self):
        self.refuse(
            2, "fewer than 7 pairs", "--pairs", "6", *program("own"), *program("other")
        )

    def test_one_program(self):
        self.refuse(2, "two programs at least", *program("own"))

    def test_misused_options(self):
        for words in (
            ("--scale", "0"),
            ("--scale", "x"),
            ("--role", "king"),
            ("--filter", "("),
            ("--timeout", "-1"),
            ("--unheard-of", "1"),
        ):
            self.refuse(
                2,
                "unknown: " + words[0],
                "--suite",
                *words,
                *program("own"),
                *program("other")
            )

    def test_results_that_cannot_be_written(self):
        path = self.path("no/such/folder/results.json")
        done = self.run_it("--json", path, *program("own"), *program("other"))
        self.assertEqual(done.returncode, 2)
        self.assertIn("cannot write " + path, done.stderr)

    def test_options_of_the_suite_need_it(self):
        self.refuse(2, "need --suite", "--latency", *program("own"), *program("other"))

    def test_another_allocator_than_before(self):
        self.refuse(
            1,
            "served by pretender 2.0, before by pretender 1.0",
            "--suite",
            *program("own"),
            *program("other", "changes")
        )


if __name__ == "__main__":
    RUNNER = os.path.abspath(sys.argv.pop(1))
    unittest.main()
