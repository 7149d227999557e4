#!/bin/bash
# shellcheck disable=SC2034,SC2154 # variables of lib/common.bash
# What goes where: results to standard output or the file of -o, messages to standard error; files whole
# or not at all; places that cannot be written are found out before the work.
# shellcheck source=/dev/null
source "$(dirname "$0")/lib/common.bash"
"$isovae" fit toy:norm,n=2000 -o m.safetensors -n 4 --steps 400 -q 2>fit.err >fit.out
if [ $? = 0 ] && [ ! -s fit.err ] && [ ! -s fit.out ] && [ -s m.safetensors ]; then
    pass "fit -q says nothing and writes the model"
else
    fail "fit -q says nothing and writes the model" "$(cat fit.err fit.out)"
fi
[ -e m.safetensors.ckpt ] && fail "no checkpoint is left behind" || pass "no checkpoint is left behind"

run "$isovae" score m.safetensors toy:norm,n=20,seed=2
if [ "$status" = 0 ] && [ "$(wc -l <out)" = 21 ] &&
    [ "$(head -n 1 out)" = "id,log_density,residual,latent,tail_prob,flag,status" ] &&
    [ "$(grep -c 'higher = more probable' err)" = 1 ]; then
    pass "scores go to standard output, the remark to standard error, once"
else
    fail "scores go to standard output, the remark to standard error, once" "$(head -n 2 out)" "$(cat err)"
fi
cp out scores.out
if ! grep -q $'\r\|\033' err; then
    pass "no progress bar where standard error is no terminal"
else
    fail "no progress bar where standard error is no terminal"
fi
run "$isovae" score m.safetensors toy:norm,n=20,seed=2 -q -o scores.csv
if [ "$status" = 0 ] && [ ! -s out ] && [ ! -s err ] && cmp -s scores.csv scores.out; then
    pass "-o FILE.csv holds what standard output would"
else
    fail "-o FILE.csv holds what standard output would" "$(cat err)"
fi
run "$isovae" score m.safetensors toy:norm,n=20,seed=2 -o scores.json
check "-o FILE.json is JSON that says how to read it" \
    grep -q '"remark": "log_density in nats, in data units: higher = more probable"' scores.json
run "$isovae" encode m.safetensors toy:norm,n=20,seed=2 -o z.npy
check "-o FILE.npy holds 20 x 4 doubles" \
    test "$(head -c 128 z.npy | tr -d '\0' | grep -c "(20, 4)") $(wc -c <z.npy)" = "1 768"

for command in "help" "version" "help fit" "info m.safetensors" "score m.safetensors toy:norm,n=20" \
    "report m.safetensors toy:norm,n=200" "sample m.safetensors -n 5"; do
    # shellcheck disable=SC2086
    "$isovae" $command >/dev/full 2>err
    status=$?
    if [ $status = 4 ] && [ "$(grep -c 'standard output: No space left on device' err)" = 1 ]; then
        pass "isovae ${command%% *}: a full disk behind standard output is told (${command##* })"
    else
        fail "isovae ${command%% *}: a full disk behind standard output is told (${command##* })" \
            "exit status $status" "$(cat err)"
    fi
done

mkdir place
echo old >old.safetensors
refuse output-in-no-folder 4 "$isovae" fit toy:norm -o nowhere/m.safetensors
refuse output-is-a-folder 4 "$isovae" fit toy:norm -o place
refuse scores-in-no-folder 4 "$isovae" score m.safetensors toy:norm,n=20 -o nowhere/s.csv
refuse html-in-no-folder 4 "$isovae" report m.safetensors toy:norm,n=20 --html nowhere/r.html
refuse csv-is-a-file 4 "$isovae" report m.safetensors toy:norm,n=20 --csv old.safetensors
refuse scores-to-full 4 "$isovae" score m.safetensors toy:norm,n=20 -q -o /dev/full
refuse demo-in-no-folder 4 "$isovae" demo -o nowhere/demo

# A disk that fills up, in small: a limit on the size of files.
limited() { (
    trap '' XFSZ
    ulimit -f 8
    exec "$isovae" fit toy:norm,n=200 -q -n 3 --steps 10 --arch mlp:100,100 -o old.safetensors
); }
filter='s#: /.*/old#: old#'
refuse disk-fills-up 4 limited
check "the file that was there is still there" grep -qx old old.safetensors
if [ "$(id -u)" = 0 ]; then
    skip "a read-only folder" "root writes everywhere"
else
    chmod 500 place
    refuse output-in-read-only-folder 4 "$isovae" fit toy:norm -o place/m.safetensors
    chmod 700 place
fi
finish
