#include "report/noise.h"
#include "report/values.h"

#include "report/csv.h"

#include <math.h>

/* Features that a table of the page shows, and names in a line of text. */
enum { SHOWN = 40, NAMED = 6 };

static void put_name(const iv_report_context *context, size_t feature, iv_text *out)
{
    iv_text name = {0};
    iv_facts_feature(context, feature, &name);
    if (name.failed) out->failed = true;
    iv_put_clean(out, name.data != NULL ? name.data : "", 20, true);
    iv_text_free(&name);
}

/* The feature with the least `nu` (or s) that comes after feature `last` in that order; SIZE_MAX:
 * none. */
static size_t next_of(const iv_analysis *a, bool by_nu, size_t last)
{
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < a->noise.n; i++) {
        const iv_feature_noise *f = a->noise.features;
        double v = by_nu ? f[i].nu : f[i].s_scaled;
        if (last != SIZE_MAX) {
            double before = by_nu ? f[last].nu : f[last].s_scaled;
            if (v < before || (v <= before && i <= last)) continue;
        }
        if (best == SIZE_MAX || v < (by_nu ? f[best].nu : f[best].s_scaled)) best = i;
    }
    return best;
}

void iv_noise_line(const iv_report_context *context, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    const iv_feature_noise *f = a->noise.features;
    size_t least = 0, most = 0;
    for (size_t i = 1; i < a->noise.n; i++) {
        if (f[i].s_scaled < f[least].s_scaled) least = i;
        if (f[i].s_scaled > f[most].s_scaled) most = i;
    }
    iv_text_puts(out, "s from ");
    iv_put_number(out, f[least].s_scaled, 3);
    iv_text_puts(out, " (");
    put_name(context, least, out);
    iv_text_puts(out, ") to ");
    iv_put_number(out, f[most].s_scaled, 3);
    iv_text_puts(out, " (");
    put_name(context, most, out);
    iv_text_puts(out, ") in scaled units");
    if (a->noise.at_floor > 0) {
        iv_text_printf(out, "; %zu of %zu at the floor", a->noise.at_floor, a->noise.n);
    }
}

void iv_tails_line(const iv_report_context *context, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    if (a->noise.heavy == 0) {
        iv_text_printf(out, "no feature has heavy ones (nu below %g)", a->noise.heavy_limit);
        return;
    }
    iv_text_printf(out, "heavy (nu below %g) in %zu of %zu features:", a->noise.heavy_limit,
                   a->noise.heavy, a->noise.n);
    size_t i = next_of(a, true, SIZE_MAX);
    for (size_t shown = 0; shown < a->noise.heavy && shown < NAMED && i != SIZE_MAX; shown++) {
        iv_text_puts(out, shown > 0 ? ", " : " ");
        put_name(context, i, out);
        iv_text_puts(out, " ");
        iv_put_fixed(out, a->noise.features[i].nu, 1);
        i = next_of(a, true, i);
    }
    if (a->noise.heavy > NAMED) iv_text_puts(out, " ...");
}

static json_t *feature_json(const iv_report_context *context, size_t i)
{
    const iv_feature_noise *f = &context->analysis->noise.features[i];
    json_t *o = json_object();
    iv_text name = {0};
    iv_facts_feature(context, i, &name);
    bool ok = !name.failed &&
              iv_json_put(o, "feature", iv_json_string(name.data != NULL ? name.data : ""));
    ok = ok && iv_json_put(o, "s", iv_json_number(f->s));
    ok = ok && iv_json_put(o, "s_scaled", iv_json_number(f->s_scaled));
    ok = ok && iv_json_put(o, "nu", iv_json_number(f->nu));
    ok = ok && iv_json_put(o, "residual_sd", iv_json_number(f->residual_sd));
    ok = ok && iv_json_put(o, "at_floor", json_boolean(f->at_floor));
    iv_text_free(&name);
    return iv_json_done(o, ok);
}

