#!/bin/sh
# Dependencies point downwards only: a folder of src/ includes nothing from a folder above it, and
# the library nothing from the command. Prints each include that does otherwise.
set -eu
cd "$(dirname "$0")/.."
find src cli -name '*.[ch]' -print0 | sort -z | xargs -0 awk '
    BEGIN {
        n = split("base data linalg kernels graph metric model onnx theory train report api cli", names)
        for (i = 1; i <= n; i++) rank[names[i]] = i
    }
    function folder(path, parts, count) {
        count = split(path, parts, "/")
        return parts[1] == "cli" ? "cli" : count > 2 ? parts[2] : ""
    }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
        split($0, quoted, "\"")
        count = split(quoted[2], parts, "/")
        if (count < 2) next # beside the file itself
        here = folder(FILENAME)
        if (!(parts[1] in rank)) {
            printf "%s:%d: \"%s\" is in no known folder\n", FILENAME, FNR, quoted[2]
            bad = 1
        } else if (rank[parts[1]] > rank[here]) {
            printf "%s:%d: %s includes \"%s\" from above\n", FILENAME, FNR, here, quoted[2]
            bad = 1
        }
    }
    END { exit bad }'
