#!/bin/bash
# shellcheck disable=SC2154 # variables of lib/common.bash
# Models as ONNX files, and back through audit and prune.
# shellcheck source=/dev/null
source "$(dirname "$0")/lib/common.bash"
"$isovae" export --help >/dev/null 2>&1 || fail "the command is there"
"$isovae" fit toy:mixa,n=3000 -o wide.safetensors -n 6 --steps 3000 -q || fail "a model to export"
run "$isovae" export wide.safetensors --onnx wide
if grep -q 'built without ONNX' err; then skip "this build has no ONNX"; exit 0; fi
check "export: exit status 0" test "$status" = 0
check "export: three files" test -s wide/encoder.onnx -a -s wide/decoder.onnx -a -s wide/scorer.onnx
check "export: what they take and give" grep -q '^wide/encoder.onnx   x (rows, 16) -> mu, logvar, y (rows, 6)$' out
"$isovae" export wide.safetensors --onnx again -q
check "export: the same bytes again" cmp -s wide/scorer.onnx again/scorer.onnx

rows=toy:mixa,n=2000,seed=5
run "$isovae" audit "$rows" --encoder wide/encoder.onnx --decoder wide/decoder.onnx \
    --json audit.json -o audited.safetensors -q
check "audit of an export: exit status 0" test "$status" = 0
"$isovae" report wide.safetensors "$rows" --rows all --json own.json -q >report.txt
numbers() { # FILE: importance of the active latents in their order
    tr -d ' \n' <"$1" | grep -o '"variance_y":[0-9.e+-]*' | cut -d: -f2 | head -3
}
numbers own.json >own.txt
numbers audit.json >other.txt
check "audit of an export: beta within 3 %, so is variance_y" \
    awk 'NR == FNR { a[FNR] = $1; next } { if ($1 < 0.97 * a[FNR] || $1 > 1.03 * a[FNR]) bad = 1 } END { exit bad || FNR != 3 }' \
    own.txt other.txt
beta() { tr -d ' \n' <"$1" | grep -o '"beta":[0-9.e+-]*' | head -1 | cut -d: -f2; }
check "audit of an export: beta" awk -v a="$(beta own.json)" -v b="$(beta audit.json)" \
    'BEGIN { exit !(a > 0 && b > 0.97 * a && b < 1.03 * a) }'

"$isovae" encode wide.safetensors "$rows" -o own.csv -q
"$isovae" encode audited.safetensors "$rows" -o other.csv -q
check "audit of an export: the same codes" awk -F, 'NR == FNR { a[FNR] = $0; next }
    FNR > 1 { split(a[FNR], x, ","); for (i = 2; i <= NF; i++) { d = $i - x[i]; if (d > 1e-5 || d < -1e-5) bad = 1 } }
    END { exit bad || FNR != 2001 }' own.csv other.csv

run "$isovae" prune audited.safetensors "$rows" -o small.safetensors
check "prune of an audited model: three of six stay" grep -q '^latents      6 -> 3$' out
check "prune of an audited model: it became smaller" awk \
    -v a="$(wc -c <audited.safetensors)" -v b="$(wc -c <small.safetensors)" 'BEGIN { exit !(b < a) }'
run "$isovae" export small.safetensors --onnx small
check "export of a pruned model" grep -q 'z (rows, 3) -> x (rows, 16)' out

cat >odd.json <<'END'
{"format": "isovae-arch/1",
 "encoder": [
  {"name": "e1", "kind": "dense", "inputs": ["x"], "output": "h", "units": 32, "attributes": {"activation": "silu"}},
  {"name": "e2", "kind": "dense", "inputs": ["h"], "output": "m", "units": "latents"},
  {"name": "e3", "kind": "split", "inputs": ["h"], "outputs": ["h1", "h2"]},
  {"name": "e4", "kind": "dense", "inputs": ["h1"], "output": "g", "units": "latents"},
  {"name": "e5", "kind": "add", "inputs": ["m", "g"], "output": "mu"},
  {"name": "e6", "kind": "dense", "inputs": ["h2"], "output": "l", "units": "latents"},
  {"name": "e7", "kind": "clip", "inputs": ["l"], "output": "logvar", "attributes": {"min": -12}}],
 "decoder": [
  {"name": "d1", "kind": "multiply", "inputs": ["z"], "output": "t", "attributes": {"value": 0.5}},
  {"name": "d2", "kind": "dense", "inputs": ["t"], "output": "u", "units": 32, "attributes": {"activation": "silu"}},
  {"name": "d3", "kind": "dense", "inputs": ["u"], "output": "out", "units": "features"}]}
END
"$isovae" fit toy:mixa,n=2000 -o odd.safetensors --arch odd.json -n 6 --steps 2500 --batch-size 200 --lr 0.01 -q
run "$isovae" prune odd.safetensors "$rows" -o less.safetensors
check "prune without dense layers: latents go" grep -q '^latents      6 -> [1-5]$' out
check "prune without dense layers: the outputs stay" awk \
    '/^Dec/ { found = 1; bad = !($4 < 0.01) } END { exit bad || !found }' out
kept=$(sed -n 's/^latents .* -> //p' out)
run "$isovae" prune less.safetensors -o same.safetensors
check "prune without dense layers: again" grep -q "^latents      $kept -> $kept\$" out
check "prune without dense layers: it reports" "$isovae" report less.safetensors "$rows"
check "prune without dense layers: it exports" "$isovae" export less.safetensors --onnx less
"$isovae" fit toy:mixa,n=500 -o pair.safetensors --arch mlp:8 -n 3 --steps 50 --ensemble 2 -q
run "$isovae" export pair.safetensors --onnx pair
check "export of an ensemble: a folder each" test -s pair/member1/decoder.onnx -a -s pair/scorer.onnx
"$isovae" fit blobs:size=16,n=200 -o ssim.safetensors -n 2 --arch mlp:8 --steps 20 --loss ssim -b 1 -q
run "$isovae" export ssim.safetensors --onnx pair
check "export: no scorer for ssim, and it is said" grep -q 'no scorer.onnx: the distance of loss ssim' err
check "export: an earlier scorer is gone" test ! -e pair/scorer.onnx
expect export-no-folder 2 "$isovae" export wide.safetensors
echo >file
expect export-onto-a-file 4 "$isovae" export wide.safetensors --onnx file
finish
