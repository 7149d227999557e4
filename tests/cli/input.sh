#!/bin/bash
# shellcheck disable=SC2034,SC2154 # variables of lib/common.bash
# Bad data: exit status 3 (4 where the system refuses), one clear line, nothing written.
# shellcheck source=/dev/null
source "$(dirname "$0")/lib/common.bash"
fit() { "$isovae" fit "$@" -o m.safetensors --steps 20; }
# shellcheck disable=SC2059
bytes() { printf "$1" >"$2"; }

: >empty.csv
printf 'a,b,c\n1,2,3\n4,abc,6\n7,8,9\n' >text.csv
printf 'a,b,c\n1,2,3\n4,5\n7,8,9\n' >ragged.csv
printf 'a,b,c\n1,2,3\n4,,6\n7,8,9\n' >missing.csv
printf 'a,b,c\n1,2,3\n4,nan,6\n7,8,9\n' >nan.csv
printf 'a,b,c\n1,2,3\n4,inf,6\n7,8,9\n' >inf.csv
printf 'a,b,c\n1,2,3\n' >one-row.csv
printf 'a,b,c\n' >no-rows.csv
printf 'a,b\n1,1\n1,1\n1,1\n1,1\n' >constant.csv
printf 'a,b\n0.5,2\n0.1,0\n0.2,1\n0.9,0\n0.3,0.5\n' >above-one.csv
printf 'name,b,c\nx,2,3\ny,5,6\nz,1,9\n' >names.csv

# npy files made by hand: 4 x 3 of f4
header="{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3), }"
npy() { # FILE HEADER DATA-BYTES
    local padded
    padded=$(printf '%-117s' "$2")
    { printf '\x93NUMPY\x01\x00\x76\x00%s\n' "$padded"; head -c "$3" /dev/zero; } >"$1"
}
npy truncated.npy "$header" 30
npy promises.npy "${header/(4, 3)/(4000000000, 3000000000)}" 48
npy overflow.npy "${header/(4, 3)/(9223372036854775807, 9)}" 48
npy objects.npy "${header/<f4/|O}" 48
npy header.npy "{'descr': '<f4', 'fortran_order': False" 48
bytes '\x93NUMPY\x01\x00' cut-header.npy
bytes '\x93NUMPX\x01\x00\x76\x00' magic.npy
bytes '\x00\x00\x08\x03\x00\x00\x27\x10\x00\x00\x00\x1c\x00\x00\x00\x1c\x01\x02' idx-truncated
printf 'a,b\n1,2\n3,4\n' | gzip -c | head -c 20 >truncated.csv.gz
bytes 'PK\x03\x04garbage' garbage.npz
bytes '\x89HDF\r\n\x1a\n' file.h5

refuse no-such-file 4 fit nothing.csv
mkdir only-text && cp text.csv only-text
refuse a-folder 3 fit only-text
refuse empty-file 3 fit empty.csv
refuse text-in-a-number-column 3 fit text.csv
refuse text-column 3 fit names.csv
refuse ragged-rows 3 fit ragged.csv
refuse missing-value 3 fit missing.csv
refuse nan-value 3 fit nan.csv
refuse infinite-value 3 fit inf.csv
refuse one-row 3 fit one-row.csv
refuse no-rows 3 fit no-rows.csv
refuse all-constant 3 fit constant.csv
refuse bce-above-one 3 fit above-one.csv --loss bce
refuse column-not-there 2 fit text.csv --columns a,z
refuse id-not-there 2 fit text.csv --id z
refuse split-by-not-there 2 fit text.csv --split-by z
refuse npy-truncated 3 fit truncated.npy
refuse npy-promises-too-much 3 fit promises.npy
refuse npy-overflow 3 fit overflow.npy
refuse npy-objects 3 fit objects.npy
refuse npy-header 3 fit header.npy
refuse npy-cut-header 3 fit cut-header.npy
refuse npy-magic 3 fit magic.npy
refuse idx-truncated 3 fit idx-truncated
refuse gz-truncated 3 fit truncated.csv.gz
refuse npz-garbage 3 fit garbage.npz
refuse hdf5 2 fit file.h5
refuse resume-no-checkpoint 3 fit toy:norm,n=100 --resume text.csv
refuse init-from-no-model 3 fit toy:norm,n=100 --init-from text.csv
refuse validation-file-not-there 4 fit toy:norm,n=100 --validation nothing.csv
refuse validation-file-without-columns 3 fit one-row.csv --validation constant.csv

