#!/bin/bash
# Writes the man pages, the completion and docs/defaults.md anew from the command's own tables.
#
#   scripts/update-generated.sh [FOLDER]
#
# FOLDER  where to write (default: this repository); the test writes elsewhere and compares.
# ISOVAE  the command (default: build/isovae)
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
isovae=${ISOVAE:-$root/build/isovae}
target=${1:-$root}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/man" "$work/completions" "$work/docs"
"$isovae" help --man >"$work/man/isovae.1"
for command in demo fit report score encode decode sample traverse sweep stability drift audit export prune info; do
    "$isovae" help --man "$command" >"$work/man/isovae-$command.1"
done
"$isovae" help --bash >"$work/completions/isovae.bash"
"$isovae" help --defaults >"$work/docs/defaults.md"
mkdir -p "$target"
cp -R "$work/." "$target/"
