#!/bin/bash
# shellcheck disable=SC2034,SC2154 # variables of lib/common.bash
# Long runs: --max-time, --log across a kill and --resume, --tensorboard, --checkpoint-every by time.
# shellcheck source=/dev/null
source "$(dirname "$0")/lib/common.bash"
options=("toy:norm,n=2000" -n 3 --steps 6000 --threads 1 --isa baseline -q)
# what is the same for equal runs: no times, no speeds
lasting() { sed -E 's/"(seconds|steps_per_second|rows_per_second)":[^,}]*,?//g' "$1"; }

run "$isovae" fit "${options[@]}" -o whole.safetensors --log whole.jsonl --tensorboard events
check "fit --log --tensorboard" test "$status" = 0
check "a line every few steps" test "$(wc -l <whole.jsonl)" -gt 9
check "each line is an object with its step, losses, rate and speed" bash -c '! grep -vq \
    "^{\"run\":0,\"step\":[0-9]*,.*\"loss\":[0-9.e+-]*,.*\"validation_loss\":.*\"learning_rate\":.*\"rows_per_second\":.*}$" whole.jsonl'
check "the last line is of the last step" bash -c 'tail -n 1 whole.jsonl | grep -q "\"step\":6000,"'
check "an event file" bash -c 'ls events | grep -q "^events.out.tfevents.[0-9]*.isovae.000$"'

# killed after a checkpoint, gone on with: the log has every line once
"$isovae" fit "${options[@]}" -o killed.safetensors --log killed.jsonl --checkpoint-every 900 \
    >out 2>err </dev/null &
pid=$!
for ((i = 0; i < 200; i++)); do
    [ -s killed.safetensors.ckpt ] && break
    sleep 0.02
done
sleep 0.1
kill -KILL $pid 2>/dev/null
wait $pid 2>/dev/null
if [ -e killed.safetensors ]; then
    skip "the log after a kill" "the run was over before"
else
    lines=$(wc -l <killed.jsonl)
    run "$isovae" fit "${options[@]}" -o killed.safetensors --log killed.jsonl --resume killed.safetensors.ckpt
    check "the log after a kill ($lines lines) and --resume is that of a whole run" \
        cmp <(lasting whole.jsonl) <(lasting killed.jsonl)
    check "and the model, byte for byte" cmp whole.safetensors killed.safetensors
fi

run "$isovae" fit toy:norm,n=2000 -n 3 --steps 20 -q -o timed.safetensors --max-time 1h30m --checkpoint-every 0.5h
run "$isovae" fit toy:norm,n=2000 -n 3 --steps 20 -q -o untimed.safetensors
check "a limit that is not reached leaves no trace" cmp timed.safetensors untimed.safetensors
run "$isovae" fit toy:norm,n=2000 -n 3 --steps 100000000 -o short.safetensors --max-time 1.5s \
    --checkpoint-every 0.2s --log short.jsonl
check "a time limit is no failure" test "$status" = 0
check "it is told" grep -q "note: --max-time" err
check "the checkpoint is removed" test ! -e short.safetensors.ckpt
check "info tells it" bash -c '"$1" info short.safetensors | grep -q "steps (of 100,000,000, .* by --max-time)"' - "$isovae"
run "$isovae" report short.safetensors toy:norm,n=500,seed=4 --iwae 0 --json short.json
check "the report tells it" bash -c 'grep -q "\"code\": \"cut_short\"" short.json && grep -q -e "--max-time" out'
check "no step stands in the log twice" awk -F'[:,]' '$4 <= last { exit 1 } { last = $4 }' short.jsonl
check "the learning rate fell to its end" awk -F'"learning_rate":' '{ sub(/,.*/, "", $2); if (NR == 1) first = $2; last = $2 }
    END { exit !(last < 0.01 * first) }' short.jsonl
finish
