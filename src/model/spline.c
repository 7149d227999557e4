/* Isometric coordinates: dy_j/dmu_j = sqrt(beta/2)/sigma_j (E3), with 1/sigma_j as a piecewise
 * linear function g of mu_j that is constant beyond its outer knots. Its integral is exact. */
#include "model/model.h"

#include "base/memory.h"
#include "base/order.h"

#include <math.h>

enum { MAX_KNOTS = 32, ROWS_PER_KNOT = 8 };

void iv_spline_free(iv_spline *spline)
{
    iv_free(spline->u);
    iv_free(spline->g);
    *spline = (iv_spline){0};
}

/* g(t). Without knots, as in a model that was not calibrated, sigma is taken as 1. */
static double slope_at(const iv_spline *s, double t)
{
    if (s->n == 0) return 1;
    if (t <= s->u[0]) return s->g[0];
    for (size_t i = 1; i < s->n; i++) {
        if (t <= s->u[i]) {
            double width = s->u[i] - s->u[i - 1];
            return s->g[i - 1] + (s->g[i] - s->g[i - 1]) * ((t - s->u[i - 1]) / width);
        }
    }
    return s->g[s->n - 1];
}

/* Integral of g from the first knot to t. */
static double integral_to(const iv_spline *s, double t)
{
    if (s->n == 0) return t;
    if (t <= s->u[0]) return (t - s->u[0]) * s->g[0];
    double sum = 0;
    for (size_t i = 1; i < s->n; i++) {
        double width = s->u[i] - s->u[i - 1];
        if (t <= s->u[i]) {
            double h = t - s->u[i - 1];
            return sum + h * (s->g[i - 1] + (s->g[i] - s->g[i - 1]) * (h / width) / 2);
        }
        sum += width * (s->g[i - 1] + s->g[i]) / 2;
    }
    return sum + (t - s->u[s->n - 1]) * s->g[s->n - 1];
}

double iv_spline_y(const iv_spline *spline, double beta, double t)
{
    return sqrt(beta / 2) * (integral_to(spline, t) - integral_to(spline, 0));
}

/* Within a segment the integral is g h + c h^2/2, c the slope of g; its root is written without
 * the difference that would cancel where c is small. */
double iv_spline_mu(const iv_spline *spline, double beta, double y)
{
    const iv_spline *s = spline;
    double rest = y / sqrt(beta / 2) + integral_to(s, 0);
    if (s->n == 0) return rest;
    if (rest <= 0) return s->u[0] + rest / s->g[0];
    for (size_t i = 1; i < s->n; i++) {
        double width = s->u[i] - s->u[i - 1];
        double area = width * (s->g[i - 1] + s->g[i]) / 2;
        if (width > 0 && rest <= area) {
            double g = s->g[i - 1], c = (s->g[i] - g) / width;
            double root = sqrt(fmax(g * g + 2 * c * rest, 0));
            return s->u[i - 1] + 2 * rest / (g + root);
        }
        rest -= area;
    }
    return s->u[s->n - 1] + rest / s->g[s->n - 1];
}

/* `sorted`: rows by their mu. */
static void fit_knots(const iv_ranked *sorted, const double *sigma, size_t rows, iv_spline *out)
{
    size_t first = 0;
    for (size_t i = 0; i < out->n; i++) {
        size_t count = rows / out->n + (i < rows % out->n ? 1 : 0);
        double u = 0, g = 0;
        for (size_t r = first; r < first + count; r++) {
            u += sorted[r].value;
            g += 1 / sigma[sorted[r].place];
        }
        out->u[i] = u / (double)count;
        out->g[i] = g / (double)count;
        /* Means of equal numbers may be rounded apart: knots never descend. */
        if (i > 0 && out->u[i] < out->u[i - 1]) out->u[i] = out->u[i - 1];
        first += count;
    }
}

isovae_status iv_spline_fit(const double *mu, const double *sigma, size_t rows, iv_spline *out,
                            isovae_error *err)
{
    *out = (iv_spline){0};
    if (rows == 0) {
        return iv_fail(err, ISOVAE_ERR_ARGUMENT, "a spline needs at least one row");
    }
    for (size_t r = 0; r < rows; r++) {
        if (!isfinite(mu[r]) || !isfinite(1 / sigma[r]) || sigma[r] <= 0) {
            return iv_fail(err, ISOVAE_ERR_DIVERGED,
                           "row %zu has mu %g and sigma %g; isometric coordinates need finite mu "
                           "and positive sigma",
                           r, mu[r], sigma[r]);
        }
    }
    iv_ranked *sorted;
    IV_TRY(IV_NEW(sorted, rows, "the rows in order of mu", err));
    for (size_t r = 0; r < rows; r++) sorted[r] = (iv_ranked){mu[r], r};
    iv_sort_ranked(rows, sorted);

    iv_spline spline = {.n = rows / ROWS_PER_KNOT};
    if (spline.n < 1 || sorted[rows - 1].value - sorted[0].value < 1e-9) spline.n = 1;
    if (spline.n > MAX_KNOTS) spline.n = MAX_KNOTS;
    isovae_status status = IV_NEW(spline.u, spline.n, "the knots", err);
    if (status == ISOVAE_OK) status = IV_NEW(spline.g, spline.n, "the knots", err);
    if (status == ISOVAE_OK) {
        double mean = 0, square = 0;
        fit_knots(sorted, sigma, rows, &spline);
        for (size_t r = 0; r < rows; r++) {
            double g = 1 / sigma[r], off = g - slope_at(&spline, mu[r]);
            mean += g;
            square += off * off;
        }
        spline.rms = sqrt(square / (double)rows) / (mean / (double)rows);
        *out = spline;
    } else {
        iv_spline_free(&spline);
    }
    iv_free(sorted);
    return status;
}

void iv_spline_mirror(iv_spline *spline)
{
    for (size_t i = 0, j = spline->n; i < j; i++) {
        j--;
        double u = spline->u[i], g = spline->g[i];
        spline->u[i] = -spline->u[j];
        spline->g[i] = spline->g[j];
        spline->u[j] = -u; /* the middle one, i = j, is negated once */
        spline->g[j] = g;
    }
}
