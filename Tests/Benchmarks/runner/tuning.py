"""Which configuration of a subject counts: the best of some, tried before the rounds."""

from . import figures

# Rates that are so close are the same: then CPU per message decides, since it is the load that bounds them.
SAME_RATE = 0.97


def best(tried, same_rate=SAME_RATE):
    """The configuration that counts, of {configuration: samples}: the fastest, and of those about as fast the one with least
    CPU per message. `same_rate` 0: the one with least CPU, where only that is a goal."""
    def middle(choice, key):
        return figures.median([sample[key] for sample in tried[choice]])
    most = max(middle(choice, "rate") for choice in tried)
    return min(
        (choice for choice in tried if middle(choice, "rate") >= same_rate * most), key=lambda choice: middle(choice, "cpu"))


def seconds(bench):
    """How long each try is."""
    return min(bench.seconds, 0.7)


def tune(bench, name, choices, measure, text=str, same_rate=SAME_RATE):
    """The best of these configurations, each measured twice in turn. A remark says what was tried; the commands of the tries are
    none of the row's."""
    if bench.dry:
        choices = choices[:2]
    commands, tried = list(bench.commands), {choice: [] for choice in choices}
    for _ in range(1 if bench.dry else 2):
        for choice in choices:
            tried[choice].append(measure(choice))
    bench.commands = commands
    chosen = best(tried, same_rate)
    rate = "{:.2f}" if tried[chosen][0]["rate"] < 100 else "{:.0f}"
    said = "; ".join(
        f"{text(choice)}: {rate.format(figures.median([s['rate'] for s in found]))}/s, "
        f"{figures.median([s['cpu'] for s in found]):.2f} µs" for choice, found in tried.items())
    bench.remark(f"{name} ran with {text(chosen)}, the best of {len(choices)} configurations ({said}).")
    return chosen
