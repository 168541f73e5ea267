"""What the program as a whole does: instructions, hand-off, balance, memory, idling."""

import json
import os
import re
import select
import socket
import subprocess
import time

from . import counting, figures, loads, places, servers, usage
from .figures import Goal
from .row import Row
from .rows_proxy import churn

URING, MACHINE = "ringmaster io_uring", "the CPU alone"
WORKERS = 4


def _instructions(bench):
    """All four subjects at once, since they are counted and not timed."""
    if "counts" not in bench.tuned:
        bench.tuned["counts"] = {subject: {"count": count} for subject, count, _ in counting.count_all()}
        bench.commands.append("Tests/Benchmarks/instructions")
    return bench.tuned["counts"]


def _instructions_row():
    title = "User-space instructions per echoed message of 64 B, 64 connections"
    return Row(
        "instructions", title,
        "Counted by callgrind, by the difference of two runs; all 64 messages are there before the server goes on "
        "(reference/lockstep.c). Repeatable to a percent, so there is one round.",
        {subject: lambda bench, subject=subject: _instructions(bench)[subject] for subject in counting.SUBJECTS},
        [Goal(f"{title}: {subject} against {reference}", subject, "count", "at most", counting.GOAL, reference)
         for subject, reference in counting.REFERENCE.items()],
        against="C io_uring", columns=(("count", "instructions", "{:.0f}"),), needs=("ringmaster",), rounds_max=1)


def _half_load(bench):
    """Connections per second that are half of what two workers can take here."""
    if "half" not in bench.tuned:
        with servers.ringmaster(bench, "echo", workers=2) as server:
            most = churn(bench, server, seconds=min(1.0, bench.seconds), cpus=bench.client_cpus)["rate"]
        bench.tuned["half"] = int(most / 2)
        bench.remark(f"Half load: {most / 2:.0f} connections per second; ringload churn reached {most:.0f} on these CPUs.")
    return bench.tuned["half"]


def _handoff(bench):
    rate = _half_load(bench)
    with servers.handoff_server(bench, workers=2) as server:
        command = [
            "taskset", "-c", bench.client_cpus, places.c_binary("handoff-client"), str(server.port), str(rate),
            str(max(1, round(bench.seconds)))]
        bench.said(command)
        done = subprocess.run(command, capture_output=True, text=True, timeout=bench.seconds + 60, check=False)
        if done.returncode != 0:
            raise loads.LoadFailed(f"handoff-client: {done.stdout} {done.stderr}; {server.output()}")
        told = json.loads(done.stdout)
    return {"rate": told["connections"] / told["seconds"], "p50": told["p50"], "p99": told["p99"], "p999": told["p99.9"],
            "max": told["max"]}


def _stalls(bench):
    """What nobody can have better on the servers' CPU, just now."""
    command = ["taskset", "-c", bench.server_cpus, places.c_binary("stalls"), str(round(bench.seconds * 1000))]
    bench.said(command)
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=bench.seconds + 60)
    told = json.loads(done.stdout)
    return {"p50": told["p50"], "p99": told["p99"], "p999": told["p99.9"], "max": told["max"]}


def _handoff_row():
    title = "Hand-off, accept to adopted, at half load, two workers"
    return Row(
        "handoff-p99", title,
        "From when the supervisor has its accept's completion (the time stamp in the connection's record) until the worker's "
        "service is called with the connection, right behind its adoption; both read CLOCK_MONOTONIC, and the service "
        "(HandoffServer) tells the client the difference. The time in the kernel's accept queue is not in it. Supervisor "
        "and workers share one CPU, the client has another. For comparison a thread that has the servers' CPU to itself and does "
        "nothing: how long the machine, by interrupts and its hypervisor, holds up whoever comes at any time "
        "(reference/stalls.c). Less than that cannot be measured here.",
        {URING: _handoff, MACHINE: _stalls},
        [Goal(f"{title}: p99", URING, "p99", "below", 200, unit="µs")], unit="connection",
        columns=(
            ("rate", "per second", "{:.0f}"), ("p50", "p50 µs", "{:.1f}"), ("p99", "p99 µs", "{:.1f}"),
            ("p999", "p99.9 µs", "{:.1f}"), ("max", "greatest µs", "{:.0f}")),
        needs=("ringmaster", "ringload", "handoff-server"))


