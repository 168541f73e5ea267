#!/usr/bin/env bash
# CPU per echoed message of the epoll transport against plain C, measured in turns in one run.
# Usage: Tests/Benchmarks/epoll-ratio.sh [CONNECTIONS [BYTES [ROUNDS [MILLISECONDS]]]]; TRANSPORT=io_uring measures that.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
connections=${1:-64} bytes=${2:-64} rounds=${3:-7} milliseconds=${4:-2000}
transport=${TRANSPORT:-epoll} build=$here/../../.build-bench
mkdir -p "$build"
cc -O2 -Wall -Wextra -o "$build/epoll-echo" "$here/epoll-echo.c"
cc -O2 -Wall -Wextra -o "$build/echo-load" "$here/echo-load.c"
swift build -c release --package-path "$here/EchoServer" --scratch-path "$build/swift" >/dev/null
swift_echo=$(swift build -c release --package-path "$here/EchoServer" --scratch-path "$build/swift" --show-bin-path)/EchoServer

server=
trap '[ -z "$server" ] || kill "$server"' EXIT

# Runs a server under the load and prints its CPU microseconds per message.
measure() {
    local port=$((10000 + RANDOM % 20000)) # below the ephemeral ones
    "$@" "$port" $([ "$1" = "$swift_echo" ] && echo "$transport") &
    server=$!
    for _ in $(seq 100); do
        "$build/echo-load" "$port" 1 1 1 >/dev/null 2>&1 && break
        sleep 0.02
    done
    local before after count
    # All of it in nanoseconds: /proc/PID/schedstat of the only thread.
    before=$(cut -d' ' -f1 "/proc/$server/schedstat")
    read -r count _ < <("$build/echo-load" "$port" "$connections" "$bytes" "$milliseconds")
    after=$(cut -d' ' -f1 "/proc/$server/schedstat")
    kill "$server"
    wait "$server" 2>/dev/null || true
    server=
    awk -v ns=$((after - before)) -v n="$count" 'BEGIN { printf "%.3f", ns / n / 1000 }'
}

ratios=()
for round in $(seq "$rounds"); do
    # The two change places, so that a machine that gets slower or faster favours neither.
    if ((round % 2)); then
        measure "$build/epoll-echo" >"$build/c"
        measure "$swift_echo" >"$build/s"
    else
        measure "$swift_echo" >"$build/s"
        measure "$build/epoll-echo" >"$build/c"
    fi
    ratio=$(awk -v s="$(cat "$build/s")" -v c="$(cat "$build/c")" 'BEGIN { printf "%.3f", s / c }')
    echo "$connections connections, $bytes B: C $(cat "$build/c"), $transport $(cat "$build/s") µs per message, ratio $ratio"
    ratios+=("$ratio")
done
printf '%s\n' "${ratios[@]}" | sort -n | awk '{ r[NR] = $1 } END { print "median ratio " r[int((NR + 1) / 2)] }'
