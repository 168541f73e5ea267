"""Tests of what the runner computes. Nothing is started here.

    python3 -m unittest discover --start-directory Tests/Benchmarks --pattern '*_test.py'
"""

import contextlib
import http.server
import io
import json
import os
import sys
import tempfile
import threading
import types
import unittest
import unittest.mock

sys.dont_write_bytecode = True

from runner import command, counting, counting_command, figures, loads, places, processes, report, row, rows_whole, tuning, usage  # noqa: E402
from runner.figures import Goal  # noqa: E402


class CountingCommandTests(unittest.TestCase):
    """The command line of `instructions`."""

    def complaint(self, *words):
        said = io.StringIO()
        with contextlib.redirect_stderr(said), self.assertRaises(SystemExit) as ended:
            counting_command.parse("", words)
        self.assertEqual(ended.exception.code, 64)
        return said.getvalue()

    def test_a_number_out_of_range_is_told_with_the_range(self):
        for word in ("-5", "0", "1001", "x", "1.5"):
            self.assertIn(f"argument --profile: {word}: write a number from 1 to 1000", self.complaint("--profile", word))

    def test_a_directory_that_cannot_be_is_told_before_anything_is_counted(self):
        with tempfile.NamedTemporaryFile() as file:
            for word in (file.name, file.name + "/x"):
                said = self.complaint("--keep", word)
                self.assertIn(f"{word} cannot be made, since {file.name} is no directory", said)

    def test_a_directory_is_not_made_before_there_is_something_to_put_in_it(self):
        with tempfile.TemporaryDirectory() as directory:
            word = os.path.join(directory, "a", "b")
            self.assertEqual(counting_command.parse("", ["--keep", word]).keep, word)
            self.assertEqual(os.listdir(directory), [])

    def test_what_excludes_one_another_and_what_is_unknown(self):
        self.assertIn("not allowed with", self.complaint("--check", "--record"))
        self.assertIn("unrecognized arguments: --chek", self.complaint("--chek"))

    def test_what_is_not_said_has_its_default(self):
        options = counting_command.parse("", [])
        self.assertEqual((options.check, options.record, options.profile, options.keep), (False, False, None, None))
        self.assertEqual(counting_command.parse("", ["--profile", "30"]).profile, 30)

    def test_a_build_that_is_missing_is_told_with_the_command_that_makes_it(self):
        with unittest.mock.patch.dict(os.environ, {"RINGMASTER": "/nowhere/ringmaster"}):
            for core, command_line in (
                    ("", "`swift build -c release --product ringmaster`"),
                    ("1", "`env -u RINGMASTER_CORE swift build -c release --product ringmaster`")):
                os.environ.pop("RINGMASTER_CORE", None)
                if core:
                    os.environ["RINGMASTER_CORE"] = core
                with self.assertRaises(places.NotBuilt) as missing:
                    places.ringmaster_binary()
                self.assertIn(f"/nowhere/ringmaster is missing: build it with {command_line}, or let RINGMASTER", str(missing.exception))


    def test_what_is_no_program_is_told_as_that(self):
        with tempfile.TemporaryDirectory() as directory:
            text = os.path.join(directory, "text")
            with open(text, "w", encoding="ascii") as file:
                file.write("no program\n")
            os.chmod(text, 0o755)
            for path in (directory, text):
                with unittest.mock.patch.dict(os.environ, {"RINGMASTER": path}):
                    for find in (places.ringmaster_binary, places.check_named):
                        with self.assertRaises(places.NotBuilt) as refused:
                            find()
                        self.assertIn(f"{path}", str(refused.exception))
                        self.assertIn("is no program", str(refused.exception))

    def test_what_cannot_be_stripped_is_told_with_the_reason(self):
        with tempfile.TemporaryDirectory() as directory:
            script = os.path.join(directory, "script")
            with open(script, "w", encoding="ascii") as file:
                file.write("#!/bin/sh\n")
            os.chmod(script, 0o755)
            with unittest.mock.patch.dict(os.environ, {"RINGMASTER": script}):
                with self.assertRaises(counting.CountingFailed) as refused:
                    counting.Counter(directory)._stripped()
            self.assertIn(f"{script} cannot be stripped", str(refused.exception))


