/* The model file: round trips, damage of every kind, forgeries under a right checksum. */
#include "support_model.h"

#include "model/safetensors.h"

#include <unistd.h>
#include <xxhash.h>

static void same_numbers(const double *a, const double *b, size_t n)
{
    assert_memory_equal(a, b, n * sizeof *a);
}

static void check_same(const iv_model *a, const iv_model *b)
{
    assert_int_equal(a->d, b->d);
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(a->param_elements, b->param_elements);
    assert_memory_equal(a->params, b->params, a->param_elements * iv_dtype_size(a->dtype));
    assert_string_equal(a->arch, b->arch);
    assert_int_equal(a->metric.loss, b->metric.loss);
    same_numbers(&a->metric.c0, &b->metric.c0, 1);
    same_numbers(&a->metric.c1, &b->metric.c1, 1);
    same_numbers(&a->beta, &b->beta, 1);
    assert_int_equal(a->beta_auto, b->beta_auto);
    assert_int_equal(a->objective, b->objective);
    assert_int_equal(a->scaling.kind, b->scaling.kind);
    assert_int_equal(a->scaling.uniform, b->scaling.uniform);
    same_numbers(a->scaling.shift, b->scaling.shift, a->d);
    same_numbers(a->scaling.scale, b->scaling.scale, a->d);
    same_numbers(a->scaling.weight, b->scaling.weight, a->d);
    for (size_t i = 0; i < a->d; i++) assert_string_equal(a->names[i], b->names[i]);
    assert_int_equal(a->named, b->named);
    assert_int_equal(a->height, b->height);
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->channels, b->channels);
    same_numbers(&a->logvar_lo, &b->logvar_lo, 1);
    same_numbers(&a->logvar_hi, &b->logvar_hi, 1);
    assert_true(a->seed == b->seed && a->steps == b->steps && a->data_hash == b->data_hash);
    assert_string_equal(a->data_source, b->data_source);
    same_numbers(&a->validation_fraction, &b->validation_fraction, 1);
    assert_int_equal(a->train_rows, b->train_rows);
    assert_int_equal(a->validation_rows, b->validation_rows);
    assert_int_equal(a->split_by_column, b->split_by_column);
    assert_string_equal(a->version, b->version);
    assert_string_equal(a->isa, b->isa);
    assert_int_equal(a->n_history, b->n_history);
    for (size_t i = 0; i < a->n_history; i++) {
        assert_true(a->history[i].step == b->history[i].step);
        same_numbers(&a->history[i].beta, &b->history[i].beta, 5);
        assert_int_equal(isnan(a->history[i].validation), isnan(b->history[i].validation));
    }
    assert_int_equal(a->restarts, b->restarts);
    assert_int_equal(a->folded, b->folded);
    same_numbers(&a->train_loss, &b->train_loss, 1);
    assert_true(isnan(a->validation_loss) && isnan(b->validation_loss));
    assert_memory_equal(a->active, b->active, a->n);
    same_numbers(a->kl_mean, b->kl_mean, a->n);
    same_numbers(a->variance_y, b->variance_y, a->n);
    for (size_t j = 0; j < a->n; j++) {
        assert_int_equal(a->splines[j].n, b->splines[j].n);
        same_numbers(a->splines[j].u, b->splines[j].u, a->splines[j].n);
        same_numbers(a->splines[j].g, b->splines[j].g, a->splines[j].n);
        same_numbers(&a->splines[j].rms, &b->splines[j].rms, 1);
    }
    assert_int_equal(a->n_quantiles, b->n_quantiles);
    same_numbers(a->quantiles, b->quantiles, a->n_quantiles);
}

static void round_trip(void **state)
{
    (void)state;
    for (int dtype = IV_F32; dtype <= IV_F64; dtype++) {
        iv_model *model = full_model((iv_dtype)dtype);
        file_bytes first = bytes_of(model), again = bytes_of(model);
        same_bytes(first, again);
        iv_model *read = model_of(first);
        check_same(model, read);
        file_bytes second = bytes_of(read);
        same_bytes(first, second);
        /* The hash is the checksum in the file, XXH3 with its digits as zeros. */
        uint64_t hash;
        char digits[17];
        assert_int_equal(iv_model_hash(model, &hash, NULL), ISOVAE_OK);
        (void)snprintf(digits, sizeof digits, "%016llx", (unsigned long long)hash);
        assert_memory_equal(first.data + 37, digits, 16);
        memset(second.data + 37, '0', 16);
        assert_true(XXH3_64bits(second.data, second.length) == hash);
        iv_free(first.data);
        iv_free(second.data);
        iv_free(again.data);
        iv_model_free(read);
        iv_model_free(model);
    }
}

