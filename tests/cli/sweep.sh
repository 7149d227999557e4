#!/bin/bash
# shellcheck disable=SC2034,SC2154 # variables of lib/common.bash
# sweep: refusals, a small sweep in its three forms, a target out of reach, Ctrl-C and going on.
# shellcheck source=/dev/null
source "$(dirname "$0")/lib/common.bash"
printf 'a,b\n1,2\n3,4\n5,6\n' >t.csv
data=toy:norm,n=800

refuse sweep-target-unknown 2 "$isovae" sweep $data --target mse=1
refuse sweep-target-text 2 "$isovae" sweep $data --target r2=much
refuse sweep-target-range 2 "$isovae" sweep $data --target r2=1.2
refuse sweep-target-pictures 2 "$isovae" sweep $data --target psnr=20
refuse sweep-target-latents 2 "$isovae" sweep $data -n 3 --target active=4
refuse sweep-range 2 "$isovae" sweep $data --beta-range 1
refuse sweep-range-turned 2 "$isovae" sweep $data --beta-range 0.1:1
refuse sweep-range-negative 2 "$isovae" sweep $data --beta-range 1:-1
refuse sweep-points 2 "$isovae" sweep $data --points 1
refuse sweep-no-retrain-output 2 "$isovae" sweep $data --no-retrain -o m.safetensors
refuse sweep-output-stdout 2 "$isovae" sweep $data -o -
refuse sweep-no-data 2 "$isovae" sweep
refuse sweep-no-file 4 "$isovae" sweep none.csv
refuse sweep-no-folder 4 "$isovae" sweep $data --json none/s.json
refuse sweep-beta 2 "$isovae" sweep $data --beta 1
refuse sweep-one-row 3 "$isovae" sweep toy:norm,n=1

small=("$data" -n 4 --points 5 --steps 60 --threads 1)
run "$isovae" sweep "${small[@]}" --target r2=0.9 -o m.safetensors --json s.json --html s.html
check "a small sweep" test "$status" = 0
check "it tells the answer" grep -q "answers r2=0.9; a cold training agrees" out
check "a line per beta" test "$(grep -c '^ *[0-9.]* .* [0-9]' out)" -ge 5
check "the model is written" bash -c '"$1" info m.safetensors | grep -q "^latents     4, "' - "$isovae"
check "JSON" grep -q '"format": "isovae-sweep/1"' s.json
check "a page" grep -qi "<!doctype html>" s.html
check "the state is removed" test ! -e m.safetensors.sweep
if python3 -c 'import jsonschema' 2>/dev/null; then
    check "the JSON keeps to its schema" python3 -c '
import json, sys, jsonschema
jsonschema.validate(json.load(open(sys.argv[1])), json.load(open(sys.argv[2])))' s.json "$root/docs/sweep.schema.json"
else
    skip "the JSON keeps to its schema" "there is no Python module jsonschema"
fi
run "$isovae" sweep "${small[@]}" --target r2=0.9 --threads 2 -o again.safetensors --json -
check "the same numbers with other threads" cmp <(sed '/"command"/d; /"model"/d' s.json) <(sed '/"command"/d; /"model"/d' out)
check "and the same model" cmp m.safetensors again.safetensors

run "$isovae" sweep "${small[@]}" -n 1 --target r2=0.999 --json far.json
check "a target out of reach: exit status 5" test "$status" = 5
check "it is told in one line" grep -q "no beta of this sweep meets r2=0.999: nearest is" err
check "the curve is written all the same" grep -q '"found": false' far.json

# Ctrl-C, as in interrupt.sh
long=("$data" --arch linear -n 4 --points 6 --steps 1000 --threads 1 --no-retrain)
set -m
bash -c 'trap - INT; exec "$@"' sweep "$isovae" sweep "${long[@]}" --json stopped.json >out 2>err </dev/null &
pid=$!
set +m
for ((i = 0; i < 600; i++)); do
    [ -s stopped.json.sweep ] && break
    sleep 0.05
done
kill -INT "$pid"
wait "$pid"
status=$?
if [ $status = 0 ]; then
    skip "Ctrl-C" "the run was over before"
else
    check "Ctrl-C: exit status 130" test $status = 130
    check "nothing on standard output" test ! -s out
    check "no result is left" test ! -e stopped.json
    check "the way to go on is printed" grep -q -- "--resume stopped.json.sweep" err
    way=$(grep -- '--resume' err | sed 's/^ *isovae //')
    refuse sweep-resume-other 2 "$isovae" sweep "${long[@]}" -n 3 --json other.json --resume stopped.json.sweep
    # shellcheck disable=SC2086 # the line is meant as words
    run "$isovae" $way
    check "the printed command goes on" test "$status" = 0
    "$isovae" sweep "${long[@]}" --json whole.json -q
    check "the result is that of a whole run" cmp <(sed '/"command"/d' whole.json) <(sed '/"command"/d' stopped.json)
    check "the state is removed then" test ! -e stopped.json.sweep
fi
printf 'not a state' >broken.sweep
refuse sweep-resume-broken 3 "$isovae" sweep "${small[@]}" --json s2.json --resume broken.sweep
refuse sweep-resume-model 2 "$isovae" sweep "${small[@]}" --json s2.json --resume m.safetensors
finish
