#!/bin/bash
# shellcheck disable=SC2034,SC2154 # variables of lib/common.bash
# The commands do what they say, in short.
# shellcheck source=/dev/null
source "$(dirname "$0")/lib/common.bash"
data=toy:norm,n=500,seed=3
"$isovae" fit toy:norm,n=5000 -o m.safetensors -n 5 --steps 1500 >fit.out 2>fit.err ||
    fail "a model to work with" "$(cat fit.err)"
check "fit tells the active latents" grep -q "of 5 latents active" fit.out
check "fit tells beta in other conventions" grep -q "1/2 SSE + b KL" fit.out
check "fit tells what to type next" grep -q "next: isovae report m.safetensors toy:norm,n=5000 --html" fit.out
"$isovae" fit toy:norm,n=5000 -o again.safetensors -n 5 --steps 1500 --threads 2 -q
check "the same model with other threads" cmp m.safetensors again.safetensors
"$isovae" fit toy:norm,n=5000 -o other.safetensors -n 5 --steps 1500 --seed 1 -q
check "another model with another seed" bash -c '! cmp -s m.safetensors other.safetensors'

run "$isovae" info m.safetensors
check "info" grep -q "^latents     5, " out
run "$isovae" info m.safetensors --json
check "info --json" grep -q '"format": "isovae-info/1"' out

run "$isovae" report m.safetensors $data --json r.json --csv tables
check "report, text" grep -q "variance_y" out
check "report, JSON" grep -q '"format": "isovae-report/1"' r.json
check "report, tables" test -s tables/latents.csv
run "$isovae" report m.safetensors $data --json -
check "report, JSON to standard output" cmp -s <(grep -v '"command"' out) <(grep -v '"command"' r.json)
run "$isovae" report m.safetensors $data --html r.html -q
check "report, page" grep -qi "<!doctype html>" r.html

# words as features, and labels that are none
awk 'BEGIN { srand(1); print "a,color,b,kind,n"
             for (i = 0; i < 600; i++) {
                 c = i % 3
                 printf "%f,%s,%f,%s,%d\n", 4 * c + rand(), i % 2 ? "red" : "blue", rand(),
                     c == 2 ? "far" : c == 1 ? "middle" : "near", i } }' >words.csv
run "$isovae" fit words.csv --categorical color --drop kind,n -o words.safetensors --steps 600
check "fit --categorical" grep -q "  4 features" out
check "fit --categorical tells what became of the words" \
    grep -q "1 column of words became 2 features: color (2)" err
run "$isovae" info words.safetensors --json
check "the model keeps the features" grep -q '"color=red"' out
awk -F, 'NR == 1 { print "kind,b,color,a" } NR > 1 && NR < 9 {
    printf "x,%s,%s,%s\n", $3, NR == 4 ? "green" : $2, $1 }' words.csv >later.csv
run "$isovae" score words.safetensors later.csv
check "score of words, columns in another order" test "$status $(wc -l <out)" = "0 8"
check "a new word is told" grep -q "1 row has in 'color' a value that the model has not seen ('green')" err
run "$isovae" report words.safetensors words.csv --rows all --labels kind --json words.json \
    --csv words --html words.html
check "report --labels: text" grep -q "kind: 3 classes, 600 rows; by chance 0.0033" out
check "report --labels: one latent tells the kinds" \
    grep -Eq '^ +[0-9]+ +0\.[89][0-9]+ +(0\.9[0-9]+|1\.000)  (near|far) \((low|high) y\)$' out
check "report --labels: JSON" grep -q '"kind": "classes"' words.json
check "report --labels: table" grep -q "^rank,active,eta2,auroc,class,side$" words/labels.csv
check "report --labels: page" grep -q '<section id="labels">' words.html
cut -d, -f5 words.csv >n.csv
run "$isovae" report words.safetensors words.csv --rows all --labels n.csv --json -
check "report --labels: a file of numbers" grep -q '"kind": "numbers"' out
run "$isovae" report words.safetensors words.csv --labels other
check "report --labels: no such column" test "$status" = 2
check "report --labels: says so" grep -q -- "--labels: words.csv: there is no column 'other'" err

# tail_prob: of rows like the training's, a share of P is flagged
run "$isovae" score m.safetensors toy:norm,n=4000,seed=8 --fpr 0.05
flagged=$(awk -F, '$6 == 1' out | wc -l)
check "score --fpr 0.05 flags about 5 in 100 rows ($flagged of 4000)" \
    test "$flagged" -gt 100 -a "$flagged" -lt 320
check "flags are the rows whose tail_prob is below" \
    awk -F, 'NR > 1 && ($5 < 0.05) != $6 { exit 1 }' out
head -n 3 out >three
{
    printf 'x1'
    printf ',x%d' $(seq 2 16)
    echo
    for row in 1 2; do printf '%s\n' "0,0,0,$((row * 9)),0,0,0,0,0,0,0,0,0,0,0,0"; done
} >far.csv
run "$isovae" score m.safetensors far.csv --explain=2 -q
check "a row far from the data is flagged, and x4 is named" \
    awk -F, 'NR > 1 && ($6 != 1 || $8 !~ /^x[0-9]+ [0-9.e+]+; /) { exit 1 }
             NR > 1 && $8 !~ /x4 / { exit 1 }' out
