#!/bin/bash
# shellcheck disable=SC2034,SC2154 # variables of lib/common.bash
# Ctrl-C in fit: a checkpoint, the way to go on, and then the same model as without it.
# shellcheck source=/dev/null
source "$(dirname "$0")/lib/common.bash"
options=("toy:norm,n=2000" -n 3 --steps 6000 --threads 1 --isa baseline)
"$isovae" fit "${options[@]}" -o whole.safetensors -q || fail "a model to compare with"

# Background jobs of a script ignore SIGINT; setsid and a handler of its own put that right.
start() { # FILE.safetensors: fit in the background, $pid
    bash -c 'trap - INT; exec "$@"' fit "$isovae" fit "${options[@]}" -o "$1" --checkpoint-every 500 \
        >out 2>err </dev/null &
    pid=$!
}
set -m
start stopped.safetensors
set +m
for ((i = 0; i < 200; i++)); do
    [ -s stopped.safetensors.ckpt ] && break
    sleep 0.05
done
kill -INT "$pid"
wait "$pid"
status=$?
if [ $status = 0 ]; then
    skip "Ctrl-C" "the run was over before"
    finish
    exit
fi
check "exit status 130" test $status = 130
check "a checkpoint is left" test -s stopped.safetensors.ckpt
check "no model is left" test ! -e stopped.safetensors
check "nothing on standard output" test ! -s out
check "the way to go on is printed" grep -q -- "--resume stopped.safetensors.ckpt" err
way=$(grep -- '--resume' err | sed 's/^ *isovae //')
# shellcheck disable=SC2086 # the line is meant as words
run "$isovae" $way
check "the printed command goes on" test "$status" = 0
check "the model is the same, byte for byte" cmp whole.safetensors stopped.safetensors
check "the checkpoint is removed" test ! -e stopped.safetensors.ckpt

# Killed without warning, several times: --resume goes on from the last checkpoint, or from the
# beginning where there is none.
killed=0
for wait in 0.1 0.6 0.9 0.7; do
    "$isovae" fit "${options[@]}" -o killed.safetensors --checkpoint-every 200 \
        --resume killed.safetensors.ckpt -q >out 2>err </dev/null &
    pid=$!
    sleep $wait
    kill -KILL "$pid" 2>/dev/null && killed=$((killed + 1))
    wait "$pid" 2>/dev/null
    [ -e killed.safetensors ] && break
done
run "$isovae" fit "${options[@]}" -o killed.safetensors --resume killed.safetensors.ckpt -q
check "killed $killed times, and the model is the same, byte for byte" \
    cmp whole.safetensors killed.safetensors
finish
