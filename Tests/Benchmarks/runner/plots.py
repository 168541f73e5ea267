"""The plots: ratios as bars, with whiskers from the least to the greatest of any round."""

import os
import sys

from . import figures, places

KINDS = (("rate", "Throughput, ratio (higher is better)"), ("cpu", "CPU per unit, ratio (lower is better)"))
OURS = "#2a6f97"


def bars(rows, key):
    """(row, peer, quotient) for each peer that our first subject of a row is compared with in the goals' sense."""
    found = []
    for each in rows:
        subjects = each["samples"]
        ours = next(iter(subjects))
        if not each["against"] or key not in subjects[ours][0]:
            continue
        for peer in subjects:
            if peer.startswith(("ringmaster", "RingmasterNIO")) or peer == ours:
                continue
            others = [sample[key] for sample in subjects[peer]]
            if all(others):
                found.append((each["name"], peer, figures.quotient([s[key] for s in subjects[ours]], others)))
    return found


def draw(rows):
    """ratios.png. Without matplotlib says so, and leaves the plots as they are."""
    try:
        import matplotlib
        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        print("no plots: matplotlib is missing; Tests/Benchmarks/run --install brings it", file=sys.stderr)
        return
    os.makedirs(places.PLOTS, exist_ok=True)
    _ratios(pyplot, rows)
    for each in rows:
        _row(pyplot, each)


def _ratios(pyplot, rows):
    sides = [(title, bars(rows, key)) for key, title in KINDS]
    most = max((len(found) for _, found in sides), default=0)
    if most == 0:
        return
    figure, axes = pyplot.subplots(1, 2, figsize=(13, 1.2 + 0.34 * most), layout="constrained")
    for axis, (title, found) in zip(axes, sides):
        _bars(axis, [f"{row} / {peer}" for row, peer, _ in found], [q for _, _, q in found])
        axis.set_title(title, fontsize=11)
    figure.suptitle("Ringmaster against each peer; whiskers: least and greatest of any round")
    figure.savefig(os.path.join(places.PLOTS, "ratios.png"), dpi=110)
    pyplot.close(figure)


def _bars(axis, labels, quotients):
    places_ = range(len(labels))
    values = [q.median for q in quotients]
    errors = [[max(0, q.median - q.least) for q in quotients], [max(0, q.greatest - q.median) for q in quotients]]
    axis.barh(places_, values, xerr=errors, color=OURS, ecolor="#333333", capsize=3, height=0.65)
    axis.axvline(1, color="#9a031e", linewidth=1)
    axis.set_yticks(places_, labels, fontsize=9)
    axis.invert_yaxis()
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    # Beside the whisker, so that it hides no number.
    for place, q in zip(places_, quotients):
        axis.text(max(q.greatest, q.median), place, f"  {q.median:.2f}", va="center", fontsize=8,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})
    axis.set_xlim(0, max([1.0] + [q.greatest for q in quotients]) * 1.15)


def _row(pyplot, each):
    """Throughput and CPU of all subjects of a row, each relative to the one it is held against."""
    subjects, against = each["samples"], each["against"]
    if not against or len(subjects) < 3:
        return
    kinds = [(key, title) for key, title in KINDS if key in subjects[against][0]]
    if not kinds:
        return
    figure, axes = pyplot.subplots(
        1, len(kinds), figsize=(6 * len(kinds), 1.2 + 0.4 * len(subjects)), layout="constrained", squeeze=False)
    for axis, (key, title) in zip(axes[0], kinds):
        others = [sample[key] for sample in subjects[against]]
        _bars(axis, list(subjects), [figures.quotient([s[key] for s in samples], others) for samples in subjects.values()])
        axis.set_title(title, fontsize=10)
    figure.suptitle(f"{each['title']} (1: {against})", fontsize=11)
    figure.savefig(os.path.join(places.PLOTS, f"{each['name']}.png"), dpi=100)
    pyplot.close(figure)
