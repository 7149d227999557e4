#!/bin/bash
# shellcheck disable=SC2034,SC2154 # variables of lib/common.bash
# Help, version, and the files that are generated from the table of options.
# shellcheck source=/dev/null
source "$(dirname "$0")/lib/common.bash"
commands="demo fit report score encode decode sample traverse stability drift info"

expect help 0 "$isovae" help
expect help-fit 0 "$isovae" fit --help
expect help-score 0 "$isovae" help score
expect no-command 2 "$isovae"
expect version 0 "$isovae" version

for command in $commands; do
    run "$isovae" help "$command"
    cp out by-help
    run "$isovae" "$command" -h
    if [ "$status" = 0 ] && [ ! -s err ] && cmp -s out by-help; then
        pass "$command -h is help $command, on standard output"
    else
        fail "$command -h is help $command, on standard output"
    fi
    # every option of the help stands in the man page and in the completion
    missing=
    for option in $(grep -oE '^ +(-., )?--[a-z-]+' by-help | grep -oE -- '--[a-z-]+'); do
        grep -qF -- "${option//-/\\-}" "$root/man/isovae-$command.1" || missing="$missing man:$option"
        grep -E "^ +$command\)" "$root/completions/isovae.bash" | grep -qF -- "$option" ||
            missing="$missing completion:$option"
    done
    if [ -z "$missing" ]; then
        pass "man page and completion know the options of $command"
    else
        fail "man page and completion know the options of $command" "$missing"
    fi
done

check "generated files can be written" env ISOVAE="$isovae" "$root/scripts/update-generated.sh" generated
for file in $(cd generated && find . -type f | sort); do
    if cmp -s "generated/$file" "$root/$file"; then
        pass "${file#./} is up to date"
    else
        fail "${file#./} is up to date" "scripts/update-generated.sh writes it anew"
    fi
done

completes() { # WANTED WORDS...
    local wanted=$1
    shift
    COMP_WORDS=("$@")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _isovae
    [ "${COMPREPLY[*]}" = "$wanted" ]
}
# shellcheck source=/dev/null
source "$root/completions/isovae.bash"
check "completion of a command" completes "score sample sweep stability" isovae s
check "completion of an option" completes "--objective" isovae fit --obj
check "completion of a choice" completes "decomposed" isovae fit --objective d
finish
