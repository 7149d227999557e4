#!/bin/bash
# shellcheck disable=SC2034,SC2154 # variables of lib/common.bash
# audit: refusals, the text, JSON and page of an audit, and what comes after it.
# shellcheck source=/dev/null
source "$(dirname "$0")/lib/common.bash"
if ! "$isovae" help audit >/dev/null 2>&1; then
    skip "audit" "this build has no ONNX"
    exit 0
fi
cp "$root"/tests/onnx/{table,grey}.npy "$root"/tests/onnx/{mlp,short,sigma,conv,nhwc,autoencoder}_{enc,dec}.onnx \
    "$root"/tests/onnx/whole.onnx .
mlp=(table.npy --encoder mlp_enc.onnx --decoder mlp_dec.onnx)
echo "not a network" >text.onnx
head -c 2000 mlp_enc.onnx >half.onnx
head -c 2000 mlp_dec.onnx >half_dec.onnx
means=(table.npy --encoder autoencoder_enc.onnx --decoder autoencoder_dec.onnx --means-only)

refuse audit-no-networks 2 "$isovae" audit table.npy
refuse audit-no-data 2 "$isovae" audit --encoder mlp_enc.onnx --decoder mlp_dec.onnx
refuse audit-missing-file 4 "$isovae" audit table.npy --encoder none.onnx --decoder mlp_dec.onnx
refuse audit-missing-data 4 "$isovae" audit none.npy --encoder mlp_enc.onnx --decoder mlp_dec.onnx
refuse audit-no-onnx 3 "$isovae" audit table.npy --encoder text.onnx --decoder mlp_dec.onnx
refuse audit-cut-off 3 "$isovae" audit table.npy --encoder half.onnx --decoder mlp_dec.onnx
refuse audit-model-of-our-own 3 "$isovae" audit table.npy --encoder table.npy --decoder mlp_dec.onnx
refuse audit-mean-alone 2 "$isovae" audit "${mlp[@]}" --mean 0.5
refuse audit-std-zero 2 "$isovae" audit "${mlp[@]}" --mean 0.5 --std 0
refuse audit-std-count 2 "$isovae" audit "${mlp[@]}" --mean 0.5 --std 1,1
refuse audit-mean-text 2 "$isovae" audit "${mlp[@]}" --mean half --std 1
refuse audit-range-text 2 "$isovae" audit "${mlp[@]}" --input-range wide
refuse audit-range-turned 2 "$isovae" audit "${mlp[@]}" --input-range 1:0
refuse audit-output-range 2 "$isovae" audit "${mlp[@]}" --output-range 1
refuse audit-head-unknown 2 "$isovae" audit "${mlp[@]}" --head precision
refuse audit-layout-unknown 2 "$isovae" audit "${mlp[@]}" --layout HWC
refuse audit-beta-zero 2 "$isovae" audit "${mlp[@]}" --beta 0
refuse audit-loss-scale 2 "$isovae" audit "${mlp[@]}" --loss-scale average
refuse audit-loss-student 2 "$isovae" audit "${mlp[@]}" --loss student
refuse audit-logvar-alone 2 "$isovae" audit "${mlp[@]}" --logvar logvar
refuse audit-unknown-tensor 3 "$isovae" audit "${mlp[@]}" --mu nothing --logvar logvar
refuse audit-mean-only 2 "$isovae" audit "${mlp[@]}" --mu mu
refuse audit-means-beta 2 "$isovae" audit "${means[@]}" --beta 1
refuse audit-means-output 2 "$isovae" audit "${means[@]}" -o m.safetensors
refuse audit-means-logvar 2 "$isovae" audit "${means[@]}" --mu mu --logvar logvar
refuse audit-decoder-mu 2 "$isovae" audit --decoder mlp_dec.onnx --mu mu
refuse audit-decoder-means 2 "$isovae" audit --decoder mlp_dec.onnx --means-only
refuse audit-decoder-output 2 "$isovae" audit --decoder mlp_dec.onnx -o m.safetensors
refuse audit-decoder-half 3 "$isovae" audit --decoder half_dec.onnx
refuse audit-decoder-text 3 "$isovae" audit --decoder text.onnx
refuse audit-decoder-other-data 3 "$isovae" audit grey.npy --decoder mlp_dec.onnx
refuse audit-decoder-is-none 3 "$isovae" audit table.npy --decoder mlp_enc.onnx
refuse audit-other-decoder 3 "$isovae" audit table.npy --encoder mlp_enc.onnx --decoder sigma_dec.onnx
refuse audit-other-data 3 "$isovae" audit grey.npy --encoder mlp_enc.onnx --decoder mlp_dec.onnx
refuse audit-not-whole 2 "$isovae" audit table.npy --encoder mlp_enc.onnx
refuse audit-no-folder 4 "$isovae" audit "${mlp[@]}" --json none/a.json

