"""HTTP: files against nginx, Hummingbird on RingmasterNIO against NIOPosix."""

from . import loads, servers
from .figures import Goal
from .row import Row

OURS, NGINX = "ringmaster http", "nginx"


def _files_row(name, path, connections, title):
    def ours(bench):
        with servers.ringmaster(bench, "http", "--root", bench.files(), name="ringmaster http") as server:
            return loads.wrk(bench, server, path, connections)

    def nginx(bench):
        with servers.nginx_files(bench, bench.files()) as server:
            return loads.wrk(bench, server, path, connections)

    title = f"Files of {title} over HTTP/1.1, kept alive, {connections} connections"
    return Row(
        name, title, "ringmaster http on io_uring and nginx, one worker each on one CPU; wrk on another.",
        {OURS: ours, NGINX: nginx},
        [Goal(f"{title}: CPU per request against nginx", OURS, "cpu", "at most", 2.0, NGINX)], against=NGINX,
        unit="request")


def _nio_row(name, kind, title):
    def on(transport):
        def measure(bench):
            with servers.nio(bench, kind, transport) as server:
                return loads.wrk(bench, server, "/", 50, kind)
        return measure

    return Row(
        name, title, "The same Hummingbird router on RingmasterNIO and on NIOPosix, one loop each on one CPU; wrk on another.",
        {"RingmasterNIO io_uring": on("io_uring"), "RingmasterNIO epoll": on("epoll"), "NIOPosix": on("posix")},
        against="NIOPosix", unit="request", needs=("ringmaster", "nio-server"))


def rows():
    """The rows of this module, in the order of the report."""
    return [
        _files_row("files-1k", "/1k", 64, "1 KiB"),
        _files_row("files-64k", "/64k", 64, "64 KiB"),
        _files_row("files-10m", "/10m", 8, "10 MiB"),
        _nio_row("nio-http", "http", "Hummingbird, GET / over HTTP/1.1, 50 connections"),
        _nio_row("nio-tls", "https", "Hummingbird, GET / over HTTP/1.1 and TLS, 50 connections"),
    ]
