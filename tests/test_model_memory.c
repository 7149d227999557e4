/* Every allocation of reading and writing a model fails once: the call says so and nothing leaks
 * (which the sanitized build sees). */
#include "support_model.h"

static size_t until_failure = SIZE_MAX; /* allocations that still succeed */

static bool refused, json_too;

static bool granted(void)
{
    if (until_failure == 0) {
        refused = true;
        return false;
    }
    if (until_failure != SIZE_MAX) until_failure--;
    return true;
}

/* Takes the place of the C library's, behind iv_alloc. */
void *aligned_alloc(size_t alignment, size_t size)
{
    void *out;
    return granted() && posix_memalign(&out, alignment, size) == 0 ? out : NULL;
}

static void *json_malloc_or_fail(size_t size)
{
    return !json_too || granted() ? malloc(size) : NULL;
}

static file_bytes whole;

static isovae_status read_whole(isovae_error *err)
{
    iv_model *model;
    json_t *checkpoint;
    isovae_status status = iv_model_read(whole.data, whole.length, "m", &model, &checkpoint, err);
    if (status != ISOVAE_OK) assert_true(model == NULL && checkpoint == NULL);
    iv_model_free(model);
    json_decref(checkpoint);
    return status;
}

static iv_model *source;

static isovae_status write_whole(isovae_error *err)
{
    file_bytes b;
    float extra[2] = {1, 2};
    const iv_extra_tensor tensor = {"extra", IV_F32, 2, extra};
    isovae_status status = iv_model_write(source, &tensor, 1, NULL, &b.data, &b.length, err);
    if (status != ISOVAE_OK) assert_true(b.data == NULL && b.length == 0);
    iv_free(b.data);
    return status;
}

static isovae_status permute(isovae_error *err)
{
    const size_t order[] = {1, 2, 0};
    const double sign[] = {1, -1, 1};
    return iv_model_permute(source, order, sign, err);
}

static isovae_status construct(isovae_error *err)
{
    iv_model *model = NULL;
    isovae_status status = iv_model_new(&model, err);
    if (status == ISOVAE_OK) {
        status = iv_model_build(model, "mlp:3", 4, 2, IV_ACT_SILU, IV_F32, err);
    }
    iv_model_free(model);
    return status;
}

/* Fails the first allocation, then the second, ... until the call needs no more. */
static size_t fail_each(isovae_status (*call)(isovae_error *err))
{
    size_t n = 0;
    for (;; n++) {
        isovae_error err = {0};
        until_failure = n;
        refused = false;
        isovae_status status = call(&err);
        until_failure = SIZE_MAX;
        if (status == ISOVAE_OK) {
            assert_false(refused); /* no failure is passed over */
            break;
        }
        if (status != ISOVAE_ERR_MEMORY) fail_msg("allocation %zu: %s", n, err.message);
        assert_true(strlen(err.message) > 0);
    }
    return n;
}

static void memory(void **state)
{
    (void)state;
    json_set_alloc_funcs(json_malloc_or_fail, free);
    source = full_model(IV_F32);
    whole = bytes_of(source);
    assert_true(fail_each(construct) > 20);
    assert_true(fail_each(permute) >= 5);
    assert_true(fail_each(read_whole) > 60); /* the JSON library's parser does not survive it */
    json_too = true;
    assert_true(fail_each(write_whole) > 100);
    iv_free(whole.data);
    iv_model_free(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
