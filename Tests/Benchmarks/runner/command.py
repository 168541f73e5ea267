"""The command line of `run`."""

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import time

from . import bench as benches
from . import counting, figures, loads, places, processes, report, row, rows_echo, rows_http, rows_proxy, rows_whole

PACKAGES = (
    "nginx", "libnginx-mod-stream", "haproxy", "wrk", "valgrind", "binutils", "make", "gcc", "liburing-dev", "libmnl-dev",
    "openssl", "util-linux", "iproute2", "python3-matplotlib")
INSIDE = "RINGMASTER_BENCH_INSIDE"

# In the order of the table of goals.
ORDER = (
    "echo-64", "echo-64-epoll", "echo-4k", "echo-16k", "instructions", "nio-echo", "netty-16k", "proxy-64", "proxy-bulk",
    "connect", "connect-proxy", "handoff-p99", "spread", "files-1k", "files-64k", "files-10m", "memory-idle", "idle-cpu",
    "nio-http", "nio-tls")

FAILURES = (
    loads.LoadFailed, processes.ServerFailed, counting.CountingFailed, places.NotBuilt, subprocess.SubprocessError, OSError,
    ValueError, KeyError, ArithmeticError)


def all_rows():
    """Every row by its name, in the order of the report."""
    found = {each.name: each for module in (rows_echo, rows_proxy, rows_whole, rows_http) for each in module.rows()}
    return {name: found[name] for name in ORDER}


# What an option leaves no use for.
EXCLUDED = {
    "--list": ("ROW", "--rounds", "--seconds", "--dry", "--report", "--install"),
    "--report": ("ROW", "--rounds", "--seconds", "--dry"),
    "--dry": ("--rounds", "--seconds"),
}


def _refuse_contradictions(options):
    given = {"ROW": bool(options.rows)} | {
        f"--{name}": value is not None and value is not False for name, value in vars(options).items() if name != "rows"}
    for option, excluded in EXCLUDED.items():
        useless = [other for other in excluded if given[other]]
        if given[option] and useless:
            print(f"run: {option} has no use for {' and '.join(useless)}: leave out one or the other", file=sys.stderr)
            sys.exit(64)


def _parse(text, names, words=None):
    parser = argparse.ArgumentParser(
        prog="run", description=text,
        epilog="RINGMASTER, RINGLOAD, NIO_SERVER and HANDOFF_SERVER in the environment name programs that are then not built. "
        "Exit codes: 0, 1 a row could not be measured, 64 usage, 71 this machine cannot.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="the rows to measure (default: all; see --list)")
    parser.add_argument("--rounds", type=int, metavar="N", help="times that each subject is measured (default: 5)")
    parser.add_argument("--seconds", type=float, metavar="S", help="of each measurement (default: 2)")
    parser.add_argument("--dry", action="store_true", help="a test of the runner: one round of half a second, nothing is kept")
    parser.add_argument("--list", action="store_true", help="the rows")
    parser.add_argument("--report", action="store_true", help="write RESULTS.md and the plots from results.json; measure nothing")
    parser.add_argument("--install", action="store_true", help="install Debian's packages that the subjects need, first")
    try:
        options = parser.parse_args(words)
    except SystemExit as end:
        sys.exit(64 if end.code == 2 else end.code)
    unknown = [name for name in options.rows if name not in names]
    if unknown:
        print(f"run: there is no row {', '.join(unknown)}; run --list lists them", file=sys.stderr)
        sys.exit(64)
    _refuse_contradictions(options)
    options.rounds = 5 if options.rounds is None else options.rounds
    options.seconds = 2.0 if options.seconds is None else options.seconds
    if options.rounds < 1 or not 0.2 <= options.seconds <= 600:
        print("run: --rounds must be 1 or more, --seconds from 0.2 to 600", file=sys.stderr)
        sys.exit(64)
    return options


def _install():
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    subprocess.run([*as_root, "apt-get", "-qq", "update"], check=True)
    # invoke-rc.d(8) asks this file before it starts what was installed; 101 forbids it.
    policy = "/usr/sbin/policy-rc.d"
    ours = not os.path.exists(policy)
    if ours:
        subprocess.run([*as_root, "sh", "-c", f"printf '#!/bin/sh\\nexit 101\\n' >{policy} && chmod 755 {policy}"], check=True)
    try:
        subprocess.run(
            [*as_root, *environment, "apt-get", "-qq", "install", "--yes", "--no-install-recommends", *PACKAGES], check=True)
    finally:
        if ours:
            subprocess.run([*as_root, "rm", "-f", policy], check=False)


def _enter_namespace():
    """Goes on in a network namespace of its own, where loopback is as the kernel makes it and nobody else's traffic is."""
    if INSIDE in os.environ:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        # The machine's default may be another, such as BBR, which paces by timers. A namespace may have cubic only where the
        # machine allows it to all; reno always.
        for control in ("cubic", "reno"):
            try:
                _set("ipv4/tcp_congestion_control", control)
                break
            except PermissionError:
                pass
        _set("ipv4/ip_local_port_range", f"{processes.PORT_LIMIT} 65535")
        return
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"):
        print("run: not root, or without unshare and ip: measuring in the machine's own network namespace", file=sys.stderr)
        return
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "--net", sys.executable, os.path.join(places.HERE, "run"), *sys.argv[1:]])