# Pictures: 3 x 3 of RGB, and one of 2 x 4.
picture() { base64 -d >"$1"; }
mkdir pictures sizes
picture pictures/0.png <<<iVBORw0KGgoAAAANSUhEUgAAAAMAAAADCAIAAADZSiLoAAAAJklEQVR42mNgYGDg5OQUEhJiYBBU4pTSFlI2YWBQcuHU9hUyCQMAGjQCv86qPdgAAAAASUVORK5CYII=
picture pictures/1.png <<<iVBORw0KGgoAAAANSUhEUgAAAAMAAAADCAIAAADZSiLoAAAAJklEQVR42mMwMjKytrZ2cXFhMHIOsfaJdQlNYzAKKbOOrXdJ6wAAaU4IBR6GZwEAAAAASUVORK5CYII=
picture pictures/2.png <<<iVBORw0KGgoAAAANSUhEUgAAAAMAAAADCAIAAADZSiLoAAAAJklEQVR42mNISUnJzc0tKytjSClty63rL2ufwZDStiK3f2PZjF0AuGgNS9gF0K4AAAAASUVORK5CYII=
picture pictures/3.png <<<iVBORw0KGgoAAAANSUhEUgAAAAMAAAADCAIAAADZSiLoAAAAKUlEQVR42gEeAOH/AJaWlp+fn6ioqACWp7ifsMGoucoAlrjan8HjqMrsB5ESkWk5De4AAAAASUVORK5CYII=
cp pictures/0.png sizes/a.png
picture sizes/b.png <<<iVBORw0KGgoAAAANSUhEUgAAAAQAAAACCAIAAADwyuo0AAAAIklEQVR42mOIi4tLT08vKCiorKxkiMtvSK/oLGicVNk1GwCEmgrhOQTrSgAAAABJRU5ErkJggg==
echo text >pictures/4.txt
mkdir empty

refuse picture-alone 3 fit pictures/0.png
refuse pictures-strict 3 fit pictures --strict
refuse pictures-of-two-sizes 3 fit sizes
refuse pictures-crop-syntax 2 fit pictures --crop middle
refuse pictures-size-syntax 2 fit pictures --size 64px
refuse pictures-have-no-columns 2 fit pictures --columns 1-3
refuse size-of-a-table 2 fit text.csv --size 64
refuse folder-without-files 3 fit empty
refuse memory-too-small 2 fit pictures --memory 5KB
awk 'BEGIN { for (i = 0; i < 40000; i++) print i % 7, i % 5, i % 3, i % 11, i % 13, i % 17, i % 19 }' >toy-cache.csv
refuse cache-cannot-be 4 fit toy-cache.csv --memory 1MB --cache text.csv
refuse blobs-over-the-edge 2 fit blobs:x=30

# What looks bad and is fine: a note, and a model.
accept() { # NAME NOTE COMMAND...
    local name=$1 note=$2
    shift 2
    rm -f m.safetensors
    run "$@"
    if [ "$status" = 0 ] && [ -s m.safetensors ] && { [ -z "$note" ] || grep -qF -- "$note" err; }; then
        pass "$name"
    else
        fail "$name" "exit status $status" "$(cat err)"
    fi
}
awk -v OFS=, 'BEGIN { print "a,b,k,c"; for (i = 0; i < 40; i++) print i % 7, i % 5, 3, (i * i) % 11 }' >some.csv
accept "a constant column is told and taken" "k" fit some.csv
accept "fewer rows than the batch are taken" "" fit some.csv --validation 0
sed '5s/.*/1,,3,2/' some.csv >gap.csv
accept "with --missing row a gap leaves out its row" "1 of 40 rows" fit gap.csv --missing row
accept "a file without header" "" fit <(tail -n +2 some.csv) --no-header
accept "a checkpoint that is not there yet is a start from the beginning" "nothing.ckpt" \
    fit toy:norm,n=100 --resume nothing.ckpt
accept "a folder of pictures" "1 of 5 files left out: 4.txt (neither JPEG nor PNG)" \
    fit pictures --validation 0 --beta 1 --latent-dim 1
accept "pictures of two sizes brought to one" "" fit sizes --size 2x3 --grey --validation 0
accept "images with known factors" "" fit blobs:n=60,size=16
accept "a row cache that is kept" "" fit toy-cache.csv --memory 1MB --cache kept
accept "and used again" "" fit toy-cache.csv --memory 1MB --cache kept
accept "names of rows" "" fit names.csv --id name --validation 0 --latent-dim 1
from_pipe() { "$isovae" fit - -o m.safetensors --steps 20 <some.csv; }
accept "CSV from standard input" "" from_pipe
finish