class CommandTests(unittest.TestCase):
    """The command line of `run`."""

    def parse(self, *words):
        return command._parse("", ["echo-64"], words)

    def test_what_makes_no_sense_together_is_refused(self):
        for words, useless in (
                (("--list", "echo-64"), "--list has no use for ROW"), (("--list", "--dry"), "--list has no use for --dry"),
                (("--report", "--rounds", "0"), "--report has no use for --rounds"),
                (("--dry", "--rounds", "3", "--seconds", "1"), "--dry has no use for --rounds and --seconds")):
            said = io.StringIO()
            with contextlib.redirect_stderr(said), self.assertRaises(SystemExit) as ended:
                self.parse(*words)
            self.assertEqual(ended.exception.code, 64)
            self.assertIn(useless, said.getvalue())

    def test_what_goes_together_is_accepted(self):
        self.assertEqual(self.parse("--install", "--report").rounds, 5)
        self.assertEqual(self.parse("echo-64", "--dry", "--install").seconds, 2)
        self.assertEqual(self.parse("echo-64", "--rounds", "3").rounds, 3)


class ProfileTests(unittest.TestCase):
    SHORT = "Ir\n\n16,000 PROGRAM TOTALS\n\nIr  file:function\n\n9,000  a.c:start [/x/p]\n6,400  ???:turn [/x/p]\n600  b.c:end\n"
    LONG = "Ir\n\n60,000 PROGRAM TOTALS\n\nIr  file:function\n\n44,800  ???:turn [/x/p]\n9,000  a.c:start [/x/p]\n1,920  c.c:new [/x/p]\n"

    def test_functions_are_read_without_the_total(self):
        self.assertEqual(counting.functions_of(self.SHORT), {"a.c:start": 9000, "???:turn": 6400, "b.c:end": 600})

    def test_what_both_runs_have_is_left_out(self):
        tables = [counting.functions_of(text) for text in (self.SHORT, self.LONG)]
        self.assertEqual(counting.profile(*tables, 10), "       2.0  ???:turn\n       0.1  c.c:new")
        self.assertEqual(counting.profile(*tables, 1), "       2.0  ???:turn")


class RecountTests(unittest.TestCase):
    BOUNDS = {"a": {"measured": 100.0, "bound": 106.0}, "b": {"measured": 10.0, "bound": 10.6}}

    def counts(self, first, *later):
        rounds = iter(later)
        return counting_command.lowest(first, self.BOUNDS, lambda: next(rounds))

    def test_what_is_within_its_bound_is_not_counted_again(self):
        self.assertEqual(self.counts({"a": 106.0, "b": 10.0}), {"a": 106.0, "b": 10.0})

    def test_an_outlier_is_counted_again(self):
        self.assertEqual(self.counts({"a": 250.0, "b": 10.0}, {"a": 101.0, "b": 99.0}), {"a": 101.0, "b": 10.0})

    def test_what_stays_above_its_bound_fails_after_two_more(self):
        found = self.counts({"a": 110.0, "b": 10.0}, {"a": 109.0, "b": 10.0}, {"a": 111.0, "b": 10.0})
        self.assertEqual(len(counting.exceeded(found, self.BOUNDS)), 1)


