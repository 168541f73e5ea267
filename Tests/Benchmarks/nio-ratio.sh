#!/usr/bin/env bash
# The same SwiftNIO handlers and the same Hummingbird router on RingmasterNIO and on NIOPosix, in turn: throughput, CPU per
# message or request, and the 99th percentile of latency, as medians and as ratios to NIOPosix. What it prints is RESULTS.md.
#
#   nio-ratio.sh [ROUNDS [SECONDS]] >RESULTS.md          needs: cc, openssl, wrk, taskset, python3; two CPUs
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
rounds=${1:-7} seconds=${2:-2}

swift build -c release --package-path NIOServer --scratch-path ../../.build-bench/nio >&2
server=$PWD/../../.build-bench/nio/release/nio-server
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
cc -O2 -o "$work/echo-load" echo-load.c
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null

# Server on one CPU, load on the other. CPU time in clock ticks (proc(5)).
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

# measure KIND PID PORT: number, latency's 99th percentile in microseconds
measure() {
    case $1 in
        echo) taskset -c 1 "$work/echo-load" "$3" 64 64 $((seconds * 1000)) ;;
        http*)
            local scheme=${1%-*}
            taskset -c 1 wrk -t1 -c50 -d"${seconds}s" --latency "$scheme://127.0.0.1:$3/" | awk '
                / 99%/ { unit = $2; sub(/[0-9.]+/, "", unit); sub(/[a-z]+/, "", $2)
                         late = $2 * (unit == "us" ? 1 : unit == "ms" ? 1000 : 1000000) }
                /requests in/ { count = $1 }
                /Non-2xx|Socket errors/ { failed = 1 }
                END { if (failed) exit 1; print count, late }'
            ;;
    esac
}

port=7600
for kind in echo http https; do
    declare -A pid=() at=()
    for transport in io_uring epoll posix; do
        port=$((port + 1))
        taskset -c 0 "$server" $kind $transport $port "$work/cert.pem" "$work/key.pem" >/dev/null &
        pid[$transport]=$! at[$transport]=$port
        pids+=($!)
        until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.05; done
    done
    for ((round = 1; round <= rounds; round++)); do
        for transport in io_uring epoll posix; do
            before=$(ticks "${pid[$transport]}")
            read -r count late < <(measure $kind "${pid[$transport]}" "${at[$transport]}")
            after=$(ticks "${pid[$transport]}")
            echo "$kind $transport $count $((after - before)) $late $seconds" | tee -a "$work/runs" >&2
        done
    done
    kill "${pid[@]}"
done

cat <<END
# SwiftNIO on RingmasterNIO and on its own NIOPosix

\`Tests/Benchmarks/nio-ratio.sh $rounds $seconds\` on $(date -u +%F), at $(git rev-parse --short HEAD): Linux $(uname -r), $(nproc) CPUs,
$(swift --version 2>/dev/null | sed -n 's/.*\(Swift version [0-9.]*\).*/\1/p'). One loop on one CPU, the load (echo-load, wrk) on the other; $rounds rounds of $seconds s each, all
three transports in turn in each round. echo: 64 connections, 64 B, unchanged SwiftNIO handlers. http, https: Hummingbird's
\`GET /\`, 50 connections kept alive. Medians; ratios are to NIOPosix in the same run, and in brackets the least and the
greatest of any round.

END
python3 - "$work/runs" "$(getconf CLK_TCK)" <<'PY'
import statistics, sys
runs = {}
for line in open(sys.argv[1]):
    kind, transport, count, ticks, late, seconds = line.split()
    runs.setdefault((kind, transport), []).append(
        (int(count) / float(seconds), int(ticks) * 1e6 / float(sys.argv[2]) / int(count), float(late)))

def ratio(runs, others, i):
    each = [run[i] / other[i] for run, other in zip(runs, others)]
    of_medians = statistics.median(run[i] for run in runs) / statistics.median(run[i] for run in others)
    return f"{of_medians:.2f} ({min(each):.2f} – {max(each):.2f})"

print("| server | transport | per second | CPU µs each | p99 µs | throughput | CPU | p99 |")
print("| --- | --- | ---: | ---: | ---: | --- | --- | --- |")
for (kind, transport), measured in runs.items():
    rate, cpu, late = (statistics.median(run[i] for run in measured) for i in range(3))
    ratios = ["1", "1", "1"] if transport == "posix" else [ratio(measured, runs[kind, "posix"], i) for i in range(3)]
    print(f"| {kind} | {transport} | {rate:.0f} | {cpu:.2f} | {late:.0f} | {' | '.join(ratios)} |")
PY