filter='s/-\{0,1\}[0-9][0-9.,]*/N/g; s/  */ /g'
expect audit-text 0 "$isovae" audit "${mlp[@]}"
expect audit-undertrained 0 "$isovae" audit table.npy --encoder short_enc.onnx --decoder short_dec.onnx --beta 0.05 --loss-scale mean
expect audit-misread 0 "$isovae" audit "${mlp[@]}" --input-range=-4:4
expect audit-means-misread 0 "$isovae" audit "${means[@]}" --input-range=-4:4
expect audit-means 0 "$isovae" audit "${means[@]}"
expect audit-decoder 0 "$isovae" audit --decoder mlp_dec.onnx
expect audit-decoder-data 0 "$isovae" audit table.npy --decoder mlp_dec.onnx --seed 3
expect audit-whole-file 0 "$isovae" audit table.npy --encoder whole.onnx
filter=

beta_is() { # NAME WANTED ARGUMENTS...: the beta of a report, as given
    local name=$1 wanted=$2
    shift 2
    run "$isovae" audit "$@" --json beta.json
    check "$name" awk -v want="$wanted" '/^  "beta":/ { got = $2 + 0 } END { exit !(got > want * 0.999999 && got < want * 1.000001) }' beta.json
}
beta_is "--beta in our units" 0.4 "${mlp[@]}" --beta 0.4
beta_is "--loss-scale mean" 0.4 "${mlp[@]}" --beta 0.05 --loss-scale mean
beta_is "--loss-scale half-sum" 0.4 "${mlp[@]}" --beta 0.2 --loss-scale half-sum
beta_is "--loss-scale half-mean" 0.4 "${mlp[@]}" --beta 0.025 --loss-scale half-mean
beta_is "--kl-scale mean" 0.4 "${mlp[@]}" --beta 1.6 --kl-scale mean
beta_is "both" 0.4 "${mlp[@]}" --beta 0.2 --loss-scale mean --kl-scale mean

