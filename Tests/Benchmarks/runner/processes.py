"""Servers as processes: started, waited for, stopped, and looked for afterwards."""

import os
import signal
import socket
import subprocess
import tempfile
import time

START_SECONDS = 30
STOP_SECONDS = 10
# Servers' ports; those from the limit on are clients'.
PORT_FIRST, PORT_LIMIT = 10000, 16384


class ServerFailed(Exception):
    """A server did not start, died or did not stop; the text has what it said last."""


def free_port():
    """A port of loopback that nobody has, and that no client is given meanwhile."""
    for port in range(PORT_FIRST + os.getpid() % 1000, PORT_LIMIT):
        if port not in _given:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            _given.add(port)
            return port
    raise ServerFailed("no port is free on 127.0.0.1")


_given = set()


def answers(port):
    """Whether somebody listens there. A connection made and closed: servers count it."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def children_of(pid):
    """Processes that descend from this one, itself first (proc(5): task/TID/children)."""
    found, at = [pid], 0
    while at < len(found):
        try:
            for thread in os.listdir(f"/proc/{found[at]}/task"):
                with open(f"/proc/{found[at]}/task/{thread}/children", encoding="ascii") as file:
                    found += [int(child) for child in file.read().split()]
        except OSError:
            pass
        at += 1
    return found


def is_alive(pid):
    """Whether the process is there and not a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Server:
    """A server and all of its processes, for the time of a `with`. `cpus`: where it may run, as taskset has it."""

    def __init__(self, name, command, port, cpus=None, environment=None, ready_text=None, ends_itself=False):
        self.name, self.port, self.ends_itself = name, port, ends_itself
        # What it says when it serves; without it, whether its port answers.
        self.ready_text = ready_text
        self.command = (["taskset", "-c", cpus] if cpus else []) + command
        self.environment = environment
        self.process = None
        self.log = None

    def __enter__(self):
        self.log = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")
        # A group of its own, so that what is left of it can be found and ended.
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, env=self.environment,
            start_new_session=True)
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind, *_):
        if kind is None and self.ends_itself:
            self._wait_for_its_end()
        died = not self.ends_itself and self.process.poll() is not None
        left = self.stop()
        if kind is None and died:
            raise ServerFailed(f"{self.name} ended with {self.process.returncode} while it was measured; {self.output()}")
        if kind is None and left:
            raise ServerFailed(f"{self.name} did not stop: {left} were killed; {self.output()}")

    def _wait_until_ready(self):
        end = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self.process.poll() is not None:
                raise ServerFailed(f"{self.name} ended with {self.process.returncode}; {self.output()}")
            if time.monotonic() > end:
                raise ServerFailed(f"{self.name} did not answer on port {self.port}; {self.output()}")
            time.sleep(0.02)

    def _is_ready(self):
        if self.ready_text is None:
            return answers(self.port)
        return self.ready_text in os.pread(self.log.fileno(), 1 << 20, 0).decode(errors="replace")

    def _wait_for_its_end(self):
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass

    def pids(self):
        """The processes of this server that live now."""
        return [pid for pid in children_of(self.process.pid) if is_alive(pid)]

    def output(self):
        """The last of what it has said."""
        self.log.seek(0)
        said = self.log.read().strip()[-600:]
        return f"it said: {said}" if said else "it said nothing"

    def stop(self):
        """Ends it, gently first. The processes that had to be killed."""
        ours = self.pids()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        while any(is_alive(pid) for pid in ours) and time.monotonic() < end:
            try:
                self.process.wait(0.02)
            except subprocess.TimeoutExpired:
                pass
            time.sleep(0.005)
        left = [pid for pid in ours if is_alive(pid)]
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(STOP_SECONDS)
        return left
