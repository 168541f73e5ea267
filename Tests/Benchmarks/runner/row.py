"""A row: what is compared with what, and how its rounds are run."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from . import figures

# Metric, how a table heads it, its format.
COLUMNS = (
    ("rate", "per second", "{:.0f}"), ("cpu", "CPU µs", "{:.2f}"), ("user", "user µs", "{:.2f}"),
    ("system", "system µs", "{:.2f}"), ("client", "client's CPU µs", "{:.2f}"), ("p50", "p50 µs", "{:.0f}"),
    ("p99", "p99 µs", "{:.0f}"), ("busy", "CPUs busy", "{:.2f}"),
)


@dataclass
class Row:
    """`subjects`: by name, what measures each once. `against`: whom the report gives ratios to."""

    name: str
    title: str
    about: str
    subjects: dict[str, Callable]
    goals: list = field(default_factory=list)
    against: str | None = None
    unit: str = "message"
    columns: tuple = COLUMNS
    needs: tuple = ("ringmaster", "ringload")
    rounds_max: int | None = None
    prepare: Callable | None = None


def measure(row, bench, say):
    """Runs the rounds: each subject once in each, in turn, and in the other order every second round. What came of it."""
    bench.begin_row()
    if row.prepare:
        row.prepare(bench)
    rounds = min(bench.rounds, row.rounds_max or bench.rounds)
    samples = {name: [] for name in row.subjects}
    for number in range(rounds):
        names = list(row.subjects)
        for name in names if number % 2 == 0 else reversed(names):
            sample = row.subjects[name](bench)
            samples[name].append(sample)
            shown = "  ".join(
                f"{head} {form.format(sample[key])}" for key, head, form in row.columns if key in sample)
            say(f"  {number + 1}/{rounds} {name:24} {shown}")
    return result(row, samples) | {
        "rounds": rounds, "seconds": bench.seconds, "commands": bench.commands, "remarks": bench.remarks,
        "load": os.getloadavg()[0],
    }


def result(row, samples):
    """What the results file has of a row."""
    goals = []
    for goal in row.goals:
        verdict, found = figures.judge(goal, samples)
        goals.append({
            "text": goal.text, "verdict": verdict, "median": found.median, "least": found.least,
            "greatest": found.greatest, "relation": goal.relation, "bound": goal.bound, "unit": goal.unit,
            "meets": goal.reached(found.median),
        })
    return {
        "name": row.name, "title": row.title, "about": row.about, "unit": row.unit, "against": row.against,
        "columns": [list(column) for column in row.columns], "goals": goals, "samples": samples,
    }
