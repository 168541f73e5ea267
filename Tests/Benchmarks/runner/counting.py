"""User-space instructions per echoed message, by callgrind: the difference of two runs of different length, so that
set-up and connections cancel out."""

import os
import shutil
import subprocess
import tempfile

from . import processes
from .places import c_binary, ringmaster_binary

CONNECTIONS = 64
SIZE = 64
# Messages on each connection, in the short and in the long run.
SHORT, LONG = 50, 350
SUBJECTS = ("ringmaster io_uring", "ringmaster epoll", "C io_uring", "C epoll")
REFERENCE = {"ringmaster io_uring": "C io_uring", "ringmaster epoll": "C epoll"}


# How often a subject may take what its reference takes.
GOAL = 1.5
# A bound so far above the count, as a part of it, no longer guards what was reached.
LOOSE = 0.10


class CountingFailed(Exception):
    """A subject could not be counted; the text says why."""


def total_of(path):
    """The instructions that a callgrind output file says were executed (callgrind's format: `summary:` or `totals:`)."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith(("summary:", "totals:")):
                return int(line.split()[1])
    raise CountingFailed(f"{path} has no total: valgrind was cut short")


def per_message(short, long, connections=CONNECTIONS, lengths=(SHORT, LONG)):
    """Instructions of one message from the totals of both runs."""
    return (long - short) / (connections * (lengths[1] - lengths[0]))


def exceeded(counts, bounds):
    """What is above its bound, or has none, as text."""
    complaints = []
    for subject, count in counts.items():
        bound = bounds.get(subject, {}).get("bound")
        if bound is None:
            complaints.append(f"{subject}: {count:.0f} instructions per message, and no bound")
        elif count > bound:
            complaints.append(
                f"{subject}: {count:.0f} instructions per message, {bound} allowed ({100 * (count / bound - 1):.1f} % above)")
    return complaints


def loose(counts, bounds):
    """Bounds that would let much of what was gained be lost again, as text."""
    return [
        f"{subject}: {count:.0f} instructions per message, {bounds[subject]['bound']} allowed: record it"
        for subject, count in counts.items()
        if subject in bounds and bounds[subject]["bound"] > count * (1 + LOOSE)
    ]


class Counter:
    """Runs servers under callgrind, one at a time, in a directory of its own."""

    def __init__(self, directory):
        self.directory = directory
        self.program = None

    def count(self, subject):
        """Instructions per message, and the output files of the short and the long run."""
        paths = [os.path.join(self.directory, f"{subject.replace(' ', '-')}.{length}") for length in (SHORT, LONG)]
        for length, path in zip((SHORT, LONG), paths):
            self._run(subject, length, path)
        return per_message(*map(total_of, paths)), paths

    def _run(self, subject, length, path):
        port = processes.free_port()
        command, environment = self._command(subject, port, path)
        with processes.Server(subject, command, port, environment=environment, ends_itself=subject == "C io_uring") as server:
            # Ringmaster's worker comes after the supervisor.
            done = subprocess.run(
                [c_binary("lockstep"), str(port), str(length), str(CONNECTIONS), str(SIZE), str(server.pids()[-1])],
                timeout=60, check=False, stderr=subprocess.PIPE, text=True)
            if done.returncode != 0:
                raise CountingFailed(f"{subject}: lockstep failed: {done.stderr.strip()}; {server.output()}")
        if not os.path.exists(path):
            raise CountingFailed(f"{subject}: callgrind has written nothing; {server.output()}")

    def _command(self, subject, port, path):
        valgrind = ["valgrind", "--tool=callgrind", "-q", f"--callgrind-out-file={path}", f"--log-file={path}.log"]
        peer, transport = subject.split()
        if peer == "C":
            # Valgrind 3.19 delivers no signal while io_uring_enter(2) waits. The first connection asks whether it answers.
            server = {"io_uring": ["uring-echo", "--exit-after", str(CONNECTIONS + 1)], "epoll": ["epoll-echo"]}[transport]
            return [*valgrind, c_binary(server[0]), *server[1:], str(port)], None
        # The supervisor itself is not valgrind's: it uses pidfds, which 3.19 does not know.
        environment = os.environ | {
            "LD_PRELOAD": c_binary("spawn-under.so"),
            "SPAWN_UNDER": "\n".join([shutil.which("valgrind"), *valgrind[1:]]),
            "SPAWN_PROGRAM": self._stripped(),
        }
        return [self._stripped(), "echo", "--listen", f"127.0.0.1:{port}", "--workers", "1", "--transport", transport,
                "--log-level", "warning", "--hang-timeout", "0"], environment

    def _stripped(self):
        """The program without debugging information: valgrind 3.19 gives up on DWARF 5."""
        if self.program is None:
            built, stripped = ringmaster_binary(), os.path.join(self.directory, "ringmaster")
            done = subprocess.run(
                ["strip", "-g", "-o", stripped, built], check=False, stderr=subprocess.PIPE, text=True)
            if done.returncode != 0:
                raise CountingFailed(f"{built} cannot be stripped, as a program in ELF can: {done.stderr.strip()}")
            self.program = stripped
        return self.program


def functions_of(text):
    """Instructions by function, of what callgrind_annotate writes: lines such as `1,234  echo.c:turn [/usr/bin/echo]`."""
    found = {}
    for line in text.splitlines():
        number, _, function = line.strip().partition(" ")
        digits = number.replace(",", "")
        if digits.isdigit() and function.strip() != "PROGRAM TOTALS":
            # Without the place of the program, which says nothing here.
            name = function.strip().rpartition(" [")[0] or function.strip()
            found[name] = found.get(name, 0) + int(digits)
    return found


def profile(short, long, lines):
    """The functions with most instructions per message, as text: what both runs have, as the start, is left out."""
    rows = sorted(((per_message(short.get(name, 0), count), name) for name, count in long.items()), reverse=True)
    return "\n".join(f"{count:10.1f}  {name}" for count, name in rows[:lines] if count >= 0.05)


def annotate(paths, lines):
    """The profile of the functions that the output files of the short and the long run tell of."""
    tables = [
        subprocess.run(
            ["callgrind_annotate", "--auto=no", "--threshold=100", "--show-percs=no", path],
            check=True, capture_output=True, text=True).stdout
        for path in paths
    ]
    return profile(*map(functions_of, tables), lines)


def count_all(keep=None):
    """Counts every subject in turn: its name, instructions per message, callgrind's output files of the short and the long
    run. The files stay when `keep` names a directory, which is made if it is not there."""
    missing = [tool for tool in ("valgrind", "strip") if shutil.which(tool) is None]
    if missing:
        raise CountingFailed(f"{' and '.join(missing)} not installed: .ci/install brings it")
    directory = keep or tempfile.mkdtemp(prefix="instructions-")
    os.makedirs(directory, exist_ok=True)
    counter = Counter(directory)
    try:
        for subject in SUBJECTS:
            yield subject, *counter.count(subject)
    finally:
        if keep is None:
            shutil.rmtree(directory)
