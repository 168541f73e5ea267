# Sourced by test.sh: a container engine of its own, and base images made of Debian packages, so that the test needs
# neither a running engine nor an image registry. Everything that is not cached lives under $work.
# shellcheck shell=bash

work=$(mktemp -d /tmp/ringmaster-docker.XXXXXX)
cache=${RINGMASTER_CACHE:-/var/cache/ringmaster}

# Says why nothing can be tested here; 77 is what test harnesses take for "skipped".
skip() {
    echo "skipped: $*"
    exit 77
}

# await SECONDS COMMAND...: runs the command until it succeeds; fails at the deadline.
await() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >"$work/await" 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

# No command of the client may hang the test.
docker() {
    timeout 300 docker "$@"
}

install_packages() {
    local package missing=()
    for package in "$@"; do
        dpkg-query --show --showformat '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "installing ${missing[*]}"
    {
        apt-get update
        DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"
    } >"$work/install.log" 2>&1 || skip "cannot install ${missing[*]}: $(tail -n 3 "$work/install.log")"
}

engine_start() {
    export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/config
    # The classic builder is in every version of the engine; BuildKit needs a plug-in that Debian does not have.
    export DOCKER_BUILDKIT=0
    unset DOCKER_CONTEXT
    dockerd --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --bridge=none \
        --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/dockerd.pid" --host "$DOCKER_HOST" \
        >"$work/dockerd.log" 2>&1 &
    dockerd=$!
    await 60 engine_settled || true
    docker version >"$work/version" 2>&1 || skip "no engine can be started: $(tail -n 3 "$work/dockerd.log")"
    echo "engine: $(docker version --format '{{.Server.Version}}'), $(docker info --format '{{.Driver}}' 2>/dev/null)"
}

# Whether the engine answers, or never will.
engine_settled() {
    docker version || ! kill -0 "$dockerd"
}

# Called with `set +e`: every step is tried, whatever the one before did.
engine_stop() {
    local mount
    [ -n "${dockerd:-}" ] || return 0
    docker ps --all --quiet | xargs --no-run-if-empty timeout 60 docker rm --force
    docker network prune --force
    kill "$dockerd"
    await 30 engine_gone || {
        # Killed, it leaves the containerd that it started.
        kill -KILL "$dockerd"
        kill -KILL "$(cat "$work/exec/containerd/containerd.pid")"
    }
    for mount in $(cut -d ' ' -f 2 /proc/mounts | grep "^$work/" | sort --reverse); do
        umount --lazy "$mount"
    done
    unset dockerd
}

engine_gone() {
    ! kill -0 "$dockerd"
}

# Prints this machine's Debian 12 sources, one line each, as sources.list has them.
debian_sources() {
    # shellcheck disable=SC2016 # apt's own variables
    apt-get indextargets --format 'deb $(REPO_URI) $(CODENAME) $(COMPONENT)' \
        'Created-By: Packages' 'Origin: Debian' | grep ' bookworm' | sort --unique
}

# Prints how this machine's apt reaches its sources: proxies, certificates, clock tolerance.
apt_transport() {
    apt-config dump | grep -E '^Acquire::(https?|Check-)' || true
}

# Imports a minimal Debian 12 under the name that the Dockerfile uses. Inside, apt is set up as it is on this machine:
# whoever makes the image knows the mirror, and no committed file has to.
import_debian() {
    local sources mirror proxy root key tarball
    sources=$(debian_sources) || skip "apt knows no Debian 12 package lists: run apt-get update"
    mirror=$(awk '$3 == "bookworm" { print $2; exit }' <<<"$sources")
    key=$({ echo "$sources"; apt_transport; } | sha256sum | cut -c 1-12)
    tarball=$cache/debian-bookworm-$key.tar
    if [ ! -f "$tarball" ]; then
        echo "making a minimal Debian 12"
        root=$work/debian
        eval "$(apt-config shell proxy Acquire::http::Proxy)"
        env ${proxy:+http_proxy="$proxy"} debootstrap --variant=minbase bookworm "$root" "$mirror" \
            >"$work/debootstrap.log" 2>&1 || skip "debootstrap failed: $(tail -n 3 "$work/debootstrap.log")"
        echo "$sources" >"$root/etc/apt/sources.list"
        apt_transport >"$root/etc/apt/apt.conf.d/90test-machine"
        mkdir -p "$cache"
        tar --directory "$root" --exclude './dev/*' --exclude './var/cache/apt/archives/*.deb' \
            --create --file "$tarball.partial" .
        mv "$tarball.partial" "$tarball"
    fi
    docker import "$tarball" debian:bookworm-slim >"$work/import.log"
}
