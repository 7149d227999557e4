#!/bin/bash
# shellcheck disable=SC2034,SC2154 # variables of lib/common.bash
# Networks from files, and networks for pictures.
# shellcheck source=/dev/null
source "$(dirname "$0")/lib/common.bash"
awk -v OFS=, 'BEGIN { print "a,b,c,d"
    for (i = 0; i < 200; i++) print i % 7, (i % 7) * 0.5 + i % 5, i % 5, (i * i) % 11 }' >t.csv
{ # 70 pictures of 28 x 28
    printf '\x00\x00\x08\x03\x00\x00\x00\x46\x00\x00\x00\x1c\x00\x00\x00\x1c'
    LC_ALL=C awk 'BEGIN { for (i = 0; i < 70; i++) for (y = 0; y < 28; y++) for (x = 0; x < 28; x++)
        printf "%c", 1 + (x > i % 23) * 80 + (y > i % 27) * 40 }'
} >pictures

fits() { # NAME DATA ARCH WANTED-NAME OPTION...: a few steps; info knows the network
    local name=$1 data=$2 arch=$3 wanted=$4
    shift 4
    run "$isovae" fit "$data" -o m.safetensors -q --arch "$arch" "$@"
    if [ "$status" != 0 ]; then
        fail "$name" "$(cat err)"
        return
    fi
    run "$isovae" info m.safetensors
    if grep -q "^network *$wanted, " out && "$isovae" score -q m.safetensors "$data" >scores 2>err; then
        pass "$name"
    else
        fail "$name" "$(cat out err)"
    fi
}
examples=$root/examples/arch
fits arch-residual-mlp t.csv "$examples/residual-mlp.json" residual-mlp.json --steps 50 --lr 0.01
fits arch-small-conv pictures "$examples/small-conv.json" small-conv.json --steps 80 --lr 0.003 -n 3
fits arch-conv-small pictures conv-small conv-small --steps 80 --lr 0.003 -n 3

# the drafts that docs/architectures.md shows
awk -v n=0 '/^```json/ { file = "doc" ++n ".json"; next } /^```/ { file = ""; next }
    file != "" { print >file }' "$root/docs/architectures.md"
fits arch-doc-table t.csv doc1.json doc1.json --steps 50 --lr 0.01
fits arch-doc-pictures pictures doc2.json doc2.json --steps 80 --lr 0.003 -n 3

# kinds from the table of general ones
cat >general.json <<'END'
{"format": "isovae-arch/1", "encoder": [
  {"name": "a", "kind": "dense", "inputs": ["x"], "output": "a", "units": 24},
  {"name": "planes", "kind": "reshape", "inputs": ["a"], "output": "p", "attributes": {"shape": [4, 6]}},
  {"name": "norm", "kind": "layer_norm", "inputs": ["p"], "output": "n", "attributes": {"axis": 2}},
  {"name": "q", "kind": "matmul", "inputs": ["n"], "output": "q", "units": 6},
  {"name": "turn", "kind": "transpose", "inputs": ["n"], "output": "t", "attributes": {"perm": [2, 1]}},
  {"name": "scores", "kind": "matmul", "inputs": ["q", "t"], "output": "s"},
  {"name": "scale", "kind": "multiply", "inputs": ["s"], "output": "s2", "attributes": {"value": 0.4}},
  {"name": "weigh", "kind": "softmax", "inputs": ["s2"], "output": "w", "attributes": {"axis": 2}},
  {"name": "mix", "kind": "matmul", "inputs": ["w", "p"], "output": "m"},
  {"name": "mean", "kind": "reduce", "inputs": ["m"], "output": "e", "attributes": {"function": "mean", "axes": [1]}},
  {"name": "gate", "kind": "mish", "inputs": ["e"], "output": "g"},
  {"name": "mu", "kind": "dense", "inputs": ["g"], "output": "mu", "units": "latents"},
  {"name": "logvar", "kind": "dense", "inputs": ["g"], "output": "logvar", "units": "latents"}
], "decoder": [
  {"name": "d", "kind": "dense", "inputs": ["z"], "output": "d", "units": 16},
  {"name": "clip", "kind": "clip", "inputs": ["d"], "output": "c", "attributes": {"min": -3}},
  {"name": "flip", "kind": "take", "inputs": ["c"], "output": "f", "attributes": {"map": [3, 2, 1, 0, -1, 15], "axis": 1}},
  {"name": "out", "kind": "dense", "inputs": ["f"], "output": "out", "units": "features"}
]}
END
fits arch-general t.csv general.json general.json --steps 50 --lr 0.01

for file in docs/architectures.schema.json examples/arch/residual-mlp.json examples/arch/small-conv.json; do
    if ! command -v python3 >/dev/null; then
        skip "$file is JSON" "there is no python3"
    else
        check "$file is JSON" python3 -m json.tool "$root/$file" /dev/null
    fi
