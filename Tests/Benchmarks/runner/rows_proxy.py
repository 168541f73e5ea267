"""TCP proxies, and connections that come and go."""

from contextlib import contextmanager

from . import loads, servers
from .figures import Goal
from .row import Row

URING, EPOLL, NGINX, HAPROXY, SPLICE, C = (
    "ringmaster io_uring", "ringmaster epoll", "nginx stream", "HAProxy", "HAProxy splice", "C io_uring")


def _ringmaster(transport, workers=1):
    def start(bench, upstream, cpus):
        return servers.ringmaster(
            bench, "proxy", "--upstream", f"127.0.0.1:{upstream}", transport=transport, workers=workers, cpus=cpus)
    return start


def _nginx(workers=1, buffer="16k"):
    return lambda bench, upstream, cpus: servers.nginx_stream(bench, upstream, workers, cpus, buffer)


def _haproxy(threads=1, buffer=16384, splice=False):
    return lambda bench, upstream, cpus: servers.haproxy(bench, upstream, threads, cpus, buffer, splice)


def _c_proxy(*options):
    return lambda bench, upstream, cpus: servers.c_program(bench, "uring-proxy", *options, upstream, cpus=cpus)


@contextmanager
def _in_front_of(bench, upstream, start, cpus=None):
    """A proxy, with a C program behind it: on the client's CPU, unless they share all of them."""
    with servers.c_program(bench, upstream, cpus=cpus or bench.client_cpus) as behind:
        with start(bench, behind.port, cpus) as proxy:
            yield proxy


def _small(start):
    def measure(bench):
        with _in_front_of(bench, "epoll-echo", start) as proxy:
            return loads.ringload(bench, proxy, "closed", "--connections", 64, "--size", 64, "--depth", 1)
    return measure


def _bulk(start):
    def measure(bench):
        with _in_front_of(bench, "sink", start) as proxy:
            return loads.ringload(bench, proxy, "bulk", "--connections", 4, "--direction", "send", per="GiB")
    return measure


def churn(bench, server, seconds=None, cpus=None):
    """Connections of one message each, 64 at a time."""
    return loads.ringload(
        bench, server, "churn", "--connections", 64, "--messages", 1, "--size", 64, per="connections",
        cpus=cpus or bench.all_cpus, seconds=seconds)


def _churn_through(start):
    def measure(bench):
        with _in_front_of(bench, "epoll-echo", start, bench.all_cpus) as proxy:
            return churn(bench, proxy)
    return measure


def _churn_ringmaster(transport):
    def measure(bench):
        with servers.ringmaster(bench, "echo", transport=transport, workers=2, cpus=bench.all_cpus) as server:
            return churn(bench, server)
    return measure


def _churn_c(bench):
    with servers.c_program(bench, "uring-echo", cpus=bench.all_cpus) as server:
        return churn(bench, server)


def _lower(title, what, peers):
    return [Goal(f"{title}: {what} against {peer}", URING, "cpu", "below", 1.0, peer) for peer in peers]


def rows():
    """The rows of this module, in the order of the report."""
    small, bulk = "Proxy 64 B × 64 connections to a C echo", "Proxy, bulk streams"
    connect = "Connections through hand-off, two workers, one message of 64 B each"
    connect_proxy = "Proxied connections, two workers, one message of 64 B each"
    return [
        Row(
            "proxy-64", small, "Each proxy with one worker on one CPU; ringload and the C echo (epoll-echo) on another.",
            {
                URING: _small(_ringmaster("io_uring")), EPOLL: _small(_ringmaster("epoll")), NGINX: _small(_nginx()),
                HAPROXY: _small(_haproxy()), C: _small(_c_proxy()),
            },
            _lower(small, "CPU per message", (NGINX, HAPROXY)), against=NGINX),
        Row(
            "proxy-bulk", bulk,
            "4 connections that send as fast as they can, through a proxy with one worker on one CPU, to a program that drops "
            "what comes; ringload and that program on another. HAProxy splice: option splice-request and splice-response, since "
            "splice-auto copied here as without.",
            {
                URING: _bulk(_ringmaster("io_uring")), EPOLL: _bulk(_ringmaster("epoll")),
                NGINX: _bulk(_nginx(buffer="64k")), HAPROXY: _bulk(_haproxy(buffer=65536)),
                SPLICE: _bulk(_haproxy(buffer=65536, splice=True)),
                C: _bulk(_c_proxy("--buffers", "64", "--buffer-size", "65536")),
            },
            _lower(bulk, "CPU per GiB", (NGINX, HAPROXY, SPLICE)), against=NGINX, unit="GiB",
            columns=(
                ("rate", "GiB per second", "{:.2f}"), ("cpu", "CPU µs", "{:.0f}"), ("user", "user µs", "{:.0f}"),
                ("system", "system µs", "{:.0f}"), ("client", "client's CPU µs", "{:.0f}"),
                ("busy", "CPUs busy", "{:.2f}"))),
        Row(
            "connect", connect,
            "The supervisor and two workers, and a C program that accepts and serves in one process (uring-echo); each on the same "
            "two CPUs, which ringload is on too: 64 connections at a time, each with one message. Where there are no more CPUs than "
            "two, ringload's own work is a part of what bounds them: CPU per connection tells them apart.",
            {
                URING: _churn_ringmaster("io_uring"), EPOLL: _churn_ringmaster("epoll"), C: _churn_c,
            },
            [Goal(f"{connect}: connections per second against the C program", URING, "rate", "at least", 0.85, C)],
            against=C, unit="connection"),
        Row(
            "connect-proxy", connect_proxy,
            "The same through a proxy, each with two workers (HAProxy: threads) on the same two CPUs, to the same C echo there.",
            {
                URING: _churn_through(_ringmaster("io_uring", 2)), EPOLL: _churn_through(_ringmaster("epoll", 2)),
                NGINX: _churn_through(_nginx(2)), HAPROXY: _churn_through(_haproxy(2)),
            },
            [Goal(f"{connect_proxy}: connections per second against nginx stream", URING, "rate", "above", 1.0, NGINX)],
            against=NGINX, unit="connection"),
    ]
