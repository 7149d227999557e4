/* Gemm, MatMul, Einsum. */
#include "onnx/loader.h"

#include <string.h>

isovae_status iv_onnx_read_matmul(iv_onnx_context *c, iv_onnx_node *node)
{
    const iv_onnx_value *a, *b;
    IV_TRY(iv_onnx_input(c, 0, &a));
    IV_TRY(iv_onnx_input(c, 1, &b));
    return iv_onnx_matmul(c, a, b, &node->out[0]);
}

/* alpha op(A) op(B) + beta C; the numbers go into constants where there are some. */
isovae_status iv_onnx_read_gemm(iv_onnx_context *c, iv_onnx_node *node)
{
    static const size_t swap[] = {1, 0};
    const iv_onnx_value *in[2], *bias = iv_onnx_optional(c, 2);
    iv_onnx_value x[2], product, number, scaled;
    double alpha, beta;
    IV_TRY(iv_onnx_get_float(c, "alpha", 1, &alpha));
    IV_TRY(iv_onnx_get_float(c, "beta", 1, &beta));
    for (size_t i = 0; i < 2; i++) {
        int64_t turned;
        IV_TRY(iv_onnx_input(c, i, &in[i]));
        IV_TRY(iv_onnx_get_int(c, i == 0 ? "transA" : "transB", 0, &turned));
        if (in[i]->dims.rank != 2) return IV_ONNX_FAIL(c, "its inputs must have two axes");
        x[i] = *in[i];
        if (turned != 0) IV_TRY(iv_onnx_transpose(c, in[i], swap, &x[i]));
    }
    if (alpha != 1) {
        size_t which = x[0].live && !x[1].live ? 1 : 0;
        IV_TRY(iv_onnx_number(c, alpha, &number));
        IV_TRY(iv_onnx_binary(c, IV_ONNX_MUL, &x[which], &number, &x[which]));
    }
    IV_TRY(iv_onnx_matmul(c, &x[0], &x[1], &product));
    node->out[0] = product;
    if (bias == NULL || beta == 0) return ISOVAE_OK;
    scaled = *bias;
    if (beta != 1) {
        IV_TRY(iv_onnx_number(c, beta, &number));
        IV_TRY(iv_onnx_binary(c, IV_ONNX_MUL, bias, &number, &scaled));
    }
    return iv_onnx_binary(c, IV_ONNX_ADD, &product, &scaled, &node->out[0]);
}

/* ---- Einsum ---- */

typedef struct labels {
    size_t n;
    char at[IV_ONNX_RANK];
} labels;

static bool has(const labels *l, char label)
{
    return l->n > 0 && memchr(l->at, label, l->n) != NULL;
}

