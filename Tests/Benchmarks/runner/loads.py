"""What is done to a server, and what comes of it: ringload, wrk. Each returns a sample: a dictionary of figures."""

import json
import os
import re
import resource
import subprocess
import tempfile
import time

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


def _watch(command, sampler, limit):
    """Runs a command to its end while the sampler looks. Its exit code, output and rusage."""
    with tempfile.TemporaryFile(mode="w+") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        end = time.monotonic() + limit
        sampler.look()
        while True:
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                break
            if time.monotonic() > end:
                process.kill()
                process.wait()
                raise LoadFailed(f"{' '.join(command)} did not end within {limit:.0f} s")
            time.sleep(LOOK_SECONDS)
            sampler.look()
        sampler.look()
        out.seek(0)
        return process.returncode, out.read(), used


def ringload(bench, server, *arguments, seconds=None, per="messages", cpus=None, timed=True):
    """A run of ringload against a server. `per`: messages, connections or GiB, what CPU is told for. `timed`: it takes
    --seconds and --warmup."""
    with tempfile.NamedTemporaryFile(suffix=".json") as result:
        command = [
            "taskset", "-c", cpus or bench.client_cpus, places.ringload_binary(), arguments[0],
            f"127.0.0.1:{server.port}", *map(str, arguments[1:]), "--json", result.name]
        seconds = seconds or bench.seconds
        if timed:
            command += ["--seconds", str(seconds), "--warmup", str(bench.warmup)]
        bench.said(command)
        sampler = usage.Sampler(server.pids())
        code, said, _ = _watch(command, sampler, seconds + 60)
        if code != 0:
            raise LoadFailed(f"{' '.join(command[3:])} ended with {code}: {said.strip()[-600:]}; {server.output()}")
        told = json.load(open(result.name, encoding="utf-8"))
    count = {"messages": told["messages"], "connections": told["connectionsDone"], "GiB": told["bytes"] / 2**30}[per]
    window = sampler.at(told["startNanoseconds"]), sampler.at(told["endNanoseconds"])
    latency = told["latencyMicroseconds"]
    client = (told["cpuUserMicroseconds"] + told["cpuSystemMicroseconds"]) / count if count else 0
    return {
        "rate": count / told["measuredSeconds"], **per_unit(*window, count), "client": client,
        "p50": latency["p50"], "p99": latency["p99"],
        "busy": (window[1][0] - window[0][0]) / 1e9 / told["measuredSeconds"],
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


def wrk(bench, server, path, connections, scheme="http"):
    """A run of wrk. It tells no window: CPU is that of all of it, as are the requests."""
    command = [
        "taskset", "-c", bench.client_cpus, "wrk", "-t1", f"-c{connections}", f"-d{bench.wrk_seconds}s", "--latency",
        "--timeout", "10s", f"{scheme}://127.0.0.1:{server.port}{path}"]
    bench.said(command)
    sampler = usage.Sampler(server.pids())
    before = usage.processor_time(sampler.pids)
    code, said, used = _watch(command, sampler, bench.wrk_seconds + 60)
    after = usage.processor_time(sampler.pids)
    if code != 0:
        raise LoadFailed(f"{' '.join(command[3:])} ended with {code}: {said.strip()[-600:]}")
    requests, took, p50, p99, wrong = parse_wrk(said)
    # What is under way when wrk ends is read short: that is no error of the server's.
    if any("Non-2xx" in line for line in wrong) or re.search(r"connect [1-9]|timeout [1-9]", " ".join(wrong)):
        raise LoadFailed(f"wrk: {'; '.join(wrong)}; {server.output()}")
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
