/* Presets: one name for the values of many options, chosen by the size of the data. What the user
 * gives besides takes the place of the preset's value. */
#ifndef IV_TRAIN_PRESET_H
#define IV_TRAIN_PRESET_H

#include "train/train.h"

/* Sizes of data: fewer than 1,000 rows; more; 20,000 or more; and these with 50 columns or more. */
typedef enum iv_preset_size {
    IV_PRESET_FEW = 0,
    IV_PRESET_SOME = 1,
    IV_PRESET_MANY = 2,
    IV_PRESET_WIDE = 3,
    IV_PRESET_SIZES = 4
} iv_preset_size;

/* An option's value, as it would be typed, for each size. */
typedef struct iv_preset_row {
    const char *option; /* without the dashes */
    const char *value[IV_PRESET_SIZES];
} iv_preset_row;

typedef struct iv_preset {
    const char *name, *summary;
    const iv_preset_row *rows;
    size_t n_rows;
} iv_preset;

extern const iv_preset iv_presets[];
extern const size_t iv_n_presets;
const iv_preset *iv_preset_find(const char *name); /* or NULL */
/* In words, for help. */
const char *iv_preset_size_name(iv_preset_size size);

/* Fills `options` (from iv_fit_options_init) with the preset's values for these data. Strings are
 * static. ISOVAE_ERR_ARGUMENT where there is no such preset. */
isovae_status iv_preset_apply(const char *name, const iv_dataset *data, iv_fit_options *options,
                              isovae_error *err) ISOVAE_MUST_CHECK;

#endif