/* Fresh from the builder: no names, no calibration. And names that are not UTF-8. */
static void sparse_models(void **state)
{
    (void)state;
    iv_model *model = built("linear", 4, 2);
    ref_identity_scaling(model);
    file_bytes b = bytes_of(model);
    iv_model *read = model_of(b);
    assert_null(read->names);
    assert_true(isnan(read->train_loss));
    assert_int_equal(read->splines[1].n, 0);
    file_bytes second = bytes_of(read);
    same_bytes(b, second);
    iv_free(b.data);
    iv_free(second.data);
    iv_model_free(read);

    model->data_source = copy("caf\xe9 \xc3\xa9 \xed\xa0\x80.csv");
    b = bytes_of(model);
    read = model_of(b);
    assert_string_equal(read->data_source, "caf? \xc3\xa9 ???.csv");
    iv_free(b.data);
    iv_model_free(read);

    isovae_error err;
    unsigned char *bytes;
    size_t length;
    ((float *)model->params)[model->encoder->params[0].offset] = INFINITY;
    assert_int_equal(iv_model_write(model, NULL, 0, NULL, &bytes, &length, &err),
                     ISOVAE_ERR_DIVERGED);
    assert_non_null(strstr(err.message, model->encoder->params[0].name));
    ((float *)model->params)[model->encoder->params[0].offset] = 0;
    model->beta = (double)NAN;
    assert_int_equal(iv_model_write(model, NULL, 0, NULL, &bytes, &length, &err),
                     ISOVAE_ERR_DIVERGED);
    assert_non_null(strstr(err.message, "beta"));
    iv_model_free(model);
}

