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


class Counter:
    """Runs servers under callgrind, one at a time, in a directory of its own."""

    def __init__(self, directory):
        self.directory = directory
        self.program = None

    def count(self, subject):
        """Instructions per message, and the output file of the long run."""
        totals, path = [], None
        for length in (SHORT, LONG):
            path = os.path.join(self.directory, f"{subject.replace(' ', '-')}.{length}")
            self._run(subject, length, path)
            totals.append(total_of(path))
        return per_message(*totals), path

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
            self.program = os.path.join(self.directory, "ringmaster")
            subprocess.run(["strip", "-g", "-o", self.program, ringmaster_binary()], check=True)
        return self.program


def annotate(path, lines):
    """The functions that took most of the long run, as callgrind_annotate tells them."""
    text = subprocess.run(["callgrind_annotate", "--auto=no", path], check=True, capture_output=True, text=True).stdout
    rows = text.splitlines()
    start = next((i for i, row in enumerate(rows) if "file:function" in row), 0)
    return "\n".join(rows[start:start + 2 + lines])


def count_all(keep=None):
    """Counts every subject: {subject: instructions per message}, {subject: output file}. The files stay when `keep` names
    a directory."""
    missing = [tool for tool in ("valgrind", "strip") if shutil.which(tool) is None]
    if missing:
        raise CountingFailed(f"{' and '.join(missing)} not installed: .ci/install brings it")
    directory = keep or tempfile.mkdtemp(prefix="instructions-")
    os.makedirs(directory, exist_ok=True)
    counter = Counter(directory)
    counts, files = {}, {}
    for subject in SUBJECTS:
        counts[subject], files[subject] = counter.count(subject)
        yield subject, counts[subject], files[subject]
    if keep is None:
        shutil.rmtree(directory)
