"""The command line of `instructions`."""

import argparse
import json
import os
import subprocess
import sys
import time

from . import counting, places, processes

MARGIN = 1.06
PROFILE_MAX = 1000
# On a machine that is busy with other things a run may need more turns for the same messages.
RECOUNTS_MAX = 2

FAILURES = (counting.CountingFailed, processes.ServerFailed, places.NotBuilt, subprocess.SubprocessError, OSError)


class Parser(argparse.ArgumentParser):
    """argparse ends with 2 for what is 64 elsewhere here."""

    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(64, f"{self.prog}: {message}\n")


def number(least, most):
    """What turns a word into a number of this range."""
    def parsed(word):
        try:
            value = int(word)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{word}: write a number from {least} to {most}")
        return value
    return parsed


def directory(word):
    """A directory that can be written, or be made. It is made when there is something to put in it."""
    found = os.path.abspath(word)
    while not os.path.lexists(found):
        found = os.path.dirname(found)
    if not os.path.isdir(found):
        raise argparse.ArgumentTypeError(f"{word} cannot be made, since {found} is no directory: name another one")
    if not os.access(found, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{word} cannot be written: name a directory of yours")
    return word


def parse(text, words=None):
    """The options; ends the process with 64 for one that is wrong."""
    parser = Parser(
        prog="instructions", description=text,
        epilog="The release build at .build/release/ringmaster is counted as it stands, or what RINGMASTER names: build it first, "
        f"`{places.build_command('ringmaster')}`. The C references are built here. "
        "Exit codes: 0, 1 something is above its bound or could not be counted, 64 usage.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="fail when a count is above its bound in bounds.json")
    what.add_argument("--record", action="store_true", help=f"make {MARGIN} times what is counted the bounds")
    parser.add_argument(
        "--profile", type=number(1, PROFILE_MAX), metavar="N",
        help=f"the N functions with most instructions per message, 1 to {PROFILE_MAX} (default: none)")
    parser.add_argument(
        "--keep", type=directory, metavar="DIR", help="leave callgrind's output files there (default: they are removed)")
    return parser.parse_args(words)


def _bounds():
    try:
        with open(places.BOUNDS, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as failure:
        raise counting.CountingFailed(f"{places.BOUNDS} cannot be read ({failure}): --record makes it anew") from failure


def _count(options):
    counts = {}
    for subject, count, paths in counting.count_all(options.keep):
        counts[subject] = count
        print(f"{subject:20} {count:7.1f} instructions per message", flush=True)
        if options.profile:
            print(counting.annotate(paths, options.profile), flush=True)
    for subject, reference in counting.REFERENCE.items():
        print(f"{subject:20} {counts[subject] / counts[reference]:7.2f} times {reference} (goal: at most {counting.GOAL})")
    return counts


def _record(counts):
    bounds = {
        subject: {"measured": round(count, 1), "bound": round(count * MARGIN, 1)} for subject, count in counts.items()
    }
    with open(places.BOUNDS, "w", encoding="utf-8") as file:
        json.dump(bounds, file, indent=2)
        file.write("\n")
    print(f"recorded in {places.BOUNDS}")


def lowest(counts, bounds, count_again):
    """The counts, those above their bound being counted again a few times: of each the lowest that was seen."""
    for _ in range(RECOUNTS_MAX):
        if not counting.exceeded(counts, bounds):
            break
        print("above a bound: counted again, since a busy machine can make it more", flush=True)
        again = count_again()
        counts = {subject: min(count, again[subject]) for subject, count in counts.items()}
    return counts


def _check(counts, bounds):
    complaints = counting.exceeded(counts, bounds)
    for loose in counting.loose(counts, bounds):
        print(f"bound too high: {loose}")
    for complaint in complaints:
        print(f"FAILED: {complaint}", file=sys.stderr)
    if complaints:
        print("If that is meant: Tests/Benchmarks/instructions --record, and commit bounds.json with the reason. Where "
              "the time goes: Tests/Benchmarks/instructions --profile 30", file=sys.stderr)
        return 1
    print("all within their bounds")
    return 0


def main(text):
    """Counts, and records or checks what was counted."""
    options = parse(text)
    started = time.monotonic()
    try:
        # Better now than when everything is counted.
        places.ringmaster_binary()
        bounds = _bounds() if options.check else None
        places.build_references()
        counts = _count(options)
        if options.check:
            counts = lowest(counts, bounds, lambda: _count(options))
        print(f"took {time.monotonic() - started:.0f} s")
        if options.record:
            _record(counts)
    except FAILURES as failure:
        print(f"instructions: {failure}", file=sys.stderr)
        return 1
    return _check(counts, bounds) if options.check else 0