class FiguresTests(unittest.TestCase):
    def test_the_interval_of_five_needs_all_of_them(self):
        self.assertEqual(figures.interval([3, 1, 2, 5, 4]), (1, 5))

    def test_how_sure_rounds_are(self):
        self.assertEqual([figures.sureness(n) for n in (1, 2, 3, 5)], [0, 0.5, 0.75, 0.9375])
        self.assertLess(figures.sureness(5, 1), figures.SURE)

    def test_the_interval_of_nine_leaves_one_out_at_each_end(self):
        self.assertEqual(figures.interval(list(range(1, 10))), (2, 8))

    def test_the_interval_of_one_is_that_one(self):
        self.assertEqual(figures.interval([7]), (7, 7))

    def test_a_quotient_is_of_medians_and_its_range_of_rounds(self):
        found = figures.quotient([2, 4, 9], [1, 4, 3])
        self.assertEqual((found.median, found.least, found.greatest), (4 / 3, 1, 3))

    def test_rounds_that_do_not_match_are_an_error(self):
        with self.assertRaises(ValueError):
            figures.quotient([1, 2], [1])

    def judge(self, values, relation="at least", bound=0.95):
        goal = Goal("", "a", "rate", relation, bound, "b")
        return figures.judge(goal, {"a": [{"rate": v} for v in values], "b": [{"rate": 1.0}] * len(values)})[0]

    def test_a_goal_that_all_rounds_reach_is_met(self):
        self.assertEqual(self.judge([0.95, 0.97, 1.0, 1.1, 0.96]), figures.MET)

    def test_a_goal_that_no_round_reaches_is_missed(self):
        self.assertEqual(self.judge([0.9, 0.94, 0.8, 0.93, 0.92]), figures.MISSED)

    def test_rounds_on_both_sides_leave_it_open(self):
        self.assertEqual(self.judge([0.9, 0.97, 1.0, 1.1, 0.96]), figures.UNDECIDED)

    def test_one_outlier_in_nine_rounds_does_not(self):
        self.assertEqual(self.judge([0.5] + [0.97] * 8), figures.MET)

    def test_the_bound_itself_is_in_at_most_and_not_in_below(self):
        self.assertEqual(self.judge([1.0] * 5, "at most", 1.0), figures.MET)
        self.assertEqual(self.judge([1.0] * 5, "below", 1.0), figures.MISSED)
        self.assertEqual(self.judge([1.0] * 5, "above", 1.0), figures.MISSED)

    def test_a_goal_without_a_peer_is_absolute(self):
        verdict, found = figures.judge(Goal("", "a", "p99", "below", 200), {"a": [{"p99": 150}, {"p99": 170}]})
        self.assertEqual((verdict, found.median), (figures.MET, 160))


class UsageTests(unittest.TestCase):
    def test_the_exact_sum_is_shared_out_as_the_ticks_say(self):
        self.assertEqual(usage.split((100, 10, 40), (1100, 110, 440)), (250, 750))

    def test_no_tick_means_no_user_time(self):
        self.assertEqual(usage.split((0, 5, 5), (10, 5, 5)), (0, 10))

    def test_a_window_between_looks_is_interpolated(self):
        sampler = usage.Sampler([])
        sampler.times, sampler.values = [0, 100, 200], [(0, 0), (10, 100), (30, 100)]
        self.assertEqual(sampler.at(50), (5, 50))
        self.assertEqual(sampler.at(150), (20, 100))

    def test_a_window_that_nobody_looked_at_is_an_error(self):
        sampler = usage.Sampler([])
        sampler.times, sampler.values = [100, 200], [(0,), (1,)]
        for moment in (50, 250):
            with self.assertRaises(ValueError):
                sampler.at(moment)

    def test_our_own_clock_runs(self):
        before = usage.processor_time([os.getpid()])
        while usage.processor_time([os.getpid()])[0] == before[0]:
            pass

    def test_a_rollup_is_read_by_name(self):
        text = "55d0-7ffd ---p 00000000 00:00 0 [rollup]\nRss:   1200 kB\nPss:    804 kB\nPss_Dirty:  96 kB\n"
        self.assertEqual(usage.parse_rollup(text)["Pss"], 804 * 1024)

    def test_two_loads_at_once_are_counted_together_over_the_time_that_they_share(self):
        sampler = usage.Sampler([])
        sampler.times, sampler.values = [0, 4 * 10**9], [(0, 0, 0), (2 * 10**9, 0, 10)]
        def told(start, end, count):
            return {
                "startNanoseconds": start * 10**9, "endNanoseconds": end * 10**9, "measuredSeconds": end - start,
                "connectionsDone": count, "cpuUserMicroseconds": 30, "cpuSystemMicroseconds": 10,
                "latencyMicroseconds": {"p50": 1, "p99": 2}}
        found = loads.sample_of([told(0, 2, 200), told(1, 3, 400)], sampler, "connections")
        # A second, in which they made 100 and 200, and the server used half a second.
        self.assertEqual((found["rate"], found["busy"]), (300, 0.5))
        self.assertAlmostEqual(found["cpu"], 500_000 / 300)
        self.assertAlmostEqual(found["client"], 80 / 600)
        with self.assertRaises(loads.LoadFailed):
            loads.sample_of([told(0, 1, 1), told(2, 3, 1)], sampler, "connections")

    def test_a_load_is_ended_when_its_server_is_gone(self):
        class Gone(usage.Sampler):
            looks = 0
            def look(self):
                self.looks += 1
                if self.looks > 1:
                    raise OSError("no such process")
        with self.assertRaises(OSError):
            loads._watch([["sleep", "77"]], Gone([]), 60)
        self.assertEqual(processes.children_of(os.getpid()), [os.getpid()])

    def test_memory_that_no_file_backs_is_a_part_of_all(self):
        us = [os.getpid()]
        self.assertTrue(0 < usage.own_memory(us) < usage.memory(us))

    def test_cpu_per_unit_is_in_microseconds(self):
        found = loads.per_unit((0, 0, 0), (4_000_000, 25, 100), 1000)
        self.assertEqual(found, {"cpu": 4.0, "user": 1.0, "system": 3.0})


