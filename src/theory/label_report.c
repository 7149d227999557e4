/* The part of the analysis that is about labels: which rows have one, and each latent against them.
 */
#include "base/memory.h"
#include "data/labels.h"
#include "theory/labels.h"
#include "theory/summary.h"

#include <math.h>

/* Of the rows that have a label, in their order. */
typedef struct labelled {
    size_t count;
    double *x, *number; /* coordinate of one latent; labels that are numbers */
    size_t *class;      /* labels that are classes */
    double *auroc, *room;
} labelled;

static isovae_status make(labelled *w, size_t rows, size_t classes, isovae_error *err)
{
    IV_TRY(IV_NEW(w->x, rows, "labelled rows", err));
    IV_TRY(IV_NEW(w->number, rows, "labelled rows", err));
    IV_TRY(IV_NEW(w->class, rows, "labelled rows", err));
    IV_TRY(IV_NEW(w->auroc, classes, "classes", err));
    return IV_NEW(w->room, 2 * classes, "classes", err);
}

static isovae_status measure(const iv_summary *s, labelled *w, size_t j, iv_label_match *m,
                             isovae_error *err)
{
    iv_analysis *a = s->analysis;
    const iv_labels *labels = a->labels.of;
    size_t used = 0, latent = s->order[j];
    for (size_t r = 0; r < s->rows->rows; r++) {
        if (!isnan(labels->value[s->rows->index[r]])) w->x[used++] = s->y[r * a->n + latent];
    }
    *m = (iv_label_match){.auroc = (double)NAN};
    if (labels->n_classes == 0) {
        m->share = iv_label_r2(used, w->x, 1, w->number);
        return ISOVAE_OK;
    }
    m->share = iv_label_eta2(used, w->x, 1, w->class, labels->n_classes, w->room);
    IV_TRY(iv_label_auroc(used, w->x, 1, w->class, labels->n_classes, w->auroc, err));
    m->class = iv_label_best(used, labels->n_classes, a->labels.rows_of, w->auroc);
    if (m->class < labels->n_classes) {
        double value = w->auroc[m->class];
        m->low = value < 0.5;
        m->auroc = m->low ? 1 - value : value;
    }
    return ISOVAE_OK;
}

static isovae_status summarise(const iv_summary *s, labelled *w, isovae_error *err)
{
    iv_analysis *a = s->analysis;
    const iv_labels *labels = a->labels.of;
    size_t present = 0;
    IV_TRY(make(w, s->rows->rows, labels->n_classes, err));
    IV_TRY(IV_NEW(a->labels.rows_of, labels->n_classes, "classes", err));
    IV_TRY(IV_NEW(a->labels.latents, a->n, "labels of the latents", err));
    for (size_t r = 0; r < s->rows->rows; r++) {
        double value = labels->value[s->rows->index[r]];
        if (isnan(value)) continue;
        w->number[w->count] = value;
        if (labels->n_classes > 0) {
            w->class[w->count] = (size_t)value;
            present += a->labels.rows_of[(size_t)value]++ == 0;
        }
        w->count++;
    }
    a->labels.rows = w->count;
    a->labels.present = present;
    a->labels.chance = iv_label_chance(w->count, present);
    for (size_t j = 0; j < a->n; j++) {
        IV_TRY(measure(s, w, j, &a->labels.latents[j], err));
    }
    return ISOVAE_OK;
}

isovae_status iv_summarise_labels(const iv_summary *s, isovae_error *err)
{
    labelled w = {0};
    const iv_labels *labels = s->options->labels;
    if (labels == NULL) return ISOVAE_OK;
    if (labels->rows != s->data->rows) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "labels for %zu rows, but the data have %zu",
                       labels->rows, s->data->rows);
    }
    s->analysis->labels.of = labels;
    isovae_status status = summarise(s, &w, err);
    iv_free(w.x);
    iv_free(w.number);
    iv_free(w.class);
    iv_free(w.auroc);
    iv_free(w.room);
    return status;
}
