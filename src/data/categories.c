#include "data/categories.h"

#include "base/memory.h"

#include <stdint.h>
#include <string.h>

/* As memcmp, the shorter first. */
static int compare(const char *a, size_t length, const char *b)
{
    size_t b_length = strlen(b), least = length < b_length ? length : b_length;
    int order = memcmp(a, b, least);
    return order != 0 ? order : length < b_length ? -1 : length > b_length;
}

size_t iv_category_find(const iv_category *category, const char *text, size_t length)
{
    size_t low = 0, high = category->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(text, length, category->values[middle]);
        if (order == 0) return middle;
        if (order > 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return SIZE_MAX;
}

int iv_categories_fit(const iv_categories *categories, size_t d)
{
    size_t at = 0;
    for (size_t i = 0; i < categories->n; i++) {
        const iv_category *c = &categories->list[i];
        if (c->first < at || c->first > d || c->n == 0 || c->n > d - c->first) return 0;
        for (size_t k = 1; k < c->n; k++) {
            if (compare(c->values[k - 1], strlen(c->values[k - 1]), c->values[k]) >= 0) return 0;
        }
        at = c->first + c->n;
    }
    return 1;
}

static isovae_status copy_one(const iv_category *from, iv_category *out, isovae_error *err)
{
    out->first = from->first;
    IV_TRY(iv_strdup(&out->column, from->column, err));
    IV_TRY(IV_NEW(out->values, from->n, "categories", err));
    out->n = from->n;
    for (size_t k = 0; k < from->n; k++) IV_TRY(iv_strdup(&out->values[k], from->values[k], err));
    return ISOVAE_OK;
}

isovae_status iv_categories_copy(const iv_categories *from, iv_categories *out, isovae_error *err)
{
    *out = (iv_categories){0};
    if (from->n == 0) return ISOVAE_OK;
    isovae_status status = IV_NEW(out->list, from->n, "categories", err);
    if (status == ISOVAE_OK) out->n = from->n;
    for (size_t i = 0; i < from->n && status == ISOVAE_OK; i++) {
        status = copy_one(&from->list[i], &out->list[i], err);
    }
    if (status != ISOVAE_OK) iv_categories_free(out);
    return status;
}

void iv_categories_free(iv_categories *categories)
{
    for (size_t i = 0; i < categories->n; i++) {
        iv_category *c = &categories->list[i];
        for (size_t k = 0; c->values != NULL && k < c->n; k++) iv_free(c->values[k]);
        iv_free(c->values);
        iv_free(c->column);
    }
    iv_free(categories->list);
    *categories = (iv_categories){0};
}
