#!/bin/bash
# shellcheck disable=SC2034,SC2154 # variables of lib/common.bash
# Ensembles and the preset from the command line: training, members, scores, resume after a kill.
# shellcheck source=/dev/null
source "$(dirname "$0")/lib/common.bash"
options=("toy:norm,n=1000" -n 3 --arch mlp:16 --steps 2000 --ensemble 3 --threads 1 --isa baseline -q)

run "$isovae" fit "${options[@]}" -o whole.safetensors
check "fit --ensemble" test "$status" = 0
run "$isovae" info whole.safetensors
check "info names the members" grep -q "^ensemble    3 members, below is member 0" out
run "$isovae" info whole.safetensors --member 2 --json
check "info --member as JSON" bash -c 'grep -q "\"member\": 2" out && grep -q "\"members\"" out'
run "$isovae" report whole.safetensors toy:norm,n=300,seed=3 --iwae 0 --json r.json
check "the report says how they agree" grep -q "^  members  *3, this is member 0; active .*; elbo .*, SD " out
check "and of which it is" grep -q "this is about member 0 (--member K for another)" err
check "also as JSON" grep -q '"ensemble"' r.json
run "$isovae" encode whole.safetensors toy:norm,n=20,seed=3 -o e0.csv
run "$isovae" encode whole.safetensors toy:norm,n=20,seed=3 --member 1 -o e1.csv
check "encode --member is of another network" bash -c 'test -s e1.csv && ! cmp -s e0.csv e1.csv'
run "$isovae" decode whole.safetensors e1.csv --member 1
check "decode --member" test "$status" = 0
run "$isovae" sample whole.safetensors -n 3 --member 2
check "sample --member" test "$status" = 0
run "$isovae" traverse whole.safetensors --member 1
check "traverse --member" test "$status" = 0
run "$isovae" score whole.safetensors toy:norm,n=300,seed=3 -o s.csv
check "score of all members" bash -c 'test "$(wc -l <s.csv)" = 301 && ! grep -q nan s.csv'
run "$isovae" encode whole.safetensors toy:norm,n=20 --member 3
check "a member that is not there" bash -c 'test '"$status"' = 2 && grep -q -e "--member: the model has 3 members" err'
run "$isovae" fit toy:norm,n=100 -o x.safetensors --ensemble 2 --init-from whole.safetensors
check "--init-from does not go with it" test "$status" = 2

# killed in the second member, gone on with
"$isovae" fit "${options[@]}" -o killed.safetensors --checkpoint-every 200 >out 2>err </dev/null &
pid=$!
for ((i = 0; i < 500; i++)); do
    head -c 100000 killed.safetensors.ckpt 2>/dev/null | grep -aq 'member1\.' && break
    sleep 0.01
done
kill -KILL $pid 2>/dev/null
wait $pid 2>/dev/null
if [ -e killed.safetensors ] || [ ! -e killed.safetensors.ckpt ]; then
    skip "--resume after a kill" "the run was over before"
else
    run "$isovae" fit "${options[@]}" -o killed.safetensors --resume killed.safetensors.ckpt
    check "--resume ends in the same bytes" cmp whole.safetensors killed.safetensors
fi

# the preset: its values, and what is given besides
awk 'BEGIN { print "a,b,flag,constant"; for (i = 0; i < 300; i++) { u = sin(12.9 * i); print 5 * u "," 2 * u + sin(i) / 9 "," (u > 0.2) ",1" } }' >t.csv
run "$isovae" fit t.csv -o a.safetensors --preset anomaly --steps 200 --ensemble 2
check "fit --preset anomaly" bash -c 'test '"$status"' = 0 && grep -q "loss student, scale mixed" out'
check "with what was given" grep -q "an ensemble of 2" out
check "with what was given, of the steps" grep -q "400 steps" out
printf 'a,b,flag,constant\n0,0,0,1\n0,0,0,2\n0,40,0,1\n' >odd.csv
run "$isovae" score a.safetensors odd.csv -o odd-scores.csv --explain=1
check "a constant that changes is explained" bash -c 'sed -n 3p odd-scores.csv | grep -q "constant 5\." '
check "an odd value is flagged" bash -c 'sed -n 4p odd-scores.csv | cut -d, -f6 | grep -qx 1'
run "$isovae" fit t.csv -o s.safetensors --preset anomaly --steps 100 --loss sse --weight-decay 0 --epochs 3
check "steps and epochs exclude each other with a preset as well" test "$status" = 2
run "$isovae" fit t.csv -o s.safetensors --preset anomaly --loss sse --epochs 3 -q
check "a preset with another loss" test "$status" = 0
run "$isovae" fit t.csv -o s.safetensors --preset none
check "a preset that is not there" bash -c 'test '"$status"' = 2 && grep -q "anomaly" err'
finish