json_t *iv_noise_json(const iv_report_context *context)
{
    const iv_analysis *a = context->analysis;
    json_t *o = json_object(), *features = json_array();
    bool ok = iv_json_put(o, "tails", json_boolean(a->noise.tails));
    ok = ok && iv_json_put(o, "floor", iv_json_number(a->noise.floor));
    ok = ok && iv_json_put(o, "heavy_limit", iv_json_number(a->noise.heavy_limit));
    ok = ok && iv_json_put(o, "heavy", iv_json_count(a->noise.heavy));
    ok = ok && iv_json_put(o, "at_floor", iv_json_count(a->noise.at_floor));
    for (size_t i = 0; ok && i < a->noise.n; i++) {
        ok = iv_json_append(features, feature_json(context, i));
    }
    ok = iv_json_put(o, "features", features) && ok;
    return iv_json_done(o, ok);
}

void iv_noise_csv(const iv_report_context *context, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    iv_text_puts(out, "feature,s,s_scaled,nu,residual_sd,at_floor\n");
    for (size_t i = 0; i < a->noise.n; i++) {
        const iv_feature_noise *f = &a->noise.features[i];
        iv_text name = {0};
        iv_facts_feature(context, i, &name);
        if (name.failed) out->failed = true;
        iv_csv_text(out, true, name.data != NULL ? name.data : "");
        iv_csv_number(out, false, f->s);
        iv_csv_number(out, false, f->s_scaled);
        iv_csv_number(out, false, isfinite(f->nu) ? f->nu : (double)NAN);
        iv_csv_number(out, false, f->residual_sd);
        iv_csv_count(out, false, f->at_floor);
        iv_csv_end(out);
        iv_text_free(&name);
    }
}

static void html_cell(iv_text *out, double value, int digits)
{
    iv_text_puts(out, "<td>");
    iv_put_number(out, isfinite(value) ? value : (double)NAN, digits);
    iv_text_puts(out, "</td>");
}

void iv_noise_html(const iv_report_context *context, iv_text *out)
{
    const iv_analysis *a = context->analysis;
    bool tails = a->noise.tails;
    iv_text_puts(out, "<figure><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label="
                      "\"Noise\"><table><thead><tr><th scope=\"col\" class=\"text\">feature</th>"
                      "<th scope=\"col\">s</th><th scope=\"col\">s, scaled</th>");
    if (tails) iv_text_puts(out, "<th scope=\"col\">nu</th>");
    iv_text_puts(out, "<th scope=\"col\">residual, SD</th><th scope=\"col\" class=\"text\"></th>"
                      "</tr></thead><tbody>");
    /* Those with the heaviest tails first, else in the order of the data. */
    size_t i = tails ? next_of(a, true, SIZE_MAX) : 0;
    for (size_t shown = 0; shown < SHOWN && shown < a->noise.n && i < a->noise.n; shown++) {
        const iv_feature_noise *f = &a->noise.features[i];
        iv_text name = {0};
        iv_facts_feature(context, i, &name);
        if (name.failed) out->failed = true;
        iv_text_puts(out, "<tr><th scope=\"row\" class=\"text\">");
        iv_put_escaped(out, name.data != NULL ? name.data : "");
        iv_text_puts(out, "</th>");
        iv_text_free(&name);
        html_cell(out, f->s, 4);
        html_cell(out, f->s_scaled, 3);
        if (tails) html_cell(out, f->nu, 3);
        html_cell(out, f->residual_sd, 4);
        iv_text_printf(out, "<td class=\"text\">%s%s%s</td></tr>",
                       f->nu < a->noise.heavy_limit ? "heavy tails" : "",
                       f->nu < a->noise.heavy_limit && f->at_floor ? ", " : "",
                       f->at_floor ? "at the floor" : "");
        i = tails ? next_of(a, true, i) : i + 1;
    }
    iv_text_puts(out, "</tbody></table></div><figcaption>");
    if (a->noise.n > SHOWN) {
        iv_text_printf(out, "%d of %zu features. ", (int)SHOWN, a->noise.n);
    }
    iv_text_puts(out, tails ? "Student's t with scale s and nu degrees of freedom; below 10 the "
                              "tails are heavy, and the residual's SD is then well above s."
                            : "Gaussian noise of standard deviation s; beside it that of the "
                              "residuals of a decoded noisy code, which it should equal unless the "
                              "floor holds it up.");
    iv_text_puts(out, "</figcaption></figure>");
}
