#!/usr/bin/env bash
# Tests docker/: the image, the seccomp profile and the compose file, on an engine started for the purpose.
#
#   sudo docker/test.sh
#
# RINGMASTER_BINARY: the program to put into the image; without it, a release build with the Swift library inside.
# RINGMASTER_CACHE: where the base image is kept between runs (/var/cache/ringmaster).
# Exits with 0 when every check passed, 1 when one failed, 77 where no engine can run (not root, no cgroups).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=docker/engine.sh
. "$here/engine.sh"

passed=0
failed=0
# What compose.yaml asks for, or less on a machine whose root may not raise its own limit.
nofile=$(ulimit -Hn)
[ "$nofile" -le 65536 ] || nofile=65536

# check SENTENCE COMMAND...: one behaviour. The end of what the command prints is shown if it fails.
check() {
    local sentence=$1 status
    shift
    # Not as a condition: there bash would ignore the command's own `set -e`.
    set +e
    (set -e && "$@") >"$work/check.log" 2>&1
    status=$?
    set -e
    if [ $status -eq 0 ]; then
        passed=$((passed + 1))
        echo "pass  $sentence"
    else
        failed=$((failed + 1))
        echo "FAIL  $sentence"
        tail -n 40 "$work/check.log" | sed 's/^/      /'
    fi
}

# Runs a container as compose.yaml does, but on the host's network: the engine here has no bridge by default.
run() {
    docker run --network host --read-only --cap-drop ALL --security-opt no-new-privileges "$@"
}