def _set(name, value):
    with open(f"/proc/sys/net/{name}", "w", encoding="ascii") as file:
        file.write(value)


def _congestion_control():
    with open("/proc/sys/net/ipv4/tcp_congestion_control", encoding="ascii") as file:
        return file.read().strip()


def _swift_version():
    try:
        said = subprocess.run(["swift", "--version"], capture_output=True, text=True, check=True).stdout
        return next((line for line in said.splitlines() if "Swift version" in line), said.strip())
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), platform.machine())
    commit = subprocess.run(
        ["git", "-C", places.ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False).stdout
    return {
        "kernel": f"{platform.system()} {platform.release()}", "cpus": os.cpu_count(), "model": model,
        "commit": commit.strip(), "date": datetime.date.today().isoformat(), "swift": _swift_version(),
        "control": _congestion_control(), "namespace": INSIDE in os.environ,
        "programs": {name: os.environ[name] for name in places.PROGRAMS if name in os.environ},
    }


def _say(text):
    print(text, flush=True)


def _write(path, results):
    """All or nothing: a run that is cut short leaves a file that can be read."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1, ensure_ascii=False)
        file.write("\n")
    os.replace(path + ".new", path)


def _measure(options, rows):
    loads.raise_descriptor_limit()
    bench = benches.Bench(1 if options.dry else options.rounds, 0.5 if options.dry else options.seconds, options.dry)
    path = places.DRY_RESULTS if options.dry else places.RESULTS
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if not os.access(os.path.dirname(path), os.W_OK) or os.path.exists(path) and not os.access(path, os.W_OK):
        raise places.NotBuilt(f"{path} cannot be written: run as its owner")
    results = report.read(path)
    machine, command = _machine(), " ".join(["Tests/Benchmarks/run", *sys.argv[1:]])
    failed = []
    try:
        for name, each in rows.items():
            started = time.monotonic()
            _say(f"{name}: {each.title}")
            try:
                found = row.measure(each, bench, _say)
            except FAILURES as failure:
                _say(f"  FAILED: {name} could not be measured: {type(failure).__name__}: {failure}")
                failed.append(name)
                results.setdefault("failed", {})[name] = (
                    f"{type(failure).__name__}, on {machine['date']} at {machine['commit']}, `{command}`")
                _write(path, results)
                continue
            results.get("failed", {}).pop(name, None)
            for goal in found["goals"]:
                told = "dry, no verdict" if options.dry else report.verdict_text(goal)
                _say(f"  {told}: {goal['text']}: {report.goal_value(goal)}")
            _say(f"  took {time.monotonic() - started:.0f} s")
            results["rows"][name] = found | {"machine": machine, "command": command}
            _write(path, results)
    finally:
        bench.close()
    if not options.dry:
        report.write(results, ORDER)
    _say(f"rows: {len(rows) - len(failed)} measured, {len(failed)} failed" + "".join(f" {name}" for name in failed))
    if options.dry:
        return 1 if failed else 0
    verdicts = [goal["verdict"] for name in rows if name not in failed for goal in results["rows"][name]["goals"]]
    _say("goals: " + ", ".join(
        f"{verdicts.count(kind)} {kind}" for kind in (figures.MET, figures.MISSED, figures.UNDECIDED)))
    return 1 if failed else 0


def main(text):
    """The exit code."""
    rows = all_rows()
    options = _parse(text, rows)
    if options.list:
        for name, each in rows.items():
            _say(f"{name:14} {each.title}: {', '.join(each.subjects)}")
        return 0
    if options.install and INSIDE not in os.environ:
        _install()
    if options.report:
        if not os.path.exists(places.RESULTS):
            print(f"run: there is no {places.RESULTS}: measure something first", file=sys.stderr)
            return 71
        report.write(report.read(places.RESULTS), ORDER)
        return 0
    chosen = {name: each for name, each in rows.items() if not options.rows or name in options.rows}
    try:
        # Before the namespace: there no package could be fetched.
        if INSIDE not in os.environ:
            places.check_named()
            places.build({need for each in chosen.values() for need in each.needs})
        _enter_namespace()
        return _measure(options, chosen)
    except (places.NotBuilt, benches.CannotRun, subprocess.CalledProcessError) as cause:
        print(f"run: {cause}", file=sys.stderr)
        return 71