class WrkTests(unittest.TestCase):
    text = """  Latency Distribution
     50%    1.25ms
     75%    2.00ms
     90%    3.10ms
     99%   10.50ms
  59483 requests in 2.10s, 69.43MB read
"""

    def test_wrk_is_read(self):
        requests, took, p50, p99, wrong = loads.parse_wrk(self.text)
        self.assertEqual((requests, took, p50, p99, wrong), (59483, 2.1, 1250, 10500, []))

    def test_what_went_wrong_is_found(self):
        text = self.text + "  Socket errors: connect 0, read 1, write 0, timeout 2\n  Non-2xx or 3xx responses: 3\n"
        self.assertEqual(len(loads.parse_wrk(text)[4]), 2)

    def test_other_output_is_an_error(self):
        with self.assertRaises(loads.LoadFailed):
            loads.parse_wrk("unable to connect")

    def test_the_first_answer_comes_from_the_server_and_by_no_proxy(self):
        asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            """Notes what it is asked for."""

            def do_GET(self):  # pylint: disable=invalid-name
                asked.append(self.path)
                self.send_response(200)
                self.end_headers()

            def log_message(self, format, *arguments):  # pylint: disable=redefined-builtin
                pass

        with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
            server.timeout = 10
            thread = threading.Thread(target=server.handle_request)
            thread.start()
            elsewhere = {"http_proxy": "http://127.0.0.1:1", "no_proxy": ""}
            with unittest.mock.patch.dict(os.environ, elsewhere):
                loads._first_answer(types.SimpleNamespace(port=server.server_port), "/x", "http")
            thread.join()
        self.assertEqual(asked, ["/x"])


class CountingTests(unittest.TestCase):
    def test_a_total_is_found(self):
        with tempfile.NamedTemporaryFile("w", suffix=".out") as file:
            file.write("events: Ir\nfn=main\n1 2\ntotals: 12345\n")
            file.flush()
            self.assertEqual(counting.total_of(file.name), 12345)

    def test_a_file_without_a_total_is_an_error(self):
        with tempfile.NamedTemporaryFile("w") as file, self.assertRaises(counting.CountingFailed):
            counting.total_of(file.name)

    def test_what_is_above_its_bound_or_has_none_is_told(self):
        bounds = {"a": {"bound": 100.0}, "b": {"bound": 100.0}}
        self.assertEqual(counting.exceeded({"a": 100.0, "b": 99.0}, bounds), [])
        self.assertEqual(len(counting.exceeded({"a": 100.1, "b": 99.0}, bounds)), 1)
        self.assertEqual(len(counting.exceeded({"a": 1.0, "c": 1.0}, bounds)), 1)
        self.assertEqual(len(counting.exceeded({"a": 1.0}, {})), 1)

    def test_a_bound_far_above_the_count_is_told(self):
        bounds = {"a": {"bound": 111.0}, "b": {"bound": 109.0}}
        self.assertEqual(len(counting.loose({"a": 100.0, "b": 100.0, "c": 1.0}, bounds)), 1)

    def test_every_subject_that_is_counted_has_a_bound(self):
        with open(places.BOUNDS, encoding="utf-8") as file:
            self.assertEqual(set(json.load(file)), set(counting.SUBJECTS))

    def test_set_up_cancels_out(self):
        self.assertEqual(counting.per_message(1000 + 64 * 10 * 150, 1000 + 64 * 30 * 150, 64, (10, 30)), 150)


