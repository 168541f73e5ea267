"""What is done to a server, and what comes of it: ringload, wrk. Each returns a sample: a dictionary of figures."""

import contextlib
import json
import os
import re
import resource
import ssl
import subprocess
import tempfile
import time
import urllib.request

from . import places, usage

LOOK_SECONDS = 0.05


class LoadFailed(Exception):
    """The load could not be put on, or something of it was lost."""


def per_unit(before, after, count, unit=1):
    """CPU microseconds for `unit` of `count`."""
    user, system = usage.split(before, after)
    if count <= 0:
        raise LoadFailed("nothing was measured")
    scale = unit / count / 1000
    return {"cpu": (user + system) * scale, "user": user * scale, "system": system * scale}


def _watch(commands, sampler, limit):
    """Runs commands at once, to their ends, while the sampler looks. The exit code, output and rusage of each."""
    with contextlib.ExitStack() as stack:
        outs = [stack.enter_context(tempfile.TemporaryFile(mode="w+")) for _ in commands]
        running = []
        # A server that has died is found by a look: its load must not go on beside the next one's.
        stack.callback(lambda: [_end(process) for process in running])
        for command, out in zip(commands, outs):
            running.append(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL))
        used, end = {}, time.monotonic() + limit
        while True:
            sampler.look()
            for process in running:
                if process.returncode is None:
                    pid, status, usage_of_it = os.wait4(process.pid, os.WNOHANG)
                    if pid:
                        process.returncode, used[pid] = os.waitstatus_to_exitcode(status), usage_of_it
            if len(used) == len(running):
                break
            if time.monotonic() > end:
                raise LoadFailed(f"{' '.join(commands[0])} did not end within {limit:.0f} s")
            time.sleep(LOOK_SECONDS)
        sampler.look()
        for out in outs:
            out.seek(0)
        return [(process.returncode, out.read(), used[process.pid]) for process, out in zip(running, outs)]


def _end(process):
    if process.returncode is None:
        process.kill()
        process.wait()


def ringload(bench, server, *arguments, seconds=None, per="messages", cpus=None):
    """A run of ringload against a server. `per`: messages, connections or GiB, what CPU is told for."""
    return _ringloads(bench, server, arguments, 1, seconds, per, cpus)


def ringloads(bench, server, *arguments, processes, seconds=None, per="messages", cpus=None):
    """The same by several processes at once, for a server that one of them cannot keep busy. They tell no latency."""
    sample = _ringloads(bench, server, arguments, processes, seconds, per, cpus)
    return {key: value for key, value in sample.items() if key not in ("p50", "p99")}


def _ringloads(bench, server, arguments, processes, seconds, per, cpus):
    seconds = seconds or bench.seconds
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.NamedTemporaryFile(suffix=".json")) for _ in range(processes)]
        commands = [
            ["taskset", "-c", cpus or bench.client_cpus, places.ringload_binary(), arguments[0],
             f"127.0.0.1:{server.port}", *map(str, arguments[1:]), "--json", file.name, "--seconds", str(seconds),
             "--warmup", str(bench.warmup)]
            for file in files]
        bench.said(commands[0], times=processes)
        sampler = usage.Sampler(server.pids())
        for command, (code, said, _) in zip(commands, _watch(commands, sampler, seconds + 60)):
            if code != 0:
                raise LoadFailed(f"{' '.join(command[3:])} ended with {code}: {said.strip()[-600:]}; {server.output()}")
        told = [json.load(open(file.name, encoding="utf-8")) for file in files]
    return sample_of(told, sampler, per)


def sample_of(told, sampler, per):
    """The figures of what some ringloads told, of the time in which all of them measured."""
    name, unit = {"messages": ("messages", 1), "connections": ("connectionsDone", 1), "GiB": ("bytes", 2**30)}[per]
    start, end = max(each["startNanoseconds"] for each in told), min(each["endNanoseconds"] for each in told)
    if start >= end:
        raise LoadFailed("the ringloads measured one after the other")
    count = sum(each[name] for each in told) / unit
    rate = sum(each[name] / unit / each["measuredSeconds"] for each in told)
    window = sampler.at(start), sampler.at(end)
    took = sum(each["cpuUserMicroseconds"] + each["cpuSystemMicroseconds"] for each in told)
    return {
        "rate": rate, **per_unit(*window, rate * (end - start) / 1e9), "client": took / count if count else 0,
        "p50": told[0]["latencyMicroseconds"]["p50"], "p99": told[0]["latencyMicroseconds"]["p99"],
        "busy": (window[1][0] - window[0][0]) / (end - start),
    }


_DURATION = {"us": 1, "ms": 1000, "s": 1_000_000, "m": 60_000_000}


def parse_wrk(text):
    """Requests, microseconds of p50 and p99, and what went wrong, from wrk's output with --latency."""
    requests = re.search(r"(\d+) requests in", text)
    took = re.search(r"requests in ([\d.]+)(us|ms|s|m)", text)
    late = {
        part: float(value) * _DURATION[unit]
        for part, value, unit in re.findall(r"^\s*(50|99)%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)
    }
    wrong = re.findall(r"(?:Non-2xx|Socket errors).*", text)
    if not requests or not took or len(late) != 2:
        raise LoadFailed(f"wrk said: {text.strip()[-600:]}")
    return int(requests[1]), float(took[1]) * _DURATION[took[2]] / 1e6, late["50"], late["99"], wrong


def _first_answer(server, path, scheme):
    """A server's first answer takes far longer than the others: wrk, which warms nothing up, would count it in."""
    context = ssl._create_unverified_context()  # pylint: disable=protected-access
    # By no proxy, whatever the environment says: the server is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(f"{scheme}://127.0.0.1:{server.port}{path}", timeout=30) as answer:
        answer.read()


def wrk(bench, server, path, connections, scheme="http"):
    """A run of wrk. It tells no window: CPU is that of all of it, as are the requests."""
    _first_answer(server, path, scheme)
    command = [
        "taskset", "-c", bench.client_cpus, "wrk", "-t1", f"-c{connections}", f"-d{bench.wrk_seconds}s", "--latency",
        "--timeout", "10s", f"{scheme}://127.0.0.1:{server.port}{path}"]
    bench.said(command)
    sampler = usage.Sampler(server.pids())
    before = usage.processor_time(sampler.pids)
    [(code, said, used)] = _watch([command], sampler, bench.wrk_seconds + 60)
    after = usage.processor_time(sampler.pids)
    if code != 0:
        raise LoadFailed(f"{' '.join(command[3:])} ended with {code}: {said.strip()[-600:]}")
    requests, took, p50, p99, wrong = parse_wrk(said)
    if wrong or not requests:
        raise LoadFailed(f"wrk: {'; '.join(wrong) or 'no answer'}; {server.output()}")
    return {
        "rate": requests / took, **per_unit(before, after, requests), "p50": p50, "p99": p99,
        "client": (used.ru_utime + used.ru_stime) * 1e6 / requests, "busy": (after[0] - before[0]) / 1e9 / took,
    }


def raise_descriptor_limit():
    """As many descriptors as we may have, for all that we start. How many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
