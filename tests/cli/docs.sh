#!/bin/bash
# shellcheck disable=SC2034,SC2154 # variables of lib/common.bash
# README.md and the tutorials: their commands run and print what is quoted (scripts/check-docs.py).
# shellcheck source=/dev/null
source "$(dirname "$0")/lib/common.bash"
if ! python3 -c '' 2>/dev/null; then
    skip "README.md and the tutorials" "there is no python3"
    exit 0
fi
ISOVAE=$isovae python3 "$root/scripts/check-docs.py"