static void on_disk(void **state)
{
    (void)state;
    isovae_error err;
    char folder[] = "/tmp/isovae-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/m.safetensors", folder);
    iv_model *model = full_model(IV_F32), *read;
    ref_ok(iv_model_save(model, path, &err), &err);
    ref_ok(iv_model_load(path, &read, &err), &err);
    check_same(model, read);
    iv_model_free(read);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -1, SEEK_END), 0);
    assert_int_equal(fputc(0x55, file), 0x55);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(iv_model_load(path, &read, &err), ISOVAE_ERR_FORMAT);
    assert_null(read);
    assert_non_null(strstr(err.message, path));
    assert_non_null(strstr(err.message, "checksum"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(iv_model_load(path, &read, &err), ISOVAE_ERR_IO);
    assert_int_equal(rmdir(folder), 0);
    iv_model_free(model);
}

static void checkpoints(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model = full_model(IV_F32), *read;
    float moments[3] = {1, 2, 3}, moments_back[3];
    double best[2] = {0.1, 0.2}, best_back[2];
    iv_extra_tensor extra[] = {{"adam.m", IV_F32, 3, moments}, {"best", IV_F64, 2, best}};
    json_t *metadata = json_pack("{s:i, s:f}", "step", 17, "rate", 0.1), *back;
    file_bytes b;
    ref_ok(iv_model_write(model, extra, 2, metadata, &b.data, &b.length, &err), &err);
    ref_ok(iv_model_read(b.data, b.length, "test", &read, &back, &err), &err);
    check_same(model, read);
    assert_true(json_equal(metadata, back));
    ref_ok(iv_model_read_tensor(b.data, b.length, "adam.m", IV_F32, 3, moments_back, &err), &err);
    ref_ok(iv_model_read_tensor(b.data, b.length, "best", IV_F64, 2, best_back, &err), &err);
    assert_memory_equal(moments, moments_back, sizeof moments);
    assert_memory_equal(best, best_back, sizeof best);
    assert_int_equal(iv_model_read_tensor(b.data, b.length, "best", IV_F64, 3, best_back, &err),
                     ISOVAE_ERR_FORMAT);
    assert_int_equal(iv_model_read_tensor(b.data, b.length, "best", IV_F32, 2, best_back, &err),
                     ISOVAE_ERR_FORMAT);
    assert_int_equal(iv_model_read_tensor(b.data, b.length, "none", IV_F64, 2, best_back, &err),
                     ISOVAE_ERR_FORMAT);
    json_decref(back);
    iv_model_free(read);
    ref_ok(iv_model_read(b.data, b.length, "test", &read, NULL, &err), &err); /* as a model */
    iv_model_free(read);
    iv_free(b.data);
    /* Without the metadata of a checkpoint. */
    ref_ok(iv_model_write(model, extra, 2, NULL, &b.data, &b.length, &err), &err);
    ref_ok(iv_model_read(b.data, b.length, "test", &read, &back, &err), &err);
    assert_int_equal(json_object_size(back), 0);
    json_decref(back);
    iv_model_free(read);
    iv_free(b.data);
    b = bytes_of(model);
    ref_ok(iv_model_read(b.data, b.length, "test", &read, &back, &err), &err);
    assert_null(back);
    iv_model_free(read);
    iv_free(b.data);
    extra[1].name = model->encoder->params[0].name;
    assert_int_equal(iv_model_write(model, extra, 2, NULL, &b.data, &b.length, &err),
                     ISOVAE_ERR_INTERNAL);
    json_decref(metadata);
    iv_model_free(model);
}

static void refuse(const unsigned char *bytes, size_t length, isovae_status want)
{
    isovae_error err = {0};
    iv_model *model;
    isovae_status status = iv_model_read(bytes, length, "m.safetensors", &model, NULL, &err);
    if (status != want) fail_msg("status %d instead of %d: %s", status, want, err.message);
    assert_null(model);
    assert_non_null(strstr(err.message, "m.safetensors"));
}

static void damage(void **state)
{
    (void)state;
    iv_model *model = full_model(IV_F32);
    file_bytes b = bytes_of(model);
    for (size_t i = 0; i < b.length; i++) {
        for (unsigned bit = i < 64 ? 0 : (unsigned)(i % 8); bit < 8; bit += i < 64 ? 1 : 8) {
            b.data[i] ^= (unsigned char)(1u << bit);
            refuse(b.data, b.length, ISOVAE_ERR_FORMAT);
            b.data[i] ^= (unsigned char)(1u << bit);
        }
    }
    for (size_t length = 0; length < b.length; length++) {
        unsigned char *cut = malloc(length + 1); /* its own block: reading past it is seen */
        assert_non_null(cut);
        memcpy(cut, b.data, length);
        refuse(cut, length, ISOVAE_ERR_FORMAT);
        free(cut);
    }
    unsigned char *longer = malloc(b.length + 1);
    assert_non_null(longer);
    memcpy(longer, b.data, b.length);
    longer[b.length] = 0;
    refuse(longer, b.length + 1, ISOVAE_ERR_FORMAT);
    free(longer);
    iv_free(b.data);
    iv_model_free(model);
}

/* Forgeries with a right checksum. */

static void reseal(unsigned char *bytes, size_t length)
{
    char digits[17];
    memset(bytes + 37, '0', 16);
    (void)snprintf(digits, sizeof digits, "%016llx",
                   (unsigned long long)XXH3_64bits(bytes, length));
    memcpy(bytes + 37, digits, 16);
}

/* `from` once, in the header, replaced by `to`; the header grows or shrinks by blanks. */
static file_bytes forged(file_bytes b, const char *from, const char *to)
{
    uint64_t header;
    memcpy(&header, b.data, 8);
    const unsigned char *at = memmem(b.data + 8, header, from, strlen(from));
    if (at == NULL) fail_msg("nothing to forge: %s", from);
    size_t before = (size_t)(at - b.data), rest = 8 + header - before - strlen(from);
    size_t room = header + strlen(to) + 8;
    file_bytes out = {calloc(8 + room + b.length, 1), 0};
    assert_non_null(out.data);
    memset(out.data, ' ', 8 + room);
    memcpy(out.data, b.data, before);
    memcpy(out.data + before, to, strlen(to));
    memcpy(out.data + before + strlen(to), at + strlen(from), rest);
    header = before - 8 + strlen(to) + rest;
    header = (header + 7) / 8 * 8;
    uint64_t old;
    memcpy(&old, b.data, 8);
    memcpy(out.data, &header, 8);
    memcpy(out.data + 8 + header, b.data + 8 + old, b.length - 8 - old);
    out.length = 8 + header + b.length - 8 - old;
    reseal(out.data, out.length);
    return out;
}

typedef struct forgery {
    const char *from, *to;
    isovae_status want;
    const char *says;
} forgery;

static iv_model *ensemble_of(size_t members)
{
    isovae_error err;
    iv_model *m[4];
    assert_true(members <= 4);
    for (size_t k = 0; k < members; k++) {
        m[k] = full_model(IV_F32);
        m[k]->member = k;
        ((float *)m[k]->params)[3] += (float)k;
        m[k]->beta += 0.125 * (double)k;
        if (k > 0) m[k]->n_quantiles = 0;
    }
    ref_ok(iv_model_join(m[0], m + 1, members - 1, &err), &err);
    return m[0];
}

static void ensembles(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model = ensemble_of(3), *read;
    file_bytes b = bytes_of(model);
    uint64_t hash, alone;
    ref_ok(iv_model_read(b.data, b.length, "an ensemble", &read, NULL, &err), &err);
    assert_int_equal(iv_model_members(read), 3);
    for (size_t k = 0; k < 3; k++) {
        const iv_model *from = iv_model_member(model, k), *to = iv_model_member(read, k);
        check_same(from, to);
        assert_int_equal(to->member, k);
        assert_int_equal(to->n_quantiles, k == 0 ? 5 : 0);
        assert_int_equal(to->n_more, k == 0 ? 2 : 0);
    }
    file_bytes again = bytes_of(read);
    assert_int_equal(b.length, again.length);
    assert_memory_equal(b.data, again.data, b.length);
    /* the checksum is over all members */
    ref_ok(iv_model_hash(read, &hash, &err), &err);
    ((float *)read->more[1]->params)[0] += 1;
    ref_ok(iv_model_hash(read, &alone, &err), &err);
    assert_true(hash != alone);

    static const forgery list[] = {
        {"member2.enc.fc1.weight", "member3.enc.fc1.weight", ISOVAE_ERR_FORMAT, "fc1"},
        {"\"member2.enc.fc1.bias", "\"member22.enc.fc1.bias", ISOVAE_ERR_FORMAT, "fc1"},
        {"\\\"ensemble\\\":[", "\\\"ensemble\\\":[3,", ISOVAE_ERR_FORMAT, "ensemble"},
        {"\\\"ensemble\\\":", "\\\"ensembl\\\":", ISOVAE_ERR_FORMAT, "no parameter"},
        {"\\\"member\\\":1", "\\\"member\\\":64", ISOVAE_ERR_FORMAT, "member"},
        {"\\\"member\\\":1", "\\\"member\\\":-1", ISOVAE_ERR_FORMAT, "member"},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        iv_model *out;
        file_bytes f = forged(b, list[i].from, list[i].to);
        isovae_status status = iv_model_read(f.data, f.length, "forged", &out, NULL, &err);
        if (status != list[i].want) fail_msg("%s: %d, %s", list[i].to, (int)status, err.message);
        if (strstr(err.message, list[i].says) == NULL) fail_msg("%s: %s", list[i].to, err.message);
        assert_null(out);
        free(f.data);
    }
    iv_free(b.data);
    iv_free(again.data);
    iv_model_free(model);
    iv_model_free(read);

    /* members of another kind are refused, and not taken */
    iv_model *first = full_model(IV_F32), *other = built("mlp:4", 6, 2);
    assert_int_equal(iv_model_join(first, &other, 1, &err), ISOVAE_ERR_FORMAT);
    assert_int_equal(first->n_more, 0);
    iv_model_free(first);
    iv_model_free(other);
}

static void dropped_columns(void **state)
{
    (void)state;
    isovae_error err;
    iv_model *model = full_model(IV_F32), *read;
    iv_metric_parse("sse", &model->metric, &err) == ISOVAE_OK ? (void)0 : fail();
    model->scaling.weight[2] = 0;
    file_bytes b = bytes_of(model); /* a weight of 0 belongs to mixed alone */
    assert_int_equal(iv_model_read(b.data, b.length, "a model", &read, NULL, &err),
                     ISOVAE_ERR_FORMAT);
    assert_non_null(strstr(err.message, "weight"));
    iv_free(b.data);
    model->scaling.kind = IV_SCALE_MIXED;
    b = bytes_of(model);
    ref_ok(iv_model_read(b.data, b.length, "a model", &read, NULL, &err), &err);
    assert_int_equal(iv_scaling_kept(&read->scaling), 5);
    check_same(model, read);
    iv_free(b.data);
    iv_model_free(read);
    for (size_t i = 0; i < 6; i++) model->scaling.weight[i] = 0;
    b = bytes_of(model);
    assert_int_equal(iv_model_read(b.data, b.length, "a model", &read, NULL, &err),
                     ISOVAE_ERR_FORMAT);
    iv_free(b.data);
    iv_model_free(model);
}

static void forgeries(void **state)
{
    static const forgery list[] = {
        {"isovae-model/1", "isovae-model/2", ISOVAE_ERR_VERSION, "update isovae"},
        {"isovae-model/1", "isovae-model/99999999999999999999", ISOVAE_ERR_FORMAT, "version"},
        {"isovae-model/1", "isovae-model/0", ISOVAE_ERR_FORMAT, "version"},
        {"isovae-model/1", "isovae-model/", ISOVAE_ERR_FORMAT, "version"},
        {"isovae-model/1", "other/1", ISOVAE_ERR_FORMAT, "format"},
        {"\"format\":\"isovae-model/1\"", "\"format\":1", ISOVAE_ERR_FORMAT, "string"},
        {"\"isovae\":", "\"isovaf\":", ISOVAE_ERR_FORMAT, "'isovae' is missing"},
        {"\"isovae\":\"{", "\"isovae\":\"{,", ISOVAE_ERR_FORMAT, "JSON"},
        {"\"dtype\":\"F32\"", "\"dtype\":\"F16\"", ISOVAE_ERR_FORMAT, "F32 and F64"},
        {"\"dtype\":\"F32\"", "\"dtype\":\"F64\"", ISOVAE_ERR_FORMAT, "length"},
        {"\\\"dtype\\\":\\\"F32\\\"", "\\\"dtype\\\":\\\"F64\\\"", ISOVAE_ERR_FORMAT, "type"},
        {"\"data_offsets\":[0,", "\"data_offsets\":[4,", ISOVAE_ERR_FORMAT, "length"},
        {"\"data_offsets\":[0,", "\"data_offsets\":[-4,", ISOVAE_ERR_FORMAT, "outside"},
        {"\"data_offsets\":[0,", "\"data_offsets\":[0.0,", ISOVAE_ERR_FORMAT, "outside"},
        {"\"data_offsets\":[0,16]", "\"data_offsets\":[0,9999999]", ISOVAE_ERR_FORMAT, "outside"},
        {"\"data_offsets\":[0,16]", "\"data_offsets\":[16,32]", ISOVAE_ERR_FORMAT, "overlaps"},
        {"\"data_offsets\":[0,16]", "\"data_offsets\":[16,0]", ISOVAE_ERR_FORMAT, "outside"},
        {"\"shape\":[4]", "\"shape\":[2,2]", ISOVAE_ERR_FORMAT, ""},
        {"\"shape\":[4]", "\"shape\":[]", ISOVAE_ERR_FORMAT, "shape"},
        {"\"shape\":[4]", "\"shape\":[4,0]", ISOVAE_ERR_FORMAT, "shape"},
        {"\"shape\":[4]", "\"shape\":[4,1,1,1,1,1,1,1]", ISOVAE_ERR_FORMAT, "shape"},
        {"\"shape\":[4]", "\"shape\":[4294967296,4294967296,4]", ISOVAE_ERR_FORMAT, "shape"},
        {"\"shape\":[4]", "\"shape\":[4.0]", ISOVAE_ERR_FORMAT, "shape"},
        {"\"dec.fc1.bias\"", "\"dec.fc1.bjas\"", ISOVAE_ERR_FORMAT, "dec.fc1.b"},
        {"\\\"beta\\\":0.3", "\\\"beta\\\":-0.3", ISOVAE_ERR_FORMAT, "'beta'"},
        {"\\\"beta\\\":0.3", "\\\"beta\\\":1e-400, \\\"b\\\":0.3", ISOVAE_ERR_FORMAT, "'beta'"},
        {"\\\"beta\\\":0.3", "\\\"beta\\\":1e999, \\\"b\\\":0.3", ISOVAE_ERR_FORMAT, "JSON"},
        {"\\\"beta\\\":0.3", "\\\"beta\\\":null, \\\"b\\\":0.3", ISOVAE_ERR_FORMAT, "'beta'"},
        {"\\\"beta\\\":0.3", "\\\"beta\\\":1, \\\"beta\\\":0.3", ISOVAE_ERR_FORMAT, "JSON"},
        {"\\\"beta_auto\\\":true", "\\\"beta_auto\\\":1", ISOVAE_ERR_FORMAT, "'beta_auto'"},
        {"\\\"input_shape\\\":[6]", "\\\"input_shape\\\":[7]", ISOVAE_ERR_FORMAT, ""},
        {"\\\"input_shape\\\":[6]", "\\\"input_shape\\\":[0]", ISOVAE_ERR_FORMAT, ""},
        {"\\\"input_shape\\\":[6]", "\\\"input_shape\\\":[99999999999,99999999999]",
         ISOVAE_ERR_FORMAT, "input_shape"},
        {"\\\"kind\\\":\\\"standard\\\"", "\\\"kind\\\":\\\"no\\\"", ISOVAE_ERR_FORMAT, "'kind'"},
        {"\\\"kind\\\":\\\"dense\\\"", "\\\"kind\\\":\\\"no\\\"", ISOVAE_ERR_UNSUPPORTED, "'no'"},
        {"\\\"outputs\\\":[\\\"out\\\"]", "\\\"outputs\\\":[]", ISOVAE_ERR_FORMAT, "outputs"},
        {"\\\"outputs\\\":[\\\"out\\\"]", "\\\"outputs\\\":[\\\"z\\\"]", ISOVAE_ERR_FORMAT, "out"},
        {"\\\"outputs\\\":[\\\"mu\\\",", "\\\"outputs\\\":[", ISOVAE_ERR_FORMAT, "mu"},
        {"\\\"image\\\":[1,2,3]", "\\\"image\\\":[1,2,4]", ISOVAE_ERR_FORMAT, "image"},
        {"\\\"image\\\":[1,2,3]", "\\\"image\\\":[1,2]", ISOVAE_ERR_FORMAT, "image"},
        {"\\\"names\\\":[\\\"age\\\",", "\\\"names\\\":[", ISOVAE_ERR_FORMAT, "names"},
        {"\\\"names\\\":[\\\"age\\\",", "\\\"names\\\":[1,", ISOVAE_ERR_FORMAT, "names"},
        {"\\\"logvar_clip\\\":[-30", "\\\"logvar_clip\\\":[30", ISOVAE_ERR_FORMAT, "logvar_clip"},
        {"weighted:0.1,", "weighted:-1,", ISOVAE_ERR_FORMAT, "metric"},
        {"\\\"decomposed\\\"", "\\\"other\\\"", ISOVAE_ERR_FORMAT, "objective"},
        {"\\\"scale\\\":[", "\\\"scale\\\":[1,", ISOVAE_ERR_FORMAT, "scale"},
        {"\\\"scale\\\":[1", "\\\"scale\\\":[-1", ISOVAE_ERR_FORMAT, "scale"},
        {"\\\"weight\\\":[1.0", "\\\"weight\\\":[0.0", ISOVAE_ERR_FORMAT, "weight"},
        {"\\\"shift\\\":[", "\\\"shift\\\":[1,", ISOVAE_ERR_FORMAT, "features"},
        {"\\\"kl_mean\\\":[", "\\\"kl_mean\\\":[1,", ISOVAE_ERR_FORMAT, "latents"},
        {"\\\"variance_y\\\":[0", "\\\"variance_y\\\":[-0", ISOVAE_ERR_FORMAT, "variance_y"},
        {"\\\"variance_y\\\":[", "\\\"variance_y\\\":[1,", ISOVAE_ERR_FORMAT, "variance_y"},
        {"\\\"active\\\":[1,0,1]", "\\\"active\\\":[1,2,1]", ISOVAE_ERR_FORMAT, "active"},
        {"\\\"active\\\":[1,0,1]", "\\\"active\\\":[1,0]", ISOVAE_ERR_FORMAT, "active"},
        {"\\\"quantiles\\\":[-10.0", "\\\"quantiles\\\":[10.0", ISOVAE_ERR_FORMAT, "quantiles"},
        {"\\\"u\\\":[-0", "\\\"u\\\":[0", ISOVAE_ERR_FORMAT, "'u'"},
        {"\\\"g\\\":[", "\\\"g\\\":[1,", ISOVAE_ERR_FORMAT, "'g'"},
        {"\\\"rms\\\":0", "\\\"rms\\\":-0", ISOVAE_ERR_FORMAT, "rms"},
        {"\\\"splines\\\":[", "\\\"splines\\\":[{},", ISOVAE_ERR_FORMAT, "splines"},
        {"\\\"history\\\":[[100,", "\\\"history\\\":[[", ISOVAE_ERR_FORMAT, "history"},
        {"\\\"history\\\":[[100,", "\\\"history\\\":[[-1,", ISOVAE_ERR_FORMAT, "history"},
        {"18446744073709551615", "18446744073709551616", ISOVAE_ERR_FORMAT, "seed"},
        {"18446744073709551615", "", ISOVAE_ERR_FORMAT, "seed"},
        {"fedcba9876543210", "fedcba987654321g", ISOVAE_ERR_FORMAT, "data_hash"},
        {"\\\"restarts\\\":1", "\\\"restarts\\\":-1", ISOVAE_ERR_FORMAT, "restarts"},
        {"\\\"validation_fraction\\\":0", "\\\"validation_fraction\\\":2", ISOVAE_ERR_FORMAT,
         "validation_fraction"},
    };
    (void)state;
    iv_model *model = full_model(IV_F32);
    file_bytes b = bytes_of(model);
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        file_bytes f = forged(b, list[i].from, list[i].to);
        isovae_error err = {0};
        iv_model *read;
        isovae_status status = iv_model_read(f.data, f.length, "m", &read, NULL, &err);
        if (status != list[i].want || strstr(err.message, list[i].says) == NULL) {
            fail_msg("%s -> %s: status %d, '%s'", list[i].from, list[i].to, status, err.message);
        }
        assert_null(read);
        free(f.data);
    }
    /* Nothing wrong: a member that is not known, and a name that grew. */
    file_bytes f = forged(b, "\\\"beta\\\":0.3", "\\\"alpha\\\":[{}],\\\"beta\\\":0.3");
    iv_model *read = model_of(f);
    iv_model_free(read);
    free(f.data);
    /* A weight that is not finite, under a right checksum. */
    uint64_t header;
    const float bad = (float)NAN;
    memcpy(&header, b.data, 8);
    memcpy(b.data + 8 + header, &bad, 4);
    reseal(b.data, b.length);
    refuse(b.data, b.length, ISOVAE_ERR_FORMAT);
    iv_free(b.data);
    iv_model_free(model);
}

