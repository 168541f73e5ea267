"""What is made of the rounds' figures: medians, ratios, how sure they are, and the verdict on a goal. Pure."""

import math
import statistics
from dataclasses import dataclass

# How sure the interval around a median is to hold the true one, at least.
SURE = 0.90


def median(values):
    """The middle one; of an even number the mean of both."""
    return statistics.median(values)


def interval(values, sure=SURE):
    """The least and greatest that the true median can have, `sure` of it, whatever the distribution: the k-th least and
    greatest value, k as large as the binomial distribution allows. Of five values all are needed (94 %). With fewer
    it is less sure than that."""
    values, n = sorted(values), len(values)
    k = 0
    while k + 1 < (n + 1) // 2 and 1 - 2 * sum(math.comb(n, i) for i in range(k + 2)) / 2**n >= sure:
        k += 1
    return values[k], values[n - 1 - k]


@dataclass
class Quotient:
    """A ratio of medians, the least and greatest of any round, and the interval of the rounds' ratios."""

    median: float
    least: float
    greatest: float
    low: float
    high: float

    def text(self):
        """As it stands in tables."""
        return f"{self.median:.2f} ({self.least:.2f} – {self.greatest:.2f})"


def quotient(values, others):
    """How `values` stand to `others`, which were measured in the same rounds. Without others: to 1."""
    others = others or [1.0] * len(values)
    each = [value / other for value, other in zip(values, others, strict=True)]
    low, high = interval(each)
    return Quotient(median(values) / median(others), min(each), max(each), low, high)


@dataclass
class Goal:
    """What a metric of a subject must reach: at least or at most `bound` times that of another, or absolutely."""

    text: str
    subject: str
    metric: str
    relation: str  # "at least", "at most", "above", "below"
    bound: float
    against: str | None = None
    unit: str = ""

    def reached(self, value):
        """Whether that is enough."""
        return {
            "at least": value >= self.bound, "at most": value <= self.bound,
            "above": value > self.bound, "below": value < self.bound,
        }[self.relation]


MET, MISSED, UNDECIDED = "met", "missed", "undecided"


def judge(goal, samples):
    """The verdict and the quotient, from {subject: [sample, ...]}. Undecided: the rounds leave open on which side of the
    bound the median lies."""
    values = [sample[goal.metric] for sample in samples[goal.subject]]
    others = [sample[goal.metric] for sample in samples[goal.against]] if goal.against else None
    found = quotient(values, others)
    sides = {goal.reached(found.low), goal.reached(found.high)}
    if len(sides) == 2:
        return UNDECIDED, found
    return (MET if goal.reached(found.median) else MISSED), found
