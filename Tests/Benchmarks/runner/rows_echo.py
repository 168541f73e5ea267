"""Echo: against the C references, SwiftNIO and Netty."""

from . import figures, loads, servers
from .figures import Goal
from .row import Row

URING, EPOLL, C_URING, C_EPOLL = "ringmaster io_uring", "ringmaster epoll", "C io_uring", "C epoll"

# Netty 4.2's echo of 16 KiB over 64 connections on one loop took 6.4 µs of CPU per message on epoll, on a machine where
# the C echo on epoll answered 142,000 of 16 KiB per second with its CPU full (reference/io_uring.md, section 2.1).
NETTY_MICROSECONDS = 6.4
C_EPOLL_MICROSECONDS_THEN = 1e6 / 142_000


def echo_ringmaster(transport, connections, size):
    """Ringmaster's echo, one worker on the server's CPU."""
    def measure(bench):
        with servers.ringmaster(bench, "echo", transport=transport) as server:
            return closed(bench, server, connections, size)
    return measure


def closed(bench, server, connections, size, seconds=None):
    """The load of all echo rows: one message in flight on each connection."""
    return loads.ringload(
        bench, server, "closed", "--connections", connections, "--size", size, "--depth", 1, seconds=seconds)


def _c_echo(name, row, connections, size):
    def measure(bench):
        with servers.c_program(bench, name, *bench.tuned.get((row, name), ())) as server:
            return closed(bench, server, connections, size)
    return measure


def _nio_echo(transport, connections, size):
    def measure(bench):
        with servers.nio(bench, "echo", transport) as server:
            return closed(bench, server, connections, size)
    return measure


def _uring_candidates(connections, size):
    sizes = [max(512, size), max(4096, 2 * size), max(16384, 4 * size)]
    counts = [256, 1024] if connections <= 256 else [512, 2048]
    found = [("--buffers", str(count), "--buffer-size", str(each)) for each in sizes for count in counts]
    if connections > 256:
        found.append((*found[-1], "--submissions", "2048", "--completions", "8192"))
    return found


def _epoll_candidates(_, size):
    return [("--buffer-size", str(each)) for each in (max(4096, size + 1), max(16384, 4 * size))]


def _tune(row, name, candidates, connections, size):
    """Before the rounds: each configuration of a C reference for a moment, twice; the fastest is the reference."""
    def prepare(bench):
        choices = candidates(connections, size)
        if bench.dry:
            choices = choices[:2]
        rates = {choice: [] for choice in choices}
        for _ in range(1 if bench.dry else 2):
            for choice in choices:
                with servers.c_program(bench, name, *choice) as server:
                    rates[choice].append(
                        closed(bench, server, connections, size, seconds=min(bench.seconds, 0.7))["rate"])
        best = max(rates, key=lambda choice: figures.median(rates[choice]))
        bench.tuned[row, name] = best
        bench.begin_row()
        bench.remark(
            f"{name}, the fastest of {len(choices)} configurations: {' '.join(best)} "
            f"({figures.median(rates[best]):.0f} messages per second; the slowest {min(map(figures.median, rates.values())):.0f})")
    return prepare


def _both(*prepares):
    def prepare(bench):
        remarks = []
        for each in prepares:
            each(bench)
            remarks += bench.remarks
        bench.remarks = remarks
    return prepare


def _against_c(name, title, connections, size, transport="io_uring", cpu=True):
    subject = f"ringmaster {transport}"
    reference, program, candidates = {
        "io_uring": (C_URING, "uring-echo", _uring_candidates), "epoll": (C_EPOLL, "epoll-echo", _epoll_candidates),
    }[transport]
    goals = [Goal(f"{title}: throughput against the C {transport} echo", subject, "rate", "at least", 0.95, reference)]
    if cpu:
        goals.append(
            Goal(f"{title}: CPU per message against the C {transport} echo", subject, "cpu", "at most", 1.05, reference))
    return Row(
        name, title, f"ringmaster echo on {transport}, one worker, and {program}; both on one CPU, ringload on another.",
        {subject: echo_ringmaster(transport, connections, size), reference: _c_echo(program, name, connections, size)},
        goals, against=reference, prepare=_tune(name, program, candidates, connections, size))


def _nio_row():
    ours = {
        URING: echo_ringmaster("io_uring", 64, 64), EPOLL: echo_ringmaster("epoll", 64, 64),
        "RingmasterNIO io_uring": _nio_echo("io_uring", 64, 64), "RingmasterNIO epoll": _nio_echo("epoll", 64, 64),
        "SwiftNIO": _nio_echo("posix", 64, 64),
    }
    title = "Echo 64 B × 64 connections, against SwiftNIO"
    goals = []
    for subject in (URING, EPOLL):
        goals.append(Goal(
            f"{title}: {subject}, CPU in user space per message", subject, "user", "at most", 1 / 1.5, "SwiftNIO"))
        goals.append(Goal(f"{title}: {subject}, throughput", subject, "rate", "at least", 1.0, "SwiftNIO"))
    return Row(
        "nio-echo", title,
        "ringmaster echo; the same SwiftNIO handlers on RingmasterNIO and on SwiftNIO's own transport, NIOPosix; one loop each. "
        "1.5 times less user CPU is a ratio of 0.67.",
        ours, goals, against="SwiftNIO", needs=("ringmaster", "ringload", "nio-server"))


def _netty_row():
    title = "Echo 16 KiB × 64 connections, one loop, against Netty's 6.4 µs scaled"
    bound = NETTY_MICROSECONDS / C_EPOLL_MICROSECONDS_THEN
    name = "netty-16k"
    return Row(
        name, title,
        f"Netty is not run here: its 6.4 µs of CPU per message are scaled by the C echo on epoll, which took "
        f"{C_EPOLL_MICROSECONDS_THEN:.2f} µs on the machine of that measurement (142,000 messages of 16 KiB per second, "
        f"one CPU full). So the goal is a CPU per message of at most {bound:.2f} times the C epoll echo's in the same run.",
        {
            URING: echo_ringmaster("io_uring", 64, 16384), EPOLL: echo_ringmaster("epoll", 64, 16384),
            C_EPOLL: _c_echo("epoll-echo", name, 64, 16384), C_URING: _c_echo("uring-echo", name, 64, 16384),
        },
        [Goal(f"{title}: CPU per message against the C epoll echo", URING, "cpu", "at most", round(bound, 3), C_EPOLL)],
        against=C_EPOLL,
        prepare=_both(
            _tune(name, "uring-echo", _uring_candidates, 64, 16384),
            _tune(name, "epoll-echo", _epoll_candidates, 64, 16384)))


def rows():
    """The rows of this module, in the order of the report."""
    return [
        _against_c("echo-64", "Echo 64 B × 64 connections", 64, 64),
        _against_c("echo-64-epoll", "Echo 64 B × 64 connections on epoll", 64, 64, "epoll"),
        _against_c("echo-4k", "Echo 4 KiB × 1,000 connections", 1000, 4096, cpu=False),
        _against_c("echo-16k", "Echo 16 KiB × 1,000 connections", 1000, 16384, cpu=False),
        _nio_row(),
        _netty_row(),
    ]