/* Columns of words: kept, and refused where they cannot be. */
static void words(void **state)
{
    static const struct {
        const char *from, *to;
    } list[] = {{"\\\"first\\\":1", "\\\"first\\\":5"},
                {"\\\"first\\\":1", "\\\"first\\\":-1"},
                {"\\\"first\\\":4", "\\\"first\\\":2"},
                {"[\\\"north\\\",\\\"south\\\"]", "[\\\"south\\\",\\\"north\\\"]"},
                {"[\\\"north\\\",\\\"south\\\"]", "[\\\"north\\\",\\\"north\\\"]"},
                {"[\\\"north\\\",\\\"south\\\"]", "[]"},
                {"[\\\"north\\\",\\\"south\\\"]", "[1,2]"},
                {"[\\\"north\\\",\\\"south\\\"]", "null"},
                {"\\\"column\\\":\\\"side\\\"", "\\\"column\\\":7"},
                {"\\\"categories\\\":[", "\\\"categories\\\":[1,"},
                {"\\\"categories\\\":[", "\\\"categories\\\":{},\\\"other\\\":["}};
    isovae_error err;
    (void)state;
    iv_model *model = full_model(IV_F32);
    iv_categories *all = &model->categories;
    ref_ok(IV_NEW(all->list, 2, "categories", &err), &err);
    all->n = 2;
    for (size_t i = 0; i < 2; i++) {
        iv_category *c = &all->list[i];
        c->first = i == 0 ? 1 : 4;
        c->column = copy(i == 0 ? "side" : "\xc3\xb6");
        ref_ok(IV_NEW(c->values, 2, "categories", &err), &err);
        c->n = 2;
        c->values[0] = copy("north");
        c->values[1] = copy(i == 0 ? "south" : "north, \"by\" west");
    }
    file_bytes b = bytes_of(model);
    iv_model *read = model_of(b);
    assert_int_equal(read->categories.n, 2);
    assert_int_equal(read->categories.list[1].first, 4);
    assert_string_equal(read->categories.list[0].column, "side");
    assert_string_equal(read->categories.list[1].values[1], "north, \"by\" west");
    file_bytes again = bytes_of(read);
    assert_int_equal(again.length, b.length);
    assert_memory_equal(again.data, b.data, b.length);
    iv_free(again.data);
    iv_model_free(read);
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        file_bytes f = forged(b, list[i].from, list[i].to);
        isovae_status status = iv_model_read(f.data, f.length, "m", &read, NULL, &err);
        if (status != ISOVAE_ERR_FORMAT) fail_msg("%s -> %s: %d", list[i].from, list[i].to, status);
        assert_null(read);
        free(f.data);
    }
    iv_free(b.data);
    iv_model_free(model);
}

