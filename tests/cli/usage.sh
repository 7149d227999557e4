#!/bin/bash
# shellcheck disable=SC2034,SC2154 # variables of lib/common.bash
# Command lines that are wrong: exit status 2, one line that names the option and says what to do.
# shellcheck source=/dev/null
source "$(dirname "$0")/lib/common.bash"
printf 'a,b\n1,2\n3,4\n5,6\n' >t.csv

refuse unknown-command 2 "$isovae" fti t.csv
refuse unknown-command-far 2 "$isovae" frobnicate
refuse unknown-option 2 "$isovae" fit t.csv -o m --latent-dmi 3
refuse unknown-option-beginning 2 "$isovae" fit t.csv -o m --latent 3
refuse unknown-letter 2 "$isovae" fit t.csv -o m -Z
refuse option-of-another-command 2 "$isovae" report m t.csv --latent-dim 3
refuse no-value 2 "$isovae" fit t.csv -o m --beta
refuse value-for-a-flag 2 "$isovae" fit t.csv -o m --quiet=yes
refuse no-data 2 "$isovae" fit -o m
refuse too-many-arguments 2 "$isovae" fit t.csv u.csv -o m
refuse no-output 2 "$isovae" fit t.csv
refuse output-to-stdout 2 "$isovae" fit t.csv -o -
refuse beta-zero 2 "$isovae" fit t.csv -o m --beta 0
refuse beta-negative 2 "$isovae" fit t.csv -o m --beta -1
refuse beta-text 2 "$isovae" fit t.csv -o m --beta much
refuse beta-nan 2 "$isovae" fit t.csv -o m --beta nan
refuse beta-comma 2 "$isovae" fit t.csv -o m --beta 0,5
refuse latent-dim-zero 2 "$isovae" fit t.csv -o m --latent-dim 0
refuse latent-dim-too-large 2 "$isovae" fit t.csv -o m --latent-dim 3
refuse latent-dim-overflow 2 "$isovae" fit t.csv -o m --latent-dim 99999999999999999999
refuse seed-negative 2 "$isovae" fit t.csv -o m --seed -1
refuse objective-unknown 2 "$isovae" fit t.csv -o m --objective other
refuse loss-unknown 2 "$isovae" fit t.csv -o m --loss other
refuse ssim-of-a-table 2 "$isovae" fit t.csv -o m --loss ssim --beta 1e-3
image_idx() { # FILE SIDE: 20 pictures
    printf '\0\0\010\003\0\0\0\024\0\0\0\'"$(printf %o "$2")"'\0\0\0\'"$(printf %o "$2")" >"$1"
    seq 1 9999 | head -c $((20 * $2 * $2)) >>"$1"
}
image_idx small 10
image_idx pictures 12
refuse ssim-window 2 "$isovae" fit small -o m --loss ssim --beta 1e-3
refuse ssim-without-beta 2 "$isovae" fit pictures -o m --loss ssim
refuse ssim-scale 2 "$isovae" fit pictures -o m --loss ssim --beta 1e-3 --scale standard
refuse arch-unknown 2 "$isovae" fit t.csv -o m --arch other
refuse activation-unknown 2 "$isovae" fit t.csv -o m --activation other
refuse scale-unknown 2 "$isovae" fit t.csv -o m --scale other
refuse isa-unknown 2 "$isovae" fit t.csv -o m --isa other
refuse isa-unknown-environment 2 env ISOVAE_ISA=other "$isovae" fit t.csv -o m
refuse validation-out-of-range 2 "$isovae" fit t.csv -o m --validation 1.5
refuse quick-and-steps 2 "$isovae" fit t.csv -o m --quick --steps 5
refuse epochs-and-steps 2 "$isovae" fit t.csv -o m --epochs 3 --steps 5
refuse split-and-validation 2 "$isovae" fit t.csv -o m --split-by b --validation 0.2
refuse header-and-no-header 2 "$isovae" fit t.csv -o m --header --no-header
refuse threads-too-many 2 "$isovae" fit t.csv -o m --threads 5000
refuse max-time-without-unit 2 "$isovae" fit t.csv -o m --max-time 30
refuse max-time-nothing 2 "$isovae" fit t.csv -o m --max-time 0s
refuse max-time-order 2 "$isovae" fit t.csv -o m --max-time 30m1h
refuse checkpoint-every-text 2 "$isovae" fit t.csv -o m --checkpoint-every often
refuse log-in-no-folder 4 "$isovae" fit toy:norm,n=100 -o m --steps 5 -q --log nowhere/run.jsonl
refuse tensorboard-is-a-file 4 "$isovae" fit toy:norm,n=100 -o m --steps 5 -q --tensorboard t.csv
refuse lr-negative 2 "$isovae" fit t.csv -o m --lr -0.1
refuse suffix-unknown 2 "$isovae" score m t.csv -o scores.xls
refuse estimate-unknown 2 "$isovae" score m t.csv --estimate other
refuse fpr-out-of-range 2 "$isovae" score m t.csv --fpr 2
refuse explain-zero 2 "$isovae" score m t.csv --explain=0
filter='s/loss of [0-9.e+]*/loss of N/' # differs between instruction sets
refuse diverged 5 "$isovae" fit toy:norm,n=500 -o m --loss weighted:down --lr 1 --steps 500 --lr-schedule constant
filter=
refuse toy-unknown 2 "$isovae" fit toy:nrom -o m
refuse toy-option-unknown 2 "$isovae" fit toy:norm,rows=5 -o m
finish