check "the farther row is less probable" awk -F, 'NR == 2 { a = $2 } NR == 3 && !($2 < a) { exit 1 }' out
for estimate in elbo posterior logdet laplace; do
    run "$isovae" score m.safetensors $data --estimate $estimate
    check "score --estimate $estimate" test "$status $(wc -l <out)" = "0 501"
done

# there and back
run "$isovae" encode m.safetensors $data
cp out mu.csv
check "encode: columns" test "$(head -n 1 mu.csv)" = "id,mu0,mu1,mu2,mu3,mu4"
run "$isovae" encode m.safetensors $data --sigma --isometric -o y.csv
check "encode --isometric --sigma: columns" \
    test "$(head -n 1 y.csv)" = "id,y0,y1,y2,y3,y4,sigma0,sigma1,sigma2,sigma3,sigma4"
run "$isovae" encode m.safetensors $data -o mu.npy
run "$isovae" decode m.safetensors mu.csv
cp out x.csv
check "decode: columns" test "$(head -n 1 x.csv | cut -d, -f1-2,16)" = "x1,x2,x16"
run "$isovae" decode m.safetensors mu.npy
check "decode reads what encode wrote, .npy as .csv" cmp out x.csv
close() { # FILE FILE LIMIT: the largest difference
    paste -d, "$1" "$2" | awk -F, -v limit="$3" 'NR > 1 { for (i = 1; i <= NF / 2; i++) {
        d = $i - $(i + NF / 2); if (d < 0) d = -d; if (d > most) most = d } } END { exit !(most <= limit) }'
}
run "$isovae" decode m.safetensors y.csv --isometric
check "decode --isometric undoes encode --isometric" close out x.csv 0.001

run "$isovae" sample m.safetensors -n 4 -s 5
cp out s.csv
run "$isovae" sample m.safetensors -n 8 -s 5 --threads 2
check "sample: the first rows do not depend on how many are drawn" cmp <(head -n 5 out) s.csv
run "$isovae" sample m.safetensors -n 4 -s 6
check "sample: another seed, other rows" bash -c '! cmp -s out s.csv'
run "$isovae" sample m.safetensors -n 4 -s 5 --noise
check "sample --noise: near the rows without" close out s.csv 1

run "$isovae" traverse m.safetensors --steps 9 --latents 0,1
check "traverse: 2 latents of 9 points" test "$status $(wc -l <out)" = "0 19"
check "traverse: equal steps of y" awk -F, 'NR > 2 && $2 > 1 { s = $3 - y; if (s0 && (s - s0) ^ 2 > 1e-9) exit 1 }
    NR > 1 { s0 = $2 > 1 ? $3 - y : 0; y = $3 }' out
check "traverse: measured distance near the step in y" awk -F, 'NR > 1 && $2 > 2 && $2 < 7 {
    r = $5 / ($3 - y); if (r < 0.8 || r > 1.25) exit 1 } NR > 1 { y = $3 }' out
run "$isovae" traverse m.safetensors --steps 3 --latents 2 --range 0.5y
check "traverse --range in y" awk -F, 'NR > 1 && ($1 != 2 || ($3 - 0.5 * ($2 - 1)) ^ 2 > 1e-12) { exit 1 }
    END { exit NR != 4 }' out
run "$isovae" traverse m.safetensors $data --row 7 --steps 3 --latents 0-2
cp out around.csv
run "$isovae" encode m.safetensors $data --isometric
check "traverse from a row: y in the middle is that of the row" \
    awk -F, 'NR == FNR { if (FNR == 8) for (i = 0; i < 3; i++) y[i] = $(i + 2); next }
        FNR > 1 && $2 == 1 && ($3 - y[$1]) ^ 2 > 1e-8 { exit 1 }' out around.csv
run "$isovae" traverse m.safetensors $data --row 7 -o t.json
check "traverse from a row, JSON" grep -q '"format": "isovae-traversal/1"' t.json

# images: 200 of 6 x 6 bytes, a bar that moves and changes its brightness
{
    printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "{'descr': '|u1', 'fortran_order': False, 'shape': (200, 6, 6), }"
    LC_ALL=C awk 'BEGIN { for (k = 0; k < 200; k++) for (i = 0; i < 36; i++)
        printf "%c", int(i / 6) == k % 6 ? 33 + (k * 7) % 90 : 1 }'
} >images.npy
run "$isovae" fit images.npy -o images.safetensors --steps 300 -n 3 --arch mlp:32
check "fit on images" test "$status" = 0
size_of() { # FILE.png: "width height"
    od -An -tu1 -j 16 -N 8 "$1" | awk '{ print ($3 * 256 + $4), ($7 * 256 + $8) }'
}
run "$isovae" traverse images.safetensors --latents 0-1 --steps 5 --range 2 -o sheet.png
# as wide as its title of 56 letters; title and heads, 2 rows of 48 + 3 + 11 for the numbers
check "traverse draws a labelled sheet" test "$status $(size_of sheet.png)" = "0 348 158"
run "$isovae" traverse images.safetensors images.npy --row 2 --latents 0-1 --steps 5 -o row.png
check "around a row: another sheet of the same size" \
    test "$(size_of row.png) $(cmp -s sheet.png row.png; echo $?)" = "348 158 1"
run "$isovae" sample images.safetensors -n 13 -o many.png
check "sample draws images, ten a row" test "$status $(size_of many.png)" = "0 522 114"
run "$isovae" report images.safetensors images.npy --html images.html
check "report on images, page" test "$status" = 0 -a -s images.html
finish
