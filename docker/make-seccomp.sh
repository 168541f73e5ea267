#!/usr/bin/env bash
# Prints a container engine's default seccomp profile with io_uring_setup, io_uring_enter and io_uring_register allowed.
#
#   docker/make-seccomp.sh [PROFILE]           print it
#   docker/make-seccomp.sh --check [PROFILE]   fail unless docker/seccomp.json is what would be printed
#
# PROFILE is the default.json of your engine's own version. Without it, the one of Debian's docker.io is taken: from the
# installed package golang-github-docker-docker-dev, or else from that package as apt-get downloads it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "make-seccomp.sh: $*" >&2
    exit 1
}

# Prints the path of the profile that belongs to the docker.io which is installed, or could be.
debian_profile() {
    local package=golang-github-docker-docker-dev
    local path=/usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json
    local version
    if [ -r "$path" ]; then
        echo "$path"
        return
    fi
    # The binary package may carry a rebuild suffix (+b6); the sources, and so this package, do not.
    version=$(dpkg-query --show --showformat '${source:Version}' docker.io 2>/dev/null) || version=
    (cd "$work" && apt-get download --quiet=2 -o APT::Sandbox::User=root "$package${version:+=$version}") >&2 ||
        fail "cannot download $package: run apt-get update, or name the engine's default.json"
    dpkg-deb --extract "$work/$package"_*.deb "$work/package"
    echo "$work/package$path"
}

# The three calls are taken out of wherever the engine has them (versions 20.10 to 24 do), so that the result always
# differs from a profile without io_uring by one visible rule.
with_io_uring() {
    jq --indent 4 '
        ["io_uring_setup", "io_uring_enter", "io_uring_register"] as $ring
        | .syscalls |= map(.names -= $ring | select(.names != []))
        | .syscalls += [{names: $ring, action: "SCMP_ACT_ALLOW", comment: "Ringmaster adds these three, nothing else"}]
    ' "$1"
}

check=false
if [ "${1:-}" = --check ]; then
    check=true
    shift
fi
[ $# -le 1 ] || fail "usage: make-seccomp.sh [--check] [PROFILE]"
profile=${1:-}
[ -n "$profile" ] || profile=$(debian_profile)
jq --exit-status '.defaultAction == "SCMP_ACT_ERRNO" and (.syscalls | length > 0)' "$profile" >"$work/verdict" ||
    fail "$profile is not an engine's default profile: it does not deny by default and list the calls it allows"

if $check; then
    with_io_uring "$profile" | diff --unified "$here/seccomp.json" - >&2 ||
        fail "docker/seccomp.json differs: make it anew with docker/make-seccomp.sh >new.json && mv new.json $here/seccomp.json"
else
    with_io_uring "$profile"
fi
