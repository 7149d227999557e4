/* Einsum as transposes, reshapes and matrix products, one pair of inputs after the other. */
#include "onnx/loader.h"

#include <string.h>

enum { MOST_INPUTS = 8 };

/* One for each axis: a letter, or a number from 1 on for one that an ellipsis stands for, counted
 * so that ellipses of different lengths agree at their ends. */
typedef struct labels {
    size_t n;
    char at[IV_ONNX_RANK];
} labels;

static bool has(const labels *l, char label)
{
    return l->n > 0 && memchr(l->at, label, l->n) != NULL;
}

static bool push(labels *l, char label)
{
    if (l->n == IV_ONNX_RANK) return false;
    l->at[l->n++] = label;
    return true;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* One term, up to its comma, arrow or end: its letters, with `open` axes for an ellipsis, the last
 * of which has the number IV_ONNX_RANK. */
static bool parse_term(const char **text, size_t open, labels *out)
{
    bool good = true, dots = false;
    *out = (labels){0};
    for (; good && **text != '\0' && **text != ',' && **text != '-'; (*text)++) {
        if (**text == ' ') continue;
        if (strncmp(*text, "...", 3) == 0 && !dots) {
            dots = true;
            for (size_t i = 0; good && i < open; i++) {
                good = push(out, (char)(IV_ONNX_RANK - open + i + 1));
            }
            *text += 2;
        } else {
            good = is_letter(**text) && push(out, **text);
        }
    }
    return good;
}

/* "bij,...jk->b...ik". `ranks`: axes of each input; false where the text is none or they differ. */
static bool parse(const char *text, size_t n_inputs, const size_t *ranks, labels *in, labels *out)
{
    size_t widest = 0;
    for (size_t i = 0; i < n_inputs; i++) {
        const char *start = text;
        if (!parse_term(&text, 0, &in[i]) || in[i].n > ranks[i]) return false;
        size_t open = ranks[i] - in[i].n;
        bool dots = false;
        for (const char *c = start; c != text; c++) dots = dots || *c == '.';
        if (open > 0 && !dots) return false;
        if (dots && open > widest) widest = open;
        text = start;
        if (!parse_term(&text, dots ? open : 0, &in[i])) return false;
        if (i + 1 < n_inputs && *text++ != ',') return false;
    }
    if (text[0] == '-' && text[1] == '>') {
        text += 2;
        if (!parse_term(&text, widest, out)) return false;
    } else { /* the ellipsis, then letters that occur once, in order */
        *out = (labels){0};
        for (size_t i = 0; i < widest; i++) {
            if (!push(out, (char)(IV_ONNX_RANK - widest + i + 1))) return false;
        }
        for (int letter = 'A'; letter <= 'z'; letter++) {
            size_t times = 0;
            for (size_t i = 0; i < n_inputs; i++) {
                for (size_t k = 0; k < in[i].n; k++) times += in[i].at[k] == (char)letter ? 1 : 0;
            }
            if (times == 1 && !push(out, (char)letter)) return false;
        }
    }
    if (*text != '\0') return false;
    for (size_t i = 0; i < out->n; i++) { /* each once, and of an input */
        bool known = memchr(out->at + i + 1, out->at[i], out->n - i - 1) == NULL, found = false;
        for (size_t k = 0; k < n_inputs; k++) found = found || has(&in[k], out->at[i]);
        if (!known || !found) return false;
    }
    return true;
}

/* Where a label stands twice in an input: the elements at which both axes agree. */
static isovae_status diagonals(iv_onnx_context *c, iv_onnx_value *v, labels *l)
{
    labels left = {0};
    iv_onnx_dims dims = v->dims;
    size_t stride[IV_ONNX_RANK] = {0}, n, step = 1;
    size_t to[IV_ONNX_RANK];
    dims.rank = 0;
    for (size_t i = 0; i < l->n; i++) {
        const char *first = left.n == 0 ? NULL : memchr(left.at, l->at[i], left.n);
        to[i] = first == NULL ? left.n : (size_t)(first - left.at);
        if (first == NULL) {
            if (i == v->dims.batch) dims.batch = left.n;
            dims.dim[left.n] = v->dims.dim[i];
            left.at[left.n++] = l->at[i];
            continue;
        }
        iv_onnx_form a = iv_onnx_extent(c, &dims, to[i]), b = iv_onnx_extent(c, &v->dims, i);
        if (a.b != 0 || b.b != 0 || i == v->dims.batch || to[i] == dims.batch) {
            return IV_ONNX_REFUSE(c, "its diagonal would mix rows of the batch");
        }
        if (a.k != b.k) return IV_ONNX_FAIL(c, "a label stands for axes of different extents");
    }
    if (left.n == l->n) return ISOVAE_OK;
    dims.rank = left.n;
    for (size_t i = l->n; i-- > 0;) {
        stride[to[i]] += step;
        step *= v->dims.dim[i];
    }
    int64_t *map;
    IV_TRY(iv_onnx_count(c, &dims, &n));
    IV_TRY(iv_onnx_work(c, n));
    IV_TRY(IV_ONNX_NEW(c, map, n));
    for (size_t k = 0; k < n; k++) {
        size_t rest = k, at = 0;
        for (size_t i = dims.rank; i-- > 0;) {
            at += rest % dims.dim[i] * stride[i];
            rest /= dims.dim[i];
        }
        map[k] = (int64_t)at;
    }
    iv_onnx_value picked;
    IV_TRY(iv_onnx_pick(c, v, &dims, map, 0, &picked));
    *v = picked;
    *l = left;
    return ISOVAE_OK;
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

static isovae_status two(iv_onnx_context *c, iv_onnx_value *x, labels *l, const labels *out,
                         iv_onnx_value *result)
{
    labels shared = {0}, summed = {0}, free_a = {0}, free_b = {0}, order;
    if (x[1].live && !x[0].live) { /* the batch belongs to the rows of a product */
        iv_onnx_value other = x[0];
        order = l[0];
        x[0] = x[1];
        x[1] = other;
        l[0] = l[1];
        l[1] = order;
    }
    IV_TRY(sum_out(c, &x[0], &l[0], &l[1], out));
    IV_TRY(sum_out(c, &x[1], &l[1], &l[0], out));
    for (size_t i = 0; i < l[0].n; i++) {
        char label = l[0].at[i];
        (void)push(!has(&l[1], label) ? &free_a : has(out, label) ? &shared : &summed, label);
    }
    for (size_t i = 0; i < l[1].n; i++) {
        if (!has(&l[0], l[1].at[i])) (void)push(&free_b, l[1].at[i]);
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
        for (size_t i = 0; i < middle->n; i++) (void)push(&order, middle->at[i]);
        for (size_t i = 0; i < last->n; i++) (void)push(&order, last->at[i]);
        IV_TRY(arrange(c, &x[s], &l[s], &order));
        l[s] = order;
        for (size_t i = 0; i < shared.n; i++) target[i] = iv_onnx_extent(c, &x[s].dims, i);
        for (size_t i = 0; s == 0 && i < shared.n + free_a.n; i++) {
            back[n_back++] = iv_onnx_extent(c, &x[0].dims, i);
        }
        for (size_t i = 0; s == 1 && i < shared.n; i++) { /* an extent of 1 goes with any */
            if (back[i].k == 1 && back[i].b == 0) back[i] = target[i];
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
    for (size_t i = 0; i < free_a.n; i++) (void)push(&order, free_a.at[i]);
    for (size_t i = 0; i < free_b.n; i++) (void)push(&order, free_b.at[i]);
    IV_TRY(arrange(c, &open, &order, out));
    *result = open;
    return ISOVAE_OK;
}

/* The labels of two inputs that are still wanted: in the output, or by an input to come. */
static bool wanted(const labels *a, const labels *b, const labels *later, size_t n_later,
                   const labels *out, labels *result)
{
    const labels *both[] = {a, b};
    *result = (labels){0};
    for (size_t s = 0; s < 2; s++) {
        for (size_t i = 0; i < both[s]->n; i++) {
            char label = both[s]->at[i];
            bool need = has(out, label);
            for (size_t k = 0; k < n_later; k++) need = need || has(&later[k], label);
            if (need && !has(result, label) && !push(result, label)) return false;
        }
    }
    return true;
}

isovae_status iv_onnx_read_einsum(iv_onnx_context *c, iv_onnx_node *node)
{
    char *equation;
    labels l[MOST_INPUTS] = {{0}}, out;
    iv_onnx_value x[MOST_INPUTS];
    size_t n = node->n_inputs, ranks[MOST_INPUTS];
    IV_TRY(iv_onnx_get_string(c, "equation", &equation));
    if (n > MOST_INPUTS) return IV_ONNX_REFUSE(c, "it has more than %d inputs", MOST_INPUTS);
    for (size_t i = 0; i < n; i++) {
        const iv_onnx_value *v;
        IV_TRY(iv_onnx_input(c, i, &v));
        x[i] = *v;
        ranks[i] = v->dims.rank;
    }
    if (equation == NULL || !parse(equation, n, ranks, l, &out)) {
        return IV_ONNX_FAIL(c, "its equation '%.80s' is none, or does not go with its inputs' axes",
                            equation == NULL ? "" : equation);
    }
    for (size_t i = 0; i < n; i++) IV_TRY(diagonals(c, &x[i], &l[i]));
    for (size_t i = 1; i < n; i++) {
        labels now = out;
        iv_onnx_value pair[2] = {x[0], x[i]};
        labels of_pair[2] = {l[0], l[i]};
        if (i + 1 < n && !wanted(&l[0], &l[i], &l[i + 1], n - i - 1, &out, &now)) {
            return IV_ONNX_REFUSE(c, "it has too many axes on the way");
        }
        IV_TRY(two(c, pair, of_pair, &now, &x[0]));
        l[0] = now;
    }
    if (n == 1) {
        IV_TRY(sum_out(c, &x[0], &l[0], NULL, &out));
        if (l[0].n != out.n) return IV_ONNX_REFUSE(c, "its equation is not understood");
        IV_TRY(arrange(c, &x[0], &l[0], &out));
    }
    node->out[0] = x[0];
    return ISOVAE_OK;
}