class WholeTests(unittest.TestCase):
    def test_evenness(self):
        self.assertEqual(rows_whole.unevenness([10, 10, 10, 10]), 1)
        self.assertEqual(rows_whole.unevenness([20, 10, 5, 5]), 2)

    def test_the_last_whole_line_of_arrivals_counts(self):
        said = rows_whole.Arrivals()
        said.take(b"100 7\n20")
        self.assertEqual((said.begun, said.open), (100, 7))
        said.take(b"0 9\n300 11\n4")
        self.assertEqual((said.begun, said.open), (300, 11))

    def test_every_row_stands_in_the_order_of_the_report(self):
        self.assertEqual(set(command.all_rows()), set(command.ORDER))

    def test_goals_name_subjects_of_their_row(self):
        for each in command.all_rows().values():
            for goal in each.goals:
                self.assertIn(goal.subject, each.subjects)
                self.assertIn(goal.against, [None, *each.subjects])
            self.assertIn(each.against, [None, *each.subjects])

    def test_a_server_is_known_to_live_until_it_does_not(self):
        self.assertTrue(processes.is_alive(os.getpid()))
        self.assertIn(os.getpid(), processes.children_of(os.getpid()))
        self.assertFalse(processes.is_alive(0))


class TuningTests(unittest.TestCase):
    def test_the_fastest_configuration_counts(self):
        tried = {("a",): [{"rate": 100, "cpu": 5}], ("b",): [{"rate": 90, "cpu": 1}]}
        self.assertEqual(tuning.best(tried), ("a",))
        self.assertEqual(tuning.best(tried, same_rate=0), ("b",))

    def test_of_configurations_as_fast_the_one_with_least_cpu_counts(self):
        tried = {("a",): [{"rate": 100, "cpu": 5}], ("b",): [{"rate": 98, "cpu": 4}], ("c",): [{"rate": 99, "cpu": 6}]}
        self.assertEqual(tuning.best(tried), ("b",))


class ReportTests(unittest.TestCase):
    def bounded(self, ours, theirs, metric="rate", cpus=1):
        each = row.Row("r", "R", "", {}, [Goal("g", "a", metric, "at least", 0.95, "b")], server_cpus=cpus)
        return row.bounded_by_load(each, {"a": [{"rate": 1, "busy": ours}], "b": [{"rate": 1, "busy": theirs}]})

    def test_a_throughput_that_the_load_bounds_is_told(self):
        self.assertEqual(self.bounded(0.97, 0.99), [])
        self.assertEqual(len(self.bounded(0.97, 0.7)), 1)
        self.assertEqual(len(self.bounded(0.97, 0.97, cpus=2)), 1)
        self.assertEqual(self.bounded(0.97, 0.7, metric="cpu"), [])

    def test_subjects_change_places_each_round(self):
        calls = []
        def subject(name):
            return lambda bench: calls.append(name) or {"rate": 1.0}
        class Bench:
            rounds, seconds, commands, remarks = 3, 1, [], []
            def begin_row(self):
                pass
        found = row.measure(row.Row("r", "R", "", {n: subject(n) for n in "ab"}, against="a"), Bench(), lambda _: None)
        self.assertEqual("".join(calls), "abbaab")
        self.assertEqual([len(samples) for samples in found["samples"].values()], [3, 3])

    def test_an_open_verdict_says_where_the_median_lies(self):
        goal = {"verdict": figures.UNDECIDED, "meets": True}
        self.assertEqual(report.verdict_text(goal), "undecided (the median meets it)")

    def section(self, rounds, column="rate", **machine):
        return "\n".join(report._section({
            "name": "none", "title": "N", "about": "", "unit": "message", "against": None, "columns": [[column, "r", "{:.0f}"]],
            "goals": [], "samples": {"a": [{column: 1.0}] * rounds}, "remarks": [], "rounds": rounds, "commands": [],
            "command": "run", "machine": {"date": "d", "commit": "c", "namespace": True} | machine}))

    def test_few_rounds_are_told(self):
        self.assertIn("75% sure only", self.section(3))
        self.assertNotIn("sure only", self.section(5))
        self.assertNotIn("sure only", self.section(1, column="count"))

    def test_what_was_not_as_usual_is_told(self):
        self.assertIn("RINGLOAD was /x", self.section(5, programs={"RINGLOAD": "/x"}))
        self.assertIn("own network namespace, since", self.section(5, namespace=False))
        self.assertNotIn("namespace", self.section(5))

    def test_a_missing_results_file_is_no_results(self):
        self.assertEqual(report.read("/nonexistent/results.json"), {"rows": {}})


if __name__ == "__main__":
    unittest.main()