/* A model of somebody else: tensors, but nothing of isovae's. */
static void foreign(void **state)
{
    (void)state;
    static const char json[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    unsigned char bytes[8 + sizeof json - 1 + 4] = {sizeof json - 1};
    memcpy(bytes + 8, json, sizeof json - 1);
    refuse(bytes, sizeof bytes, ISOVAE_ERR_FORMAT);
    iv_safetensors file;
    isovae_error err;
    ref_ok(iv_safetensors_read(bytes, sizeof bytes, "a", &file, &err), &err);
    assert_int_equal(file.n, 1);
    assert_null(file.metadata);
    assert_non_null(iv_safetensors_find(&file, "a"));
    assert_null(iv_safetensors_find(&file, "b"));
    iv_safetensors_free(&file);
}

/* Files of format 1 as they were written once: they are read for ever. */
static void golden(void **state)
{
    (void)state;
    static const char *const files[] = {"fuzz/corpus/model/full-f32.safetensors",
                                        "fuzz/corpus/model/full-f64.safetensors"};
    for (size_t i = 0; i < 2; i++) {
        isovae_error err;
        iv_model *model, *again;
        if (access(files[i], R_OK) != 0) skip(); /* not run from the repository root */
        ref_ok(iv_model_load(files[i], &model, &err), &err);
        assert_int_equal(model->dtype, i == 0 ? IV_F32 : IV_F64);
        assert_string_equal(model->arch, "mlp:4");
        assert_string_equal(model->names[2], "gr\xc3\xb6\xc3\x9f"
                                             "e");
        assert_true(model->beta == 1.0 / 3 && model->seed == UINT64_MAX);
        assert_true(model->scaling.scale[1] == 1.25 && model->quantiles[0] == -10);
        assert_true(model->metric.c0 == 0.1 && model->variance_y[2] == 0.4);
        assert_int_equal(model->splines[2].n, 7);
        file_bytes b = bytes_of(model);
        again = model_of(b);
        check_same(model, again);
        iv_free(b.data);
        iv_model_free(again);
        iv_model_free(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),      cmocka_unit_test(sparse_models),
        cmocka_unit_test(on_disk),         cmocka_unit_test(checkpoints),
        cmocka_unit_test(damage),          cmocka_unit_test(forgeries),
        cmocka_unit_test(words),           cmocka_unit_test(ensembles),
        cmocka_unit_test(dropped_columns), cmocka_unit_test(foreign),
        cmocka_unit_test(golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