free_port() {
    local port
    for _ in {1..100}; do
        port=$((20000 + RANDOM % 10000))
        (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

# says TEXT COMMAND...: the command succeeds, and its last line is the text.
says() {
    local expected=$1 output
    shift
    output=$("$@" 2>&1) || { echo "$output" && return 1; }
    echo "$output"
    [ "$(tail -n 1 <<<"$output")" = "$expected" ]
}

# --- The image

# The Dockerfile's own runtime stage, with a program that was not built in a container.
build_image() {
    mkdir -p "$work/context"
    cp "$binary" "$work/context/ringmaster"
    docker build --network host --target runtime-base --tag runtime-base --file "$here/Dockerfile" "$work/context"
    docker build --tag ringmaster --file - "$work/context" <<'END'
FROM runtime-base
COPY ringmaster /usr/local/bin/ringmaster
END
}

libraries_resolve() {
    run --rm --entrypoint ldd ringmaster /usr/local/bin/ringmaster | tee "$work/ldd"
    grep -q liburing "$work/ldd"
    grep -q libmnl "$work/ldd"
    ! grep 'not found' "$work/ldd"
}

help_is_the_default() {
    run --rm ringmaster | tee "$work/help"
    grep -qi usage "$work/help"
}

# --- The profile

# Prints what the engine hands to the kernel for a running container, one rule a line.
rules() {
    local id root
    id=$(docker inspect --format '{{.Id}}' "$1")
    # The engine uses a containerd of the machine's where there is one, or else starts its own.
    for root in "$work/exec/containerd/daemon" /run/containerd; do
        [ -r "$root/io.containerd.runtime.v2.task/moby/$id/config.json" ] || continue
        jq --compact-output '.linux.seccomp | ["by default", .defaultAction],
            (.syscalls[] | . as $rule | .names[] | [., $rule.action, $rule.args // [], $rule.errnoRet])' \
            "$root/io.containerd.runtime.v2.task/moby/$id/config.json" | sort --unique
        return
    done
    echo "no configuration of container $1 found" >&2
    return 1
}

adds_three_calls_only() {
    rules default >"$work/default.rules"
    rules proxy >"$work/proxy.rules"
    {
        cat "$work/default.rules"
        printf '["%s","SCMP_ACT_ALLOW",[],null]\n' io_uring_enter io_uring_register io_uring_setup
    } | sort --unique | diff - "$work/proxy.rules"
}

# denied CODE PROFILE COMMAND...: under that profile the program exits with the code and names the cause.
denied() {
    local code=$1 profile=$2 status=0
    shift 2
    run --rm ${profile:+--security-opt "seccomp=$profile"} ringmaster "$@" >"$work/denied" 2>&1 || status=$?
    cat "$work/denied"
    echo "exit code $status"
    [ $status -eq "$code" ] && grep -qi seccomp "$work/denied"
}

# Under a profile without io_uring the proxy serves with epoll, and one line says why.
serves_with_epoll() {
    start_proxy "$work/denying.json"
    docker logs proxy >"$work/epoll.log" 2>&1
    cat "$work/epoll.log"
    [ "$(grep -c 'serving with epoll.*seccomp' "$work/epoll.log")" -eq 1 ]
    grep -q 'ready transport=epoll' "$work/epoll.log"
    benchmark_passes
    stops_gracefully
}

# --- The proxy

start_proxy() {
    local profile=${1:-$here/seccomp.json}
    docker rm --force proxy >/dev/null 2>&1 || true
    run --detach --name proxy --ulimit "nofile=$nofile:$nofile" --security-opt "seccomp=$profile" \
        ringmaster proxy --listen "127.0.0.1:$proxy_port" --upstream "127.0.0.1:$redis_port" --workers 2
    await 30 proxy_is_ready || { docker logs proxy && return 1; }
}

proxy_is_ready() {
    docker logs proxy 2>&1 | grep -qw ready
}

# 20,000 commands of each kind, counted by Redis itself.
benchmark_passes() {
    local kind
    redis-cli -p "$redis_port" CONFIG RESETSTAT
    timeout 120 redis-benchmark -p "$proxy_port" -c 50 -n 20000 -t set,get -q
    redis-cli -p "$redis_port" INFO commandstats | tee "$work/stats"
    for kind in set get; do grep -q "cmdstat_$kind:calls=20000," "$work/stats"; done
}

first_process_is_ringmaster() {
    says ringmaster docker exec proxy cat /proc/1/comm
}

# Effective user of every process in the container; the supervisor and two workers at least.
no_process_is_root() {
    docker exec proxy sh -c 'cat /proc/[0-9]*/status' | awk '/^Uid:/ { print $3 }' | tee "$work/users"
    [ "$(wc -l <"$work/users")" -ge 3 ]
    [ "$(sort --unique "$work/users")" = 65532 ]
}

both_workers_own_a_ring() {
    local pid rings=0
    for pid in $(docker top proxy -o pid | tail -n +2); do
        ls -l "/proc/$pid/fd" >"$work/fds"
        if grep -q 'anon_inode:\[io_uring\]' "$work/fds"; then rings=$((rings + 1)); fi
    done
    echo "$rings processes have a ring"
    [ $rings -ge 2 ]
}

# The file is the same, but everything is done as for a new one: its check, the exec, new workers, moved connections.
upgrade_keeps_process_and_connection() {
    local reply deadline=$((SECONDS + 60)) before after
    before=$(docker inspect --format '{{.State.Pid}}' proxy)
    exec 8<>"/dev/tcp/127.0.0.1/$proxy_port"
    printf 'PING\r\n' >&8
    read -r -t 10 reply <&8
    [ "$reply" = $'+PONG\r' ]
    docker kill --signal USR2 proxy
    until docker logs proxy 2>&1 | grep -q ' upgraded '; do
        [ $SECONDS -lt $deadline ] || { docker logs proxy 2>&1 | tail -n 20 && return 1; }
        sleep 0.2
    done
    printf 'PING\r\n' >&8
    read -r -t 10 reply <&8
    [ "$reply" = $'+PONG\r' ]
    exec 8>&-
    after=$(docker inspect --format '{{.State.Pid}}' proxy)
    [ "$before" = "$after" ]
    first_process_is_ringmaster
}

# Docker's own 10 s: after them it kills, and the exit code would be 137.
stops_gracefully() {
    local started
    started=$(date +%s%3N)
    docker stop proxy
    echo "stopped after $(($(date +%s%3N) - started)) ms"
    docker logs --tail 20 proxy
    says 0 docker inspect --format '{{.State.ExitCode}}' proxy
}

# One connection that sends a command every 100 ms must see all its answers: redis-cli would report a lost connection.
stop_lets_a_conversation_end() {
    local client
    redis-cli -p "$redis_port" DEL conversation
    timeout 30 redis-cli -p "$proxy_port" -r 30 -i 0.1 INCR conversation >"$work/conversation" 2>&1 &
    client=$!
    await 10 grep -qx 3 "$work/conversation"
    stops_gracefully
    wait "$client"
    seq 1 30 | diff - "$work/conversation"
}

# A client that neither speaks nor leaves cannot hold the container up.
stop_does_not_wait_for_the_idle() {
    start_proxy
    exec 3<>"/dev/tcp/127.0.0.1/$proxy_port"
    stops_gracefully
    exec 3>&-
}

# --- The web server

# A directory of the host's, over HTTP/1.1 and, with a certificate, HTTP/2.
serves_a_directory() {
    local site=$work/site options=(--root /site --listen "127.0.0.1:$proxy_port") scheme=http
    install -d -m 755 "$site" "$work/tls"
    head -c 3000000 /dev/urandom >"$site/file"
    if [ "${1:-}" = tls ]; then
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
            -keyout "$work/tls/key.pem" -out "$work/tls/cert.pem"
        chmod 644 "$work/tls/key.pem"
        options+=(--tls-certificate /tls/cert.pem --tls-key /tls/key.pem)
        scheme=https
    fi
    docker rm --force proxy >/dev/null 2>&1 || true
    run --detach --name proxy --ulimit "nofile=$nofile:$nofile" --security-opt "seccomp=$here/seccomp.json" \
        --volume "$site:/site:ro" --volume "$work/tls:/tls:ro" ringmaster http "${options[@]}"
    await 30 proxy_is_ready || { docker logs proxy && return 1; }
    curl -fsSk -o "$work/file" -w '%{http_version}\n' "$scheme://127.0.0.1:$proxy_port/file" | tee "$work/version"
    cmp "$site/file" "$work/file"
    [ "$(cat "$work/version")" = "$([ $scheme = https ] && echo 2 || echo 1.1)" ]
    stops_gracefully
}

# --- The compose file

# What stands in for the official Redis image: Debian's Redis under its name.
build_redis() {
    docker build --network host --tag redis:7-bookworm - <<'END'
FROM debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends redis-server
USER redis
CMD ["redis-server", "--protected-mode", "no", "--save", ""]
END
}

compose() {
    (cd "$here" && PROXY_PORT=$compose_port PROXY_NOFILE=$nofile \
        timeout 120 docker-compose --project-name ringmaster-test "$@")
}

compose_serves() {
    compose up --detach --no-build
    await 30 says PONG redis-cli -p "$compose_port" PING || { compose logs && return 1; }
}

compose_stops() {
    compose stop
    says 0 docker inspect --format '{{.State.ExitCode}}' "$(compose ps --quiet ringmaster)"
}

# --- The run

clean_up() {
    set +e
    [ -z "${redis:-}" ] || kill "$redis"
    engine_stop
    rm -rf "$work"
} >/dev/null 2>&1

trap clean_up EXIT
trap 'exit 130' INT TERM
[ "$(id -u)" -eq 0 ] || skip "an engine needs root"
[ -e /sys/fs/cgroup/cgroup.controllers ] || [ -d /sys/fs/cgroup/memory ] || skip "an engine needs cgroups"

install_packages docker.io debootstrap jq redis-server redis-tools docker-compose curl openssl
if [ -n "${RINGMASTER_BINARY:-}" ]; then
    binary=$RINGMASTER_BINARY
else
    static=(--package-path "$here/.." -c release --static-swift-stdlib)
    swift build "${static[@]}" --product ringmaster
    binary=$(swift build "${static[@]}" --show-bin-path)/ringmaster
fi
engine_start
import_debian

redis_port=$(free_port)
redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --dir "$work" >"$work/redis.log" 2>&1 &
redis=$!
await 10 says PONG redis-cli -p "$redis_port" PING
proxy_port=$(free_port)
compose_port=$(free_port)

check "seccomp.json is what make-seccomp.sh makes of this engine's default profile" "$here/make-seccomp.sh" --check
check "the runtime image builds" build_image
check "no library is missing in the image" libraries_resolve
check "without arguments the image prints its help" help_is_the_default
check "the proxy becomes ready under seccomp.json" start_proxy
run --detach --name default --entrypoint sleep ringmaster 600 >/dev/null
check "seccomp.json adds three calls to what the engine allows by default, nothing else" adds_three_calls_only
check "redis-cli gets its answer through the proxy" says PONG timeout 30 redis-cli -p "$proxy_port" PING
check "redis-benchmark runs through the proxy without losing a command" benchmark_passes
check "process 1 is ringmaster" first_process_is_ringmaster
check "no process in the container is root" no_process_is_root
check "both workers own a ring" both_workers_own_a_ring
check "an upgrade by SIGUSR2 keeps process 1 and an open connection" upgrade_keeps_process_and_connection
check "docker stop lets a conversation end, with exit code 0" stop_lets_a_conversation_end
check "docker stop does not wait for an idle client beyond its 10 s, with exit code 0" stop_does_not_wait_for_the_idle

# Engines from version 25 on deny io_uring by default; Debian 12's is older and allows it.
if grep -q '"io_uring_setup","SCMP_ACT_ALLOW"' "$work/default.rules"; then
    check "ringmaster check succeeds under this engine's default profile, which allows io_uring" \
        run --rm ringmaster check
else
    check "ringmaster check plans for epoll under this engine's default profile and names seccomp" denied 0 "" check
fi
jq '.syscalls |= map(select(.names | index("io_uring_setup") | not))' "$here/seccomp.json" >"$work/denying.json"
check "ringmaster check plans for epoll under a profile without io_uring and names seccomp" \
    denied 0 "$work/denying.json" check
check "with --transport io_uring ringmaster proxy exits with 5 under that profile and names seccomp" \
    denied 5 "$work/denying.json" proxy --transport io_uring --listen "127.0.0.1:$proxy_port" \
    --upstream "127.0.0.1:$redis_port"
check "by itself it serves with epoll under that profile" serves_with_epoll

check "the web server serves a directory of the host's" serves_a_directory
check "with a certificate it does so over HTTP/2" serves_a_directory tls

check "an image can stand in for the official Redis" build_redis
check "compose.yaml serves Redis through the proxy" compose_serves
check "compose.yaml stops the proxy with exit code 0" compose_stops

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
