#!/bin/bash
# shellcheck disable=SC2034,SC2154 # variables of lib/common.bash
# stability and drift: what they say, their exit status, Ctrl-C, and what they refuse.
# shellcheck source=/dev/null
source "$(dirname "$0")/lib/common.bash"
schema() { # NAME FILE
    if python3 -c 'import jsonschema' 2>/dev/null; then
        check "$1" python3 -c '
import json, sys, jsonschema
jsonschema.validate(json.load(open(sys.argv[1])), json.load(open(sys.argv[2])))' "$2" "$root/docs/$3"
    else
        skip "$1" "there is no Python module jsonschema"
    fi
}

# ---- stability ----
runs=("toy:mixa,n=4000" -n 6 --steps 1500 --seeds 3)
run "$isovae" stability "${runs[@]}" --json s.json --html s.html -o central.safetensors
check "stability, exit status 0" test "$status" = 0
check "stability: the line to quote" grep -qE '^latents 0-2 are found in 3 of 3 runs \(match 0\.9' out
check "stability: spare latents are not claimed" grep -q "3 of 6 latents are not active and are not claimed" out
check "stability: nothing on standard error" test ! -s err
check "stability: its folder is gone" test -z "$(ls -d isovae-stability-* 2>/dev/null)"
check "stability, JSON" grep -q '"summary": "latents 0-2 are found in 3 of 3 runs' s.json
schema "stability, JSON keeps to its schema" s.json stability.schema.json
check "stability, page" grep -q '<svg' s.html
run "$isovae" report central.safetensors toy:mixa,n=2000,seed=9
check "stability -o: the most central model" grep -q "3 of 6 latents" out
run "$isovae" stability "${runs[@]}" --runs kept --threads 2 --json - -q
check "stability: the same with other threads, JSON to standard output" \
    cmp -s <(grep -v '"command"' out) <(grep -v '"command"' s.json)
check "stability --runs: the models stay" test -s kept/run-0.safetensors -a -s kept/run-2.safetensors
run "$isovae" stability "${runs[@]}" --runs kept
check "stability --runs: they are used again" grep -q "note: 3 of 3 runs were in kept from before" err
run "$isovae" stability "${runs[@]}" --runs kept --same-split --seeds 2
check "stability --same-split: other runs, refused" test "$status" = 2
run "$isovae" stability toy:norm,n=6000,var=1:1:4 -n 4 --steps 1500 --seeds 5 --same-split
check "equal variances are one group" grep -q "^latent 0 and the group 1-2 are found in 5 of 5 runs" out
check "compared on the rows that all held out" grep -q "compared on 600 held-out rows" out
expect stability-one-seed 2 "$isovae" stability toy:norm --seeds 1
expect stability-resume 2 "$isovae" stability toy:norm --resume x.ckpt
expect stability-other-runs 2 "$isovae" stability "${runs[@]}" --beta 0.01 --runs kept
filter='s/loss of [0-9.e+]*/loss of N/' # differs between instruction sets
expect stability-diverges 5 "$isovae" stability toy:norm,n=500 -n 3 --steps 200 --lr 1 \
    --loss weighted:down --no-restart --seeds 2 -q --runs diverging
filter=

# Ctrl-C, and the same command again
long=("toy:norm,n=2000" -n 3 --steps 4000 --seeds 2 --threads 1)
set -m
bash -c 'trap - INT; exec "$@"' stability "$isovae" stability "${long[@]}" --checkpoint-every 200 \
    --runs stopped >out 2>err </dev/null &
pid=$!
set +m
for ((i = 0; i < 200; i++)); do
    [ -s stopped/run-0.ckpt ] && break
    sleep 0.02
done
kill -INT "$pid"
wait "$pid"
status=$?
if [ $status = 0 ]; then
    skip "stability, Ctrl-C" "the runs were over before"
else
    check "stability, Ctrl-C: exit status 130" test $status = 130
    check "stability, Ctrl-C: nothing on standard output" test ! -s out
    check "stability, Ctrl-C: the way to go on" grep -q "what is done is in stopped; to go on:" err
fi
run "$isovae" stability "${long[@]}" --runs stopped --json stopped.json -q
run "$isovae" stability "${long[@]}" --json whole.json -q
check "what was stopped comes to the same" \
    cmp -s <(grep -v '"command"' stopped.json) <(grep -v '"command"' whole.json)

# ---- drift ----
"$isovae" fit toy:norm,n=4000 -o m.safetensors -n 4 --steps 1500 -q
run "$isovae" drift m.safetensors toy:norm,n=1000,seed=5 toy:norm,n=1000,seed=6 --json d.json
check "drift: none, exit status 0" test "$status" = 0
check "drift: none, said" grep -q "^no change found" out
schema "drift, JSON keeps to its schema" d.json drift.schema.json
run "$isovae" drift m.safetensors toy:norm,n=4000 toy:norm,n=1000,seed=6
check "drift: held-out rows of the training data" grep -q "400 held-out ones alone" out
"$isovae" sample m.safetensors -n 1000 -s 1 --noise -o a.csv -q
"$isovae" sample m.safetensors -n 1000 -s 2 --noise -o b.csv -q
awk -F, -v OFS=, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "x7") k = i }
    NR > 1 { $k += 0.4 } { print }' b.csv >moved.csv
run "$isovae" drift m.safetensors a.csv b.csv -q
check "drift: samples of one model" test "$status $(wc -c <out)" = "0 0"
run "$isovae" drift m.safetensors a.csv moved.csv --json moved.json
check "drift: a moved feature, exit status 1" test "$status" = 1
check "drift: it is named" grep -qE '^\* x7 ' out
check "drift: and behind the residual" grep -qE '^\* residual .*; x7 \+' out
schema "drift found, JSON keeps to its schema" moved.json drift.schema.json
run "$isovae" drift m.safetensors a.csv moved.csv --json -
check "drift, JSON to standard output" cmp -s <(grep -v '"command"' out) <(grep -v '"command"' moved.json)
check "drift, JSON to standard output: exit status 1" test "$status" = 1
run "$isovae" drift m.safetensors a.csv moved.csv -q
check "drift -q: the exit status alone" test "$status $(wc -c <out) $(wc -c <err)" = "1 0 0"
head -n 30 a.csv >few.csv
sed '5s/^[^,]*,/,/;9s/^[^,]*,/,/' few.csv >gaps.csv
run "$isovae" drift m.safetensors a.csv gaps.csv --missing row
check "drift: rows with missing values are counted" grep -q "unusable: 2" out
expect drift-alpha 2 "$isovae" drift m.safetensors a.csv b.csv --alpha 1
expect drift-missing 3 "$isovae" drift m.safetensors a.csv gaps.csv
head -n 12 a.csv >few.csv
expect drift-few-rows 3 "$isovae" drift m.safetensors a.csv few.csv
cut -d, -f1-5 a.csv >narrow.csv
expect drift-other-columns 3 "$isovae" drift m.safetensors a.csv narrow.csv
expect drift-one-set 2 "$isovae" drift m.safetensors a.csv
finish
