"""Where things are, and how they are built."""

import os
import subprocess

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD_C = os.path.join(ROOT, ".build", "bench-c")
BUILD_PYTHON = os.path.join(ROOT, ".build", "bench-python")
RESULTS = os.path.join(HERE, "results.json")
REPORT = os.path.join(HERE, "RESULTS.md")
PLOTS = os.path.join(HERE, "plots")
NOTES = os.path.join(HERE, "notes")
BOUNDS = os.path.join(HERE, "bounds.json")


class NotBuilt(Exception):
    """A program is missing; the text says how to get it."""


def build_references():
    """The C programs."""
    subprocess.run(["make", "--silent", "-C", os.path.join(HERE, "reference"), f"OUT={BUILD_C}"], check=True)


def _released(variable, name):
    path = os.environ.get(variable) or os.path.join(ROOT, ".build", "release", name)
    if not os.access(path, os.X_OK):
        raise NotBuilt(f"{path} is missing: swift build -c release --product {name}, or set {variable}")
    return os.path.abspath(path)


def ringmaster_binary():
    """The release build, or what RINGMASTER names."""
    return _released("RINGMASTER", "ringmaster")


def ringload_binary():
    """The release build, or what RINGLOAD names."""
    return _released("RINGLOAD", "ringload")


def c_binary(name):
    """One of the C programs."""
    return os.path.join(BUILD_C, name)