done
if python3 -c 'import jsonschema' 2>/dev/null; then
    cp "$examples"/*.json .
    for file in residual-mlp small-conv doc1 doc2 general; do
        check "$file.json keeps to the schema" python3 -c '
import json, sys, jsonschema
jsonschema.validate(json.load(open(sys.argv[1])), json.load(open(sys.argv[2])))' \
            "$file.json" "$root/docs/architectures.schema.json"
    done
else
    for file in residual-mlp small-conv doc1 doc2 general; do
        skip "$file.json keeps to the schema" "there is no Python module jsonschema"
    done
fi

# files that are wrong: the message names file and node
fit() { "$isovae" fit t.csv -o m2.safetensors --steps 5 "$@"; }
heads='{"name": "m", "kind": "dense", "inputs": ["x"], "output": "mu", "units": "latents"},
    {"name": "l", "kind": "dense", "inputs": ["x"], "output": "logvar", "units": "latents"}'
out='{"name": "o", "kind": "dense", "inputs": ["z"], "output": "out", "units": "features"}'
draft() { printf '{"format": "isovae-arch/1", "encoder": [%s], "decoder": [%s]}\n' "$2" "$3" >"$1.json"; }
draft good "$heads" "$out"
draft cycle "${heads//\"x\"/\"h2\"}, {\"name\": \"a\", \"kind\": \"relu\", \"inputs\": [\"mu\"], \"output\": \"h2\"}" "$out"
draft unknown-kind "$heads" "${out/dense/dance}"
draft unknown-member "$heads" "${out/units/unit}"
draft same-name "$heads, ${heads/mu/mu2}" "$out"
draft units-missing "$heads" "${out/, \"units\": \"features\"/}"
draft units-negative "$heads" "${out/\"features\"/-3}"
draft units-huge "$heads" "${out/\"features\"/9000000000}"
draft units-text "$heads" "${out/features/all}"
draft wrong-size "$heads" "${out/\"features\"/5}"
draft no-heads "$out" "$out"
draft no-out "$heads" ""
if python3 -c 'import jsonschema' 2>/dev/null; then
    for file in good:0 units-negative:1 units-text:1 unknown-kind:1 unknown-member:1; do
        python3 -c '
import json, sys, jsonschema
jsonschema.validate(json.load(open(sys.argv[1])), json.load(open(sys.argv[2])))' \
            "${file%:*}.json" "$root/docs/architectures.schema.json" 2>/dev/null
        if [ $? = "${file#*:}" ]; then
            pass "the schema of ${file%:*}.json"
        else
            fail "the schema of ${file%:*}.json" "accepted or refused wrongly"
        fi
    done
else
    for file in good units-negative units-text unknown-kind unknown-member; do
        skip "the schema of $file.json" "there is no Python module jsonschema"
    done
fi
draft too-large "$heads" "{\"name\": \"a\", \"kind\": \"dense\", \"inputs\": [\"z\"], \"output\": \"h\", \"units\": 1000000},
    {\"name\": \"b\", \"kind\": \"dense\", \"inputs\": [\"h\"], \"output\": \"i\", \"units\": 1000000}, ${out/\"z\"/\"i\"}"
sed 's/"encoder"/"coder"/' good.json >no-encoder.json
sed 's/"format"/"pictures": true, "format"/' good.json >pictures-of-a-table.json
printf '{"format": "isovae-arch/1", \x01}' >control.json
{ cat good.json; printf '\0'; } >nul.json
{ cat good.json; head -c 2000000 /dev/zero | tr '\0' ' '; } >long.json
head -c 100000 /dev/zero | tr '\0' '[' >deep.json
: >empty.json
printf 'mlp:64\n' >text.json

refuse arch-cycle 3 fit --arch cycle.json
refuse arch-unknown-kind 2 fit --arch unknown-kind.json
refuse arch-unknown-member 3 fit --arch unknown-member.json
refuse arch-same-name 3 fit --arch same-name.json
refuse arch-units-missing 3 fit --arch units-missing.json
refuse arch-units-negative 3 fit --arch units-negative.json
refuse arch-units-huge 3 fit --arch units-huge.json
refuse arch-units-text 3 fit --arch units-text.json
refuse arch-wrong-size 3 fit --arch wrong-size.json
refuse arch-no-heads 3 fit --arch no-heads.json
refuse arch-no-out 3 fit --arch no-out.json
refuse arch-no-encoder 3 fit --arch no-encoder.json
refuse arch-too-large 3 fit --arch too-large.json
refuse arch-pictures-of-a-table 2 fit --arch pictures-of-a-table.json
refuse arch-preset-of-a-table 2 fit --arch conv64
refuse arch-control-character 3 fit --arch control.json
refuse arch-nul-byte 3 fit --arch nul.json
refuse arch-long 3 fit --arch long.json
refuse arch-deep 3 fit --arch deep.json
refuse arch-empty 3 fit --arch empty.json
refuse arch-text 3 fit --arch text.json
refuse arch-not-there 4 fit --arch nothing.json
sed 's/"kernel": 4/"kernel": [40, 4]/' "$examples/small-conv.json" >kernel.json
refuse arch-kernel-too-large 3 "$isovae" fit pictures -o m2.safetensors --arch kernel.json
sed 's/\[32, 7, 7\]/[32, 49, 1]/' "$examples/small-conv.json" >sides.json
refuse arch-other-sides 3 "$isovae" fit pictures -o m2.safetensors --arch sides.json

# another network under the same name
fit -q --arch good.json || fail "a model to go on from"
cp m2.safetensors good.safetensors && rm m2.safetensors
sed 's/"name": "m"/"name": "k"/' good.json >other.json && cp other.json good.json
refuse arch-of-another-name 2 fit --arch good.json --init-from good.safetensors
finish
