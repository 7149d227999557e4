#!/bin/bash
# shellcheck disable=SC2034,SC2154 # variables of lib/common.bash
# Model files that are not what they should be, and data that do not fit the model.
# shellcheck source=/dev/null
source "$(dirname "$0")/lib/common.bash"
awk -v OFS=, 'BEGIN { print "a,b,k,c"
    for (i = 0; i < 300; i++) print i % 7, (i % 7) * 0.5 + i % 5, 3, (i * i) % 11 }' >data.csv
awk -F, -v OFS=, '{ print $4, $2, $1, $3 }' data.csv >other-order.csv
awk -F, -v OFS=, '{ print $1, $2, $3 }' data.csv >without-c.csv
awk -F, -v OFS=, 'NR > 1 { print $1, $2 }' data.csv >two-columns.csv
"$isovae" fit data.csv -o m.safetensors -q --steps 200 -n 2 || fail "a model to work with"

size=$(wc -c <m.safetensors)
damage() { # FILE OFFSET: changes one byte
    cp m.safetensors "$1"
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 m.safetensors | tr -d ' ')
    # shellcheck disable=SC2059
    printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
bad=
for offset in 0 1 8 9 $((size / 7)) $((size / 5)) $((size / 3)) $((size / 2)) $((size - 100)) $((size - 1)); do
    damage damaged.safetensors "$offset"
    run "$isovae" info damaged.safetensors
    if [ "$status" != 3 ] || [ -s out ] || [ "$(wc -l <err)" != 1 ]; then bad="$bad $offset:$status"; fi
done
if [ -z "$bad" ]; then pass "any byte changed is found"; else fail "any byte changed is found" "offset:status $bad"; fi

filter='s/checksum is [0-9a-f]* but should be [0-9a-f]*/checksum is A but should be B/'
damage damaged.safetensors $((size - 5))
refuse model-byte-changed 3 "$isovae" info damaged.safetensors
head -c $((size / 2)) m.safetensors >cut.safetensors
refuse model-cut 3 "$isovae" score cut.safetensors data.csv
refuse model-is-data 3 "$isovae" info data.csv
: >empty
refuse model-empty 3 "$isovae" info empty
refuse model-not-there 4 "$isovae" info nothing.safetensors
sed 's/isovae-model\/1/isovae-model\/9/' m.safetensors >newer.safetensors
if cmp -s m.safetensors newer.safetensors; then
    fail "a model of a newer version" "the test does not find the format version in the file"
else
    # a real one has the right checksum: the message about the wrong one tells it
    run "$isovae" info newer.safetensors
    read -r old new < <(sed -n 's/.*checksum is \([0-9a-f]*\) but should be \([0-9a-f]*\).*/\1 \2/p' err)
    LC_ALL=C sed -i "s/$old/$new/" newer.safetensors
    refuse model-of-a-newer-version 3 "$isovae" info newer.safetensors
fi

# columns
run "$isovae" score m.safetensors data.csv
cp out scores
run "$isovae" score m.safetensors other-order.csv
if [ "$status" = 0 ] && cmp -s out scores; then
    pass "columns are matched by name, whatever their order"
else
    fail "columns are matched by name, whatever their order" "$(diff out scores | head -n 5)"
fi
refuse data-without-a-feature 3 "$isovae" score m.safetensors without-c.csv
refuse data-with-too-few-columns 3 "$isovae" score m.safetensors two-columns.csv --no-header
refuse codes-with-too-many-columns 3 "$isovae" decode m.safetensors data.csv --no-header
refuse codes-without-names 3 "$isovae" decode m.safetensors data.csv
refuse row-not-there 2 "$isovae" traverse m.safetensors data.csv --row 301
refuse row-without-data 2 "$isovae" traverse m.safetensors --row 3
refuse latents-text 2 "$isovae" traverse m.safetensors --latents 3-1
refuse latents-too-many 2 "$isovae" traverse m.safetensors --latents 0-99999999
refuse latent-not-there 2 "$isovae" traverse m.safetensors --latents 0,700
refuse range-negative 2 "$isovae" traverse m.safetensors --range -1y
refuse range-unit 2 "$isovae" traverse m.safetensors --range 2px
refuse picture-of-a-table 2 "$isovae" traverse m.safetensors -o sheet.png
refuse sample-picture-of-a-table 2 "$isovae" sample m.safetensors -o sheet.png
refuse truth-not-there 2 "$isovae" report m.safetensors data.csv --truth-density t
refuse iwae-text 2 "$isovae" report m.safetensors data.csv --iwae many

# rows with gaps keep their place
sed '4s/.*/1,,3,2/' data.csv >gap.csv
refuse scores-with-a-gap 3 "$isovae" score m.safetensors gap.csv
run "$isovae" score m.safetensors gap.csv --missing row
if [ "$status" = 0 ] && [ "$(sed -n 4p out)" = "3,,,,,0,missing" ] && [ "$(wc -l <out)" = 301 ]; then
    pass "with --missing row a gap keeps its row, with a status"
else
    fail "with --missing row a gap keeps its row, with a status" "$(sed -n 4p out)"
fi

# ---- prune ----
"$isovae" fit toy:norm,n=3000 -o wide.safetensors -n 6 --steps 1500 -q
run "$isovae" prune wide.safetensors toy:norm,n=1000,seed=9 -o narrow.safetensors
check "prune: exit status 0" test "$status" = 0
check "prune: three of six stay" grep -q '^latents      6 -> 3$' out
check "prune: the change is told" grep -q '^Dec(mu)      changed by .* on 1,000 rows' out
run "$isovae" report narrow.safetensors toy:norm,n=1000,seed=9
check "prune: the smaller model reports" grep -q '^All 3 latents carry information' out
run "$isovae" prune narrow.safetensors -o same.safetensors
check "prune: nothing to drop is no error" grep -q 'all 3 latents are active: nothing was dropped' err
check "prune: then the model is what it was" cmp -s narrow.safetensors same.safetensors
expect prune-no-output 2 "$isovae" prune wide.safetensors
printf "a,b\n1,2\n3,4\n" >other.csv
expect prune-other-data 3 "$isovae" prune wide.safetensors other.csv -o a.safetensors
finish
