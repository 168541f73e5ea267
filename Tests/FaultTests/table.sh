#!/usr/bin/env bash
# Runs the fault suite against a release build and prints what was injected and what was lost, as the table in the README.
#
#   Tests/FaultTests/table.sh [--readme]
#
# With --readme it puts the table there, between the lines `<!-- faults -->` and `<!-- /faults -->`. Exits with 1, and
# leaves the README alone, when a test has failed. RINGMASTER_FAULT_SECONDS makes the soak longer than in CI.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

rows=$(mktemp)
table=$(mktemp)
trap 'rm -f "$rows" "$table"' EXIT

swift build -c release --product ringmaster >&2
swift build --build-tests >&2
RINGMASTER_BINARY=$(swift build -c release --show-bin-path)/ringmaster
export RINGMASTER_BINARY RINGMASTER_FAULT_TABLE=$rows
swift test --skip-build --disable-xctest --filter '^FaultTests\.' >&2

{
    echo "| Test | Injected | Connections | Lost with a worker that had adopted them | Lost otherwise |"
    echo "| --- | --- | ---: | ---: | ---: |"
    sort --version-sort --stable --key=2,2 "$rows"
} >"$table"

case ${1:-} in
    --readme)
        grep -q '^<!-- faults -->$' README.md || {
            echo "README.md has no line <!-- faults -->" >&2
            exit 1
        }
        sed -i -e '/^<!-- faults -->$/r '"$table" -e '/^<!-- faults -->$/,/^<!-- \/faults -->$/{/^<!-- /!d}' README.md
        ;;
    *) cat "$table" ;;
esac