run "$isovae" audit "${mlp[@]}" -o m.safetensors --json a.json --html a.html --csv a
check "an audit with all outputs" test "$status" = 0
check "the page has the check" grep -q "<b>Check.</b> squared error" a.html
check "the page has the beta" grep -q "estimated from the active latents" a.html
check "the verdict tells that the beta is not known" grep -q "only a known beta" a.html
check "nobody calls it an optimum" bash -c '! grep -q "at its optimum" out'
check "the JSON has the audit" grep -q '"beta_known": false' a.json
check "a table per row" test "$(wc -l <a/rows.csv)" = 257
run "$isovae" audit "${means[@]}" --html means.html --json means.json --csv means
check "means alone: all outputs" test "$status" = 0
check "its page says what is missing" grep -q "gives no width" means.html
check "its page has no optimum" bash -c '! grep -qE "id=.optimum|>nan| nan " means.html'
check "its JSON has no beta" grep -q '"beta": null' means.json
check "its JSON has the spectrum" grep -q '"spectrum": \[' means.json
check "its rows have no sigma" bash -c '! head -1 means/rows.csv | grep -q sigma'
run "$isovae" audit --decoder nhwc_dec.onnx --html decoder.html --json decoder.json --seed 5
check "a decoder alone: all outputs" test "$status" = 0
check "its page has pictures" grep -q "decoded from the prior" decoder.html
check "its page has no reconstructions" bash -c '! grep -q "Reconstructions" decoder.html'
check "its JSON tells that the encoder is missing" grep -q '"unknown": "encoder"' decoder.json
run "$isovae" audit --decoder nhwc_dec.onnx --json again.json --seed 5 --threads 1
check "the same numbers with other threads, and the seed" cmp <(sed '/"command"/d' decoder.json) <(sed '/"command"/d' again.json)
run "$isovae" audit --decoder nhwc_dec.onnx --json other.json --seed 6
check "other draws with another seed" bash -c '! cmp -s <(grep variance_y decoder.json) <(grep variance_y other.json)'
for report in a means decoder; do
    if python3 -c 'import jsonschema' 2>/dev/null; then
        check "the JSON of $report keeps to its schema" python3 -c '
import json, sys, jsonschema
jsonschema.validate(json.load(open(sys.argv[1])), json.load(open(sys.argv[2])))' $report.json "$root/docs/report.schema.json"
    else
        skip "the JSON of $report keeps to its schema" "there is no Python module jsonschema"
    fi
done
run "$isovae" audit "${mlp[@]}" --threads 1 --json one.json
run "$isovae" audit "${mlp[@]}" --threads 2 --json two.json
check "the same numbers with other threads" cmp <(sed '/"command"/d' one.json) <(sed '/"command"/d' two.json)

# the model that -o wrote
run "$isovae" info m.safetensors
check "info tells where it comes from" grep -q "^trained     elsewhere" out
check "info tells of no training" bash -c '! grep -qE "steps|nan|0000000000000000|held out" out'
run "$isovae" info m.safetensors --json
check "info --json" grep -q '"elsewhere": true' out
run "$isovae" report m.safetensors table.npy --json r.json
check "report" test "$status" = 0
check "it has the audit's beta" cmp <(grep '^  "beta":' a.json) <(grep '^  "beta":' r.json)
run "$isovae" score m.safetensors table.npy
check "score" test "$status $(wc -l <out)" = "0 257"
check "tail_prob is a share of the audit's rows" awk -F, 'NR > 1 { if (!($5 >= 0 && $5 <= 1)) bad = 1; sum += $5 } END { exit bad || sum < 0.49 * (NR - 1) || sum > 0.51 * (NR - 1) }' out
check "nothing is said of missing scores" bash -c '! grep -q "tail_prob is empty" err'
check "scores are numbers" awk -F, 'NR > 1 && !($2 + 0 == $2) { exit 1 }' out
run "$isovae" traverse m.safetensors --latents 0
check "traverse" test "$status" = 0
run "$isovae" sample m.safetensors -n 5
check "sample" test "$status $(wc -l <out)" = "0 6"
run "$isovae" encode m.safetensors table.npy
cp out codes.csv
check "encode" test "$status $(wc -l <out)" = "0 257"
run "$isovae" decode m.safetensors codes.csv
check "decode" test "$status $(wc -l <out)" = "0 257"
run "$isovae" drift m.safetensors table.npy table.npy
check "drift" test "$status $(grep -c 'no change found' out)" = "0 1"
run "$isovae" audit grey.npy --encoder conv_enc.onnx --decoder conv_dec.onnx -o c.safetensors --html c.html
check "pictures" test "$status $(grep -c '8x8 images' out)" = "0 1"
run "$isovae" traverse c.safetensors --latents 0 -o c.png
check "traverse of pictures" test "$status $(head -c 4 c.png | tail -c 3)" = "0 PNG"
finish
