/* Pictures from their files to rows, as before a fit: 10,000 JPEGs of 89 x 109 pixels out of a zip,
 * cropped to squares and resized to 64 x 64. */
#include "bench.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct decode {
    bench *b;
    char path[4200];
} decode;

static const char *find(char path[4200])
{
    const char *folder = getenv("ISOVAE_DATA");
    (void)snprintf(path, 4200, "%.4000s/celeba_10k/celeba_000001-010000_89x109.zip",
                   folder != NULL ? folder : "../shared/data");
    return access(path, R_OK) == 0 ? path : NULL;
}

bool bench_decode_here(void)
{
    char path[4200];
    return find(path) != NULL;
}

void *bench_decode_start(bench *b, const char *name)
{
    (void)name;
    isovae_error err = {0};
    decode *s;
    bench_must(IV_NEW(s, 1, "decoding", &err), &err);
    s->b = b;
    (void)find(s->path);
    return s;
}

void bench_decode_once(void *state)
{
    decode *s = state;
    isovae_error err = {0};
    iv_data_options options;
    iv_dataset *data;
    iv_data_options_init(&options);
    options.crop = "89,89,15,0";
    options.size = "64";
    options.pool = s->b->pool;
    bench_must(iv_dataset_open(s->path, &options, &data, &err), &err);
    iv_dataset_free(data);
}

void bench_decode_stop(void *state)
{
    iv_free(state);
}