/* "bij,bjk->bik": letters alone. */
static bool parse(const char *text, size_t n_inputs, labels *in, labels *out)
{
    size_t part = 0;
    bool arrow = false;
    labels *now = &in[0];
    for (; *text != '\0'; text++) {
        if (*text == ' ') continue;
        if (*text == ',' && !arrow) {
            if (++part >= n_inputs) return false;
            now = &in[part];
        } else if (text[0] == '-' && text[1] == '>' && !arrow) {
            arrow = true;
            now = out;
            text++;
        } else if ((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z')) {
            if (now->n == IV_ONNX_RANK || has(now, *text)) return false; /* no diagonals */
            now->at[now->n++] = *text;
        } else {
            return false;
        }
    }
    if (part + 1 != n_inputs) return false;
    if (arrow) return true;
    for (int letter = 'A'; letter <= 'z'; letter++) { /* those that occur once, in order */
        char label = (char)letter;
        size_t times = 0;
        for (size_t i = 0; i < n_inputs; i++) times += has(&in[i], label) ? 1 : 0;
        if (times != 1) continue;
        if (out->n == IV_ONNX_RANK) return false;
        out->at[out->n++] = label;
    }
    return true;
}

/* Sums over labels that stand nowhere else. */
static isovae_status sum_out(iv_onnx_context *c, iv_onnx_value *v, labels *l, const labels *other,
                             const labels *out)
{
    bool gone[IV_ONNX_RANK] = {false}, any = false;
    labels left = {0};
    for (size_t i = 0; i < l->n; i++) {
        gone[i] = !has(out, l->at[i]) && (other == NULL || !has(other, l->at[i]));
        any = any || gone[i];
        if (!gone[i]) left.at[left.n++] = l->at[i];
    }
    if (!any) return ISOVAE_OK;
    *l = left;
    iv_onnx_value sum;
    IV_TRY(iv_onnx_reduce(c, IV_ONNX_SUM, v, gone, false, &sum));
    *v = sum;
    return ISOVAE_OK;
}

/* Axes in the order of `wanted`, which holds each label of `l`. */
static isovae_status arrange(iv_onnx_context *c, iv_onnx_value *v, const labels *l,
                             const labels *wanted)
{
    size_t perm[IV_ONNX_RANK], n = 0;
    for (size_t i = 0; i < wanted->n; i++) {
        const char *at = memchr(l->at, wanted->at[i], l->n);
        if (at != NULL) perm[n++] = (size_t)(at - l->at);
    }
    iv_onnx_value turned;
    IV_TRY(iv_onnx_transpose(c, v, perm, &turned));
    *v = turned;
    return ISOVAE_OK;
}

/* The product of the extents of some labels of v, as one axis. */
static isovae_status extent_of(iv_onnx_context *c, const iv_onnx_value *v, const labels *l,
                               const labels *some, iv_onnx_form *out)
{
    *out = (iv_onnx_form){1, 0};
    for (size_t i = 0; i < l->n; i++) {
        if (!has(some, l->at[i])) continue;
        iv_onnx_form e = iv_onnx_extent(c, &v->dims, i);
        iv_onnx_form p = *out;
        bool over = e.b == 0 ? __builtin_mul_overflow(p.k, e.k, &out->k) ||
                                   __builtin_mul_overflow(p.b, e.k, &out->b)
                             : p.b != 0 || __builtin_mul_overflow(p.k, e.b, &out->b);
        if (e.b != 0) out->k = 0;
        if (over) return IV_ONNX_FAIL(c, "its inputs are too large");
    }
    return ISOVAE_OK;
}

static void push(labels *l, char label)
{
    if (l->n < IV_ONNX_RANK) l->at[l->n++] = label;
}

static isovae_status two(iv_onnx_context *c, iv_onnx_value *x, labels *l, const labels *out,
                         iv_onnx_value *result)
{
    labels shared = {0}, summed = {0}, free_a = {0}, free_b = {0}, order;
    IV_TRY(sum_out(c, &x[0], &l[0], &l[1], out));
    IV_TRY(sum_out(c, &x[1], &l[1], &l[0], out));
    for (size_t i = 0; i < l[0].n; i++) {
        char label = l[0].at[i];
        push(!has(&l[1], label) ? &free_a : has(out, label) ? &shared : &summed, label);
    }
    for (size_t i = 0; i < l[1].n; i++) {
        if (!has(&l[0], l[1].at[i])) push(&free_b, l[1].at[i]);
    }
    if (shared.n + free_a.n + free_b.n != out->n) {
        return IV_ONNX_REFUSE(c, "its equation is not understood");
    }
    /* (shared.., A, summed) times (shared.., summed, B) */
    iv_onnx_form target[IV_ONNX_RANK], back[IV_ONNX_RANK];
    size_t n_back = 0;
    if (shared.n + 2 > IV_ONNX_RANK) return IV_ONNX_REFUSE(c, "it has too many axes");
    for (size_t s = 0; s < 2; s++) {
        const labels *middle = s == 0 ? &free_a : &summed, *last = s == 0 ? &summed : &free_b;
        order = shared;
        for (size_t i = 0; i < middle->n; i++) push(&order, middle->at[i]);
        for (size_t i = 0; i < last->n; i++) push(&order, last->at[i]);
        IV_TRY(arrange(c, &x[s], &l[s], &order));
        l[s] = order;
        for (size_t i = 0; i < shared.n; i++) target[i] = iv_onnx_extent(c, &x[s].dims, i);
        for (size_t i = 0; s == 0 && i < shared.n + free_a.n; i++) {
            back[n_back++] = iv_onnx_extent(c, &x[0].dims, i);
        }
        for (size_t i = 0; s == 1 && i < free_b.n; i++) {
            back[n_back++] = iv_onnx_extent(c, &x[1].dims, shared.n + summed.n + i);
        }
        IV_TRY(extent_of(c, &x[s], &l[s], middle, &target[shared.n]));
        IV_TRY(extent_of(c, &x[s], &l[s], last, &target[shared.n + 1]));
        iv_onnx_value merged;
        IV_TRY(iv_onnx_reshape(c, &x[s], shared.n + 2, target, &merged));
        x[s] = merged;
    }
    iv_onnx_value product, open;
    IV_TRY(iv_onnx_matmul(c, &x[0], &x[1], &product));
    IV_TRY(iv_onnx_reshape(c, &product, n_back, back, &open));
    order = shared;
    for (size_t i = 0; i < free_a.n; i++) push(&order, free_a.at[i]);
    for (size_t i = 0; i < free_b.n; i++) push(&order, free_b.at[i]);
    IV_TRY(arrange(c, &open, &order, out));
    *result = open;
    return ISOVAE_OK;
}

isovae_status iv_onnx_read_einsum(iv_onnx_context *c, iv_onnx_node *node)
{
    char *equation;
    labels l[2] = {{0}}, out = {0};
    iv_onnx_value x[2];
    IV_TRY(iv_onnx_get_string(c, "equation", &equation));
    if (equation == NULL || !parse(equation, node->n_inputs, l, &out)) {
        return IV_ONNX_REFUSE(c,
                              "the equation '%.80s' is not supported: one or two inputs, letters, "
                              "none twice in one input",
                              equation == NULL ? "" : equation);
    }
    for (size_t i = 0; i < node->n_inputs; i++) {
        const iv_onnx_value *v;
        IV_TRY(iv_onnx_input(c, i, &v));
        if (v->dims.rank != l[i].n) {
            return IV_ONNX_FAIL(c, "its input %zu has %zu axes, but the equation '%.80s' says %zu",
                                i, v->dims.rank, equation, l[i].n);
        }
        x[i] = *v;
    }
    if (node->n_inputs == 2) return two(c, x, l, &out, &node->out[0]);
    IV_TRY(sum_out(c, &x[0], &l[0], NULL, &out));
    if (l[0].n != out.n) return IV_ONNX_REFUSE(c, "its equation is not understood");
    IV_TRY(arrange(c, &x[0], &l[0], &out));
    node->out[0] = x[0];
    return ISOVAE_OK;
}