def ask_status(path):
    """What `ringmaster status --json` prints, without a process for it."""
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(10)
        control.connect(path)
        control.sendall(b'{"command":"status"}\n')
        answer = control.makefile("rb").readline()
    return json.loads(answer)["status"]


def unevenness(live):
    """The busiest worker's connections over the mean."""
    return max(live) * len(live) / sum(live)


def _spread(bench):
    path = os.path.join(bench.directory, "control")
    arrivals, rate = (5_000, 5_000) if bench.dry else (100_000, 5_000)
    with servers.ringmaster(
            bench, "echo", "--control", path, workers=WORKERS, cpus=bench.all_cpus) as server:
        command = [
            "taskset", "-c", bench.all_cpus, places.c_binary("lifetimes"), str(server.port), str(arrivals), str(rate), "1.2",
            "40"]
        bench.said(command)
        looks, open_now = _look_while(command, arrivals, path, rate)
    return {"spread": figures.median(looks), "most": max(looks), "looks": len(looks), "live": open_now}


class Arrivals:
    """What `lifetimes` has said so far: how many connections have begun, how many are open."""

    def __init__(self):
        self.begun, self.open, self._rest = 0, 0, b""

    def take(self, data):
        """More of its output; the last whole line counts."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines:
            self.begun, self.open = map(int, lines[-1].split())


def _look_while(command, arrivals, path, rate):
    """Looks at the workers during the last tenth of the arrivals: how uneven they were each time, and the open connections."""
    said, looks, deadline = Arrivals(), [], time.monotonic() + arrivals / rate + 60
    step = max(1, arrivals // 200)
    due = arrivals - arrivals // 10
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            while time.monotonic() < deadline:
                if not select.select([process.stdout], [], [], 1)[0]:
                    continue
                # Its end ends its connections too: nothing is looked at then.
                data = os.read(process.stdout.fileno(), 1 << 16)
                if not data:
                    break
                said.take(data)
                if said.begun >= due:
                    workers = ask_status(path)["pool"]["workers"]
                    looks.append(unevenness([worker["live"] for worker in workers]))
                    due = said.begun + step
            code = process.wait(10)
        finally:
            if process.poll() is None:
                process.kill()
        if code != 0 or not looks:
            raise loads.LoadFailed(f"lifetimes ended with {code} after {len(looks)} looks: {process.stderr.read().decode()}")
    return looks, said.open


def _spread_row():
    title = "Spread of live connections over 4 workers, 100,000 arrivals, heavy-tailed lifetimes"
    return Row(
        "spread", title,
        "5,000 connections a second, each open for a time from a Pareto distribution (shape 1.2, at least 40 ms). The workers' "
        "live connections, as the control socket tells them, are looked at about 20 times during the last tenth of the "
        "arrivals: the most that one has over the mean. The figure is the looks' median.",
        {URING: _spread},
        [Goal(f"{title}: max over mean", URING, "spread", "at most", 1.05)],
        columns=(("spread", "max/mean, median", "{:.3f}"), ("most", "greatest look", "{:.3f}"), ("looks", "looks", "{:.0f}"),
                 ("live", "open at the end", "{:.0f}")),
        needs=("ringmaster",))


def _crowds(bench, server, connections, seconds, active, interval):
    """Idle connections, from as many ringloads as their descriptor limit makes necessary. Yields when all are open."""
    most = loads.raise_descriptor_limit() - 1000
    count = -(-connections // most)
    each = [connections // count + (1 if i < connections % count else 0) for i in range(count)]
    commands = [
        ["taskset", "-c", bench.client_cpus, places.ringload_binary(), "idle", f"127.0.0.1:{server.port}",
         "--connections", str(number), "--active", str(number if active else 0), "--interval", str(interval),
         "--seconds", str(seconds), "--source", f"127.0.{i + 1}.1-127.0.{i + 1}.4"]
        for i, number in enumerate(each)]
    for command in commands:
        bench.said(command)
    return [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for command in commands]


def _wait_for_live(path, wanted, crowds, seconds=90):
    """Until the workers have so many connections."""
    end = time.monotonic() + seconds
    while True:
        live = sum(worker["live"] for worker in ask_status(path)["pool"]["workers"])
        if live == wanted:
            return
        ended = [crowd for crowd in crowds if crowd.poll() is not None]
        if ended or time.monotonic() > end:
            said = ended[0].stdout.read() if ended else "they still run"
            raise loads.LoadFailed(f"{live} of {wanted} connections were there; ringload: {said.strip()[-400:]}")
        time.sleep(0.1)


def _end(crowds, active=False):
    """SIGINT ends them with their results: a crowd that lost something says so by its exit code. `active`: each connection
    should have had an answer."""
    for crowd in crowds:
        if crowd.poll() is None:
            crowd.send_signal(2)
    for crowd in crowds:
        try:
            said, _ = crowd.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            crowd.kill()
            raise
        if crowd.returncode != 0:
            raise loads.LoadFailed(f"ringload ended with {crowd.returncode}: {said.strip()[-400:]}")
        opened = re.search(r"^connections +(\d+) opened", said, re.MULTILINE)
        answered = re.search(r"^messages +(\d+) answered", said, re.MULTILINE)
        if not opened or (active and (not answered or int(answered[1]) < int(opened[1]))):
            raise loads.LoadFailed(f"not each connection has exchanged a message: {said.strip()[-400:]}")


def _memory(bench):
    connections = 3_000 if bench.dry else 50_000
    path = os.path.join(bench.directory, "control")
    found = {}
    for name, active in (("silent", False), ("spoke", True)):
        with servers.ringmaster(
                bench, "echo", "--control", path, "--max-connections", str(connections), workers=WORKERS,
                cpus=bench.server_cpus) as server:
            time.sleep(0.2)
            before, empty = usage.own_memory(server.pids()), usage.memory(server.pids())
            crowds = _crowds(bench, server, connections, 600, active, 5_000)
            try:
                _wait_for_live(path, connections, crowds)
                # Each has exchanged a message by then.
                time.sleep(6 if active else 1)
                found[name] = (usage.own_memory(server.pids()) - before) / connections
                found["empty"] = empty / 2**20
            except BaseException:
                for crowd in crowds:
                    crowd.kill()
                raise
            _end(crowds, active)
    return found


def _memory_row():
    title = "Memory per idle connection at 50,000 connections"
    return Row(
        "memory-idle", title,
        "ringmaster echo with 4 workers: proportional set size (smaps_rollup) of the supervisor and all workers, of what no file "
        "backs (Pss_Anon and Pss_Shmem: the programs and libraries, shared with the clients' processes, would fall when those "
        "come), with all connections less with none, by their number. The last column is all of Pss. `silent`: they have been "
        "opened and nothing else. `spoke`: each has exchanged a message of 64 B.",
        {URING: _memory},
        [Goal(f"{title}, silent", URING, "silent", "at most", 1024, unit="B"),
         Goal(f"{title}, each has exchanged a message", URING, "spoke", "at most", 1024, unit="B")],
        unit="connection", columns=(
            ("silent", "silent, bytes", "{:.0f}"), ("spoke", "spoke, bytes", "{:.0f}"),
            ("empty", "without connections, MiB", "{:.1f}")))


def _idle(bench):
    connections = 2_000 if bench.dry else 10_000
    path = os.path.join(bench.directory, "control")
    seconds = 1 if bench.dry else 20
    with servers.ringmaster(bench, "echo", "--control", path, workers=2, cpus=bench.all_cpus) as server:
        crowds = _crowds(bench, server, connections, 600, False, 1000)
        try:
            _wait_for_live(path, connections, crowds)
            time.sleep(1)
            before, start = usage.processor_time(server.pids()), time.monotonic_ns()
            time.sleep(seconds)
            after, end = usage.processor_time(server.pids()), time.monotonic_ns()
        except BaseException:
            for crowd in crowds:
                crowd.kill()
            raise
        _end(crowds)
    user, system = usage.split(before, after)
    return {"percent": (user + system) / (end - start) * 100, "micros": (user + system) / 1000 / seconds}


def _idle_row():
    title = "Idle CPU with 10,000 idle connections"
    return Row(
        "idle-cpu", title, "ringmaster echo, the supervisor and two workers together, over 20 s in which nobody says anything.",
        {URING: _idle}, [Goal(title, URING, "percent", "below", 0.1, unit="% of a core")],
        columns=(("percent", "% of a core", "{:.4f}"), ("micros", "CPU µs per second", "{:.0f}")))


def rows():
    """The rows of this module, in the order of the report."""
    return [_instructions_row(), _handoff_row(), _spread_row(), _memory_row(), _idle_row()]
