"""The subjects: how each server is started, tuned as its manual says."""

import os

from . import places
from .processes import Server, free_port

NGINX_MODULES = "/usr/lib/nginx/modules"
# Within the 20,000 descriptors that a process may have where these were written: two for a proxied connection, and HAProxy
# wants pipes for splicing besides.
NGINX_CONNECTIONS_MAX, HAPROXY_CONNECTIONS_MAX = 16384, 4096


def ringmaster(bench, service, *arguments, transport="io_uring", workers=1, cpus=None, name=None):
    """The release build."""
    return _program(
        bench, places.ringmaster_binary(), service, *arguments, transport=transport, workers=workers, cpus=cpus,
        name=name or f"ringmaster {service} {transport}")


def handoff_server(bench, workers):
    """HandoffServer: ringmaster's supervisor and workers, and a service that tells how long the hand-off took."""
    return _program(bench, places.handoff_binary(), workers=workers, name="handoff-server")


def _program(bench, program, *arguments, transport="io_uring", workers=1, cpus=None, name=""):
    port = free_port()
    command = [program, *arguments, "--listen", f"127.0.0.1:{port}", "--workers", str(workers), "--transport", transport]
    bench.said(command)
    return Server(name, command, port, cpus=cpus or bench.server_cpus, ready_text=" ready ")


def c_program(bench, name, *arguments, cpus=None):
    """One of the references; a proxy's upstream is an argument."""
    port = free_port()
    command = [places.c_binary(name), *_options(arguments), str(port), *_operands(arguments)]
    bench.said(command)
    return Server(name, command, port, cpus=cpus or bench.server_cpus)


def _options(arguments):
    return [str(argument) for argument in arguments if not isinstance(argument, int)]


def _operands(arguments):
    return [str(argument) for argument in arguments if isinstance(argument, int)]


def nio(bench, kind, transport):
    """NIOServer: the same handlers on RingmasterNIO (io_uring, epoll) and on NIOPosix (posix)."""
    port = free_port()
    command = [places.nio_binary(), kind, transport, str(port)]
    if kind == "https":
        command += bench.certificate()
    bench.said(command)
    return Server(f"nio {kind} {transport}", command, port, cpus=bench.server_cpus)


NGINX = """daemon off;
user root;
worker_processes {workers};
worker_rlimit_nofile 20000;
error_log stderr crit;
pid {directory}/nginx.pid;
{modules}
events {{ use epoll; worker_connections {connections}; multi_accept on; }}
{rest}
"""

STREAM = """stream {{
    server {{
        listen 127.0.0.1:{port} reuseport backlog=4096;
        proxy_pass 127.0.0.1:{upstream};
        proxy_buffer_size {buffer};
        tcp_nodelay on;
    }}
}}"""

FILES = """http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    open_file_cache max=1000 inactive=1h;
    open_file_cache_valid 1h;
    default_type application/octet-stream;
    server {{ listen 127.0.0.1:{port} reuseport backlog=4096; root {root}; }}
}}"""


def _nginx(bench, name, rest, port, workers, cpus, modules=""):
    directory = os.path.join(bench.directory, f"nginx-{port}")
    os.makedirs(directory)
    path = os.path.join(directory, "nginx.conf")
    text = NGINX.format(
        workers=workers, directory=directory, modules=modules, rest=rest, connections=NGINX_CONNECTIONS_MAX)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    bench.said(["nginx", "-c", "nginx.conf"], text)
    program = places.tool("nginx")
    return Server(name, [program, "-p", directory, "-c", path], port, cpus=cpus or bench.server_cpus)


def nginx_stream(bench, upstream, workers=1, cpus=None, buffer="16k"):
    """nginx as a TCP proxy."""
    port = free_port()
    modules = f"load_module {NGINX_MODULES}/ngx_stream_module.so;"
    return _nginx(
        bench, "nginx stream", STREAM.format(port=port, upstream=upstream, buffer=buffer), port, workers, cpus, modules)


def nginx_files(bench, root):
    """nginx as a server of files."""
    port = free_port()
    return _nginx(bench, "nginx", FILES.format(port=port, root=root), port, 1, None)


HAPROXY = """global
    nbthread {threads}
    maxconn {connections}
    tune.bufsize {buffer}
    {tuning}
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    {option}
listen proxy
    bind 127.0.0.1:{port} backlog 4096
    server upstream 127.0.0.1:{upstream}
"""


def haproxy(bench, upstream, threads=1, cpus=None, buffer=16384, splice=False):
    """HAProxy as a TCP proxy."""
    port = free_port()
    path = os.path.join(bench.directory, f"haproxy-{port}.cfg")
    text = HAPROXY.format(
        threads=threads, connections=HAPROXY_CONNECTIONS_MAX, buffer=buffer, port=port, upstream=upstream,
        tuning="tune.pipesize 1048576" if splice else "",
        # Not splice-auto: its guess at what is a stream never came out so here (HAProxy 2.6, strace).
        option="option splice-request\n    option splice-response" if splice else "")
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    bench.said(["haproxy", "-db", "-f", "haproxy.cfg"], text)
    return Server("haproxy", [places.tool("haproxy"), "-db", "-f", path], port, cpus=cpus or bench.server_cpus)

