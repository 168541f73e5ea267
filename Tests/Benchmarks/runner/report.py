"""RESULTS.md, from results.json."""

import json
import os

from . import figures, places, plots

SIGN = {"at least": "≥", "at most": "≤", "above": ">", "below": "<"}


def read(path):
    """The results so far; none when there is no file."""
    if not os.path.exists(path):
        return {"rows": {}}
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _number(value):
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 0.1 else f"{value:.2f}"


def verdict_text(goal):
    """The verdict, and for one that is open, where the median lies."""
    if goal["verdict"] == figures.UNDECIDED:
        return f"undecided (the median {'meets' if goal['meets'] else 'misses'} it)"
    return goal["verdict"]


def goal_value(goal):
    """The measured value with its range, and what it should be."""
    unit = f" {goal['unit']}" if goal["unit"] else ""
    return (f"{_number(goal['median'])} ({_number(goal['least'])} – {_number(goal['greatest'])}){unit}, "
            f"goal {SIGN[goal['relation']]} {_number(goal['bound'])}{unit}")


def _table(heads, lines, left=1):
    rule = ["---"] * left + ["---:"] * (len(heads) - left)
    return ["| " + " | ".join(cells) + " |" for cells in (heads, rule, *lines)]


def _goals(rows):
    lines = []
    for each in rows:
        for goal in each["goals"]:
            unit = f" {goal['unit']}" if goal["unit"] else ""
            lines.append([
                f"[{each['name']}](#{each['name']})", goal["text"], f"{SIGN[goal['relation']]} {_number(goal['bound'])}{unit}",
                f"{_number(goal['median'])}{unit}", f"{_number(goal['least'])} – {_number(goal['greatest'])}",
                f"**{verdict_text(goal)}**"])
    heads = ["row", "what", "goal", "measured", "rounds", "verdict"]
    return _table(heads, lines, len(heads))


def columns_measured(each):
    """The columns that have figures."""
    return [column for column in each["columns"] if any(column[0] in samples[0] for samples in each["samples"].values())]


def _row(each):
    columns = columns_measured(each)
    ratios = [key for key in ("rate", "cpu", "user", "count") if each["against"] and key in [c[0] for c in columns]]
    names = {"rate": "throughput", "cpu": "CPU", "user": "user CPU", "count": "instructions"}
    heads = ["subject"] + [head for _, head, _ in columns] + [f"{names[key]}, ratio" for key in ratios]
    lines = []
    for subject, samples in each["samples"].items():
        cells = [subject]
        for key, _, form in columns:
            cells.append(form.format(figures.median([sample[key] for sample in samples])) if key in samples[0] else "")
        for key in ratios:
            if subject == each["against"]:
                cells.append("1")
                continue
            values = [sample[key] for sample in samples]
            others = [sample[key] for sample in each["samples"][each["against"]]]
            # No tick has found so little user time: no ratio then.
            cells.append(figures.quotient(values, others).text() if all(values) and all(others) else "")
        lines.append(cells)
    return _table(heads, lines)


def _section(each):
    machine = each["machine"]
    text = [f"## {each['name']}", "", f"**{each['title']}.** {each['about']}", ""]
    if any(column[0] == "cpu" for column in columns_measured(each)):
        text += [f"CPU is of the server's processes together, per {each['unit']}.", ""]
    text += _row(each) + [""]
    if os.path.exists(os.path.join(places.PLOTS, f"{each['name']}.png")):
        text += [f"![{each['title']}](plots/{each['name']}.png)", ""]
    text += [f"- {verdict_text(goal)}: {goal['text']}: {goal_value(goal)}" for goal in each["goals"]]
    text += [f"- {remark}" for remark in each["remarks"]]
    rounds = "1 round" if each["rounds"] == 1 else f"{each['rounds']} rounds"
    text += [f"- {rounds} on {machine['date']} at {machine['commit']}, `{each['command']}`", ""]
    note = os.path.join(places.NOTES, f"{each['name']}.md")
    if os.path.exists(note):
        with open(note, encoding="utf-8") as file:
            text += [file.read().strip(), ""]
    if each["commands"]:
        text += ["<details><summary>Commands and configurations</summary>", "", "```"]
        text += "\n".join(each["commands"]).splitlines()
        text += ["```", "", "</details>", ""]
    return text


def write(results, order):
    """RESULTS.md and the plots."""
    rows = [results["rows"][name] for name in order if name in results["rows"]]
    plots.draw(rows)
    text = ["# Measured", ""]
    names = ("kernel", "cpus", "model", "swift", "control")
    for kernel, cpus, model, swift, control in {tuple(each["machine"][name] for name in names): None for each in rows}:
        text += [f"{kernel}, {cpus} CPUs ({model}), {swift}; congestion control on loopback: {control}.", ""]
    text += [
        "Written by `Tests/Benchmarks/run`; `Tests/Benchmarks/run --report` writes it again from `results.json`. Each row's "
        "subjects are measured in turn, A B A B …, all of them in each round, in a network namespace of the run's own. Figures are the "
        "rounds' medians; a ratio is that of the medians, and in brackets the least and the greatest ratio of any round. A goal is "
        f"undecided when the interval that holds the true median with at least {figures.SURE:.0%} (of five rounds: all of them) "
        "has the bound inside. Absolute figures are this machine's; ratios are what to compare.", "",
        "CPU times are of the processes' own clocks (the counters of /proc/PID/stat, in nanoseconds), over the window that "
        "ringload measured in; their division into user and system time is by ticks. The client's CPU is apart.", "",
        "## Goals", ""]
    text += _goals(rows) + [""]
    if os.path.exists(os.path.join(places.PLOTS, "ratios.png")):
        text += ["![Throughput and CPU against each peer](plots/ratios.png)", ""]
    for each in rows:
        text += _section(each)
    with open(places.REPORT, "w", encoding="utf-8") as file:
        file.write("\n".join(text).rstrip() + "\n")
    print(f"wrote {places.REPORT}", flush=True)
