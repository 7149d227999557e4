#!/bin/bash
# shellcheck disable=SC2154 # variables of lib/common.bash
# Learned noise and denoising from the command line: fit, report, score, sample.
# shellcheck source=/dev/null
source "$(dirname "$0")/lib/common.bash"
data=toy:norm,n=1000

for loss in "sse --noise feature" student; do
    word=${loss%% *}
    # shellcheck disable=SC2086 # words
    run "$isovae" fit $data -o "$word.safetensors" --loss $loss --latent-dim 4 --steps 400 --denoise 0.1
    check "fit --loss $loss" test "$status $(grep -c 'beta 1,' out)" = "0 1"
    run "$isovae" report "$word.safetensors" $data --csv "$word" --json "$word.json"
    check "report, $word: a line on the noise" grep -qE '^  noise +s from 0\.[0-9]+ \(' out
    check "report, $word: nats" grep -q 'in nats: half squares of' out
    check "report, $word: noise.csv has all features" test "$(wc -l <"$word/noise.csv")" = 17
    check "report, $word: JSON" grep -q '"residual_sd"' "$word.json"
    run "$isovae" score "$word.safetensors" $data --explain=2
    check "score, $word: an absolute density" test "$status $(grep -c 'in data units' err)" = "0 1"
    check "score, $word: residual and latent part" awk -F, 'NR > 1 && !($5 >= 0) { exit 1 }' out
    run "$isovae" sample "$word.safetensors" -n 200 -s 5
    cp out plain.csv
    run "$isovae" sample "$word.safetensors" -n 200 -s 5 --noise
    check "sample --noise, $word: as wide as what was learned" awk -F, '
        FILENAME == ARGV[1] { if (FNR > 1) s[FNR - 1] = $2; next }
        FILENAME == ARGV[2] { for (i = 1; i <= NF; i++) x[FNR, i] = $i; next }
        FNR > 1 { for (i = 1; i <= NF; i++) { e = ($i - x[FNR, i]) / s[i]; near += e < 1 && e > -1; all++ } }
        END { share = near / all; exit !(share > 0.6 && share < 0.72) }' \
        "$word/noise.csv" plain.csv out
done
check "report, student: a line on the tails" bash -c "'$isovae' report student.safetensors $data | grep -q '^  tails '"
run "$isovae" info student.safetensors
check "info names the loss, the floor and the denoising" \
    test "$(grep -c -e 'loss  *student' -e 'floor 0.1 of' -e 'SD 0.1 on' out)" = 3

refuse() { # NAME WORD ARGUMENTS...: usage error that names WORD
    local name=$1 word=$2
    shift 2
    run "$isovae" fit $data -o no.safetensors --steps 10 "$@"
    check "$name" test "$status $(grep -c -e "$word" err)" = "2 1"
}
refuse "beta is 1" "--beta" --loss student --beta 0.1
refuse "noise per feature goes with sse" "--noise" --loss weighted:up --noise feature
refuse "a floor needs learned noise" "--noise-floor" --noise-floor 0.1
refuse "a start needs learned noise" "--noise-start" --noise-start 0.5
refuse "a floor of 0 is none" "--noise-floor" --loss student --noise-floor 0
check "nothing was written" test ! -e no.safetensors
finish
