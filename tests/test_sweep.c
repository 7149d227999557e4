/* The sweep of beta: targets, answers from closed forms, a linear model on Gaussian data where all
 * of it is known, interruption, hostile states, and its reports. ISOVAE_TEST_SHORT=1 (sanitizers)
 * takes fewer steps. */
#include "support_fit.h"

#include "base/file.h"
#include "base/memory.h"
#include "model/file.h"
#include "report/sweep.h"
#include "train/sweep.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void targets_are_parsed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        iv_sweep_goal goal;
        double value;
    } good[] = {{"psnr=25", IV_GOAL_PSNR, 25},
                {"rmse=0.5", IV_GOAL_RMSE, 0.5},
                {"r2=0.9", IV_GOAL_R2, 0.9},
                {"rate=12.5", IV_GOAL_RATE, 12.5},
                {"active=3", IV_GOAL_ACTIVE, 3}};
    static const char *const bad[] = {
        "",          "psnr",       "psnr=",     "psnr=x",  "psnr=0",     "psnr=-3", "psnr=100",
        "r2=1",      "r2=0",       "r2=1.5",    "r2=nan",  "rate=inf",   "rate=0",  "active=2.5",
        "active=-1", "active=1e9", "psnr =25",  "PSNR=25", "psnr=25dB",  "=25",     "calibrated=1",
        "beta=1",    "r2=0.9,x=1", "rmse=-0.1", "r2=0.9 ", "active=nan", "rate==1", "rmse=0"};
    isovae_error err;
    iv_sweep_target t;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        ok(iv_sweep_target_parse(good[i].text, &t, &err), &err);
        assert_int_equal(t.goal, good[i].goal);
        assert_true(t.value == good[i].value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (iv_sweep_target_parse(bad[i], &t, &err) != ISOVAE_ERR_ARGUMENT)
            fail_msg("'%s' is taken", bad[i]);
        assert_non_null(strstr(err.message, "--target"));
    }
}

/* ---- a linear model in closed form ---- */

static const double lambda[] = {4, 1, 0.25, 0.01};
enum { features = 8, latents = 6, components = 4 };

/* The optimum at each beta: reverse water-filling. Every second seed has a little less rate. */
static iv_sweep *closed_form(size_t seeds, size_t points, double from, double to)
{
    isovae_error err;
    iv_sweep *s;
    ok(iv_sweep_new(seeds, points, latents, &s, &err), &err);
    s->d = s->varying = features;
    s->comparable = true;
    s->n_held = 100;
    s->n_pca = components;
    s->fixed_beta = NAN;
    s->target.value = NAN;
    ok(IV_NEW(s->pca, components, "eigenvalues", &err), &err);
    for (size_t j = 0; j < components; j++) {
        s->pca[j] = lambda[j];
        s->pca_total += lambda[j];
    }
    s->variance = s->held_variance = s->pca_total;
    for (size_t i = 0; i < seeds * points; i++) {
        iv_sweep_point *p = &s->runs[i];
        p->beta = from * pow(to / from, (double)(i % points) / (double)(points - 1));
        for (size_t j = 0; j < latents; j++) {
            double v = j < components ? lambda[j] : 0, noise = p->beta / 2;
            p->train.distortion += fmin(v, noise);
            p->importance[j] = fmax(v, noise);
            if (v <= noise) {
                p->train.error += v;
                continue;
            }
            p->kl[j] = 0.5 * log(v / noise) * (i / points % 2 ? 0.98 : 1);
            p->train.rate += p->kl[j];
            p->train.error += noise * noise / v;
            p->active += p->kl[j] > 0.05;
            p->coding_predicted += noise * (1 - noise / v);
        }
        p->train.transform = p->train.error;
        p->train.psnr = NAN;
        p->train.arrived = (iv_sweep_spot){p->train.distortion, p->train.rate};
        p->held = p->train;
    }
    return s;
}

static void near(double value, double wanted, double tolerance)
{
    if (!(fabs(value / wanted - 1) <= tolerance))
        fail_msg("%.6g is not within %.2g %% of %.6g", value, 100 * tolerance, wanted);
}

static void closed_form_gives_slopes_and_births(void **state)
{
    (void)state;
    iv_sweep *s = closed_form(1, 24, 12, 0.002);
    iv_sweep_summarise(s);
    for (size_t j = 0; j < components; j++) {
        near(s->births[j].predicted, 2 * lambda[j] / 1.105, 1e-9);
        near(s->births[j].seen, 2 * lambda[j] / 1.105, 0.002);
        assert_true(s->births[j].lo <= s->births[j].seen && s->births[j].seen <= s->births[j].hi);
    }
    assert_true(isnan(s->births[4].seen) && isnan(s->births[4].predicted));
    assert_true(s->chord_middle > 5);
    /* exact but for the chord in which the third latent appears */
    assert_true(s->chord_mean < 0.02 && s->chord_worst < 0.08);
    double distortion, rate;
    size_t active;
    for (size_t k = 0; k < s->points; k++) {
        iv_sweep_linear(s, s->mean[k].beta, &distortion, &rate, &active);
        near(distortion, s->mean[k].train.distortion, 1e-9);
        assert_true(fabs(rate - s->mean[k].train.rate) < 1e-9);
        assert_int_equal(active, (size_t)s->mean[k].active);
        double loss = distortion + s->mean[k].beta * rate;
        near(iv_sweep_loss_at(s, s->mean[k].beta), loss, 1e-9);
    }
    /* between the points the loss follows its slope, the rate */
    double beta = 0.013;
    iv_sweep_linear(s, beta, &distortion, &rate, &active);
    near(iv_sweep_loss_at(s, beta), distortion + beta * rate, 1e-3);
    iv_sweep_free(s);
    s = closed_form(3, 16, 12, 0.002);
    iv_sweep_summarise(s);
    assert_true(s->sd[10].train.rate > 0 && s->births[0].sd > 0 && s->births[0].sd < 0.05);
    assert_true(s->sd[10].train.distortion < 1e-12);
    iv_sweep_free(s);
}

/* Every training leaves less error and less rate behind: own figures tilt, the curve does not. */
static void the_curve_is_of_equal_training(void **state)
{
    (void)state;
    iv_sweep *s = closed_form(2, 24, 12, 0.002), *true_ = closed_form(2, 24, 12, 0.002);
    for (size_t i = 0; i < 2 * s->points; i++) {
        iv_sweep_point *p = &s->runs[i];
        size_t stage = s->points - 1 - i % s->points;
        for (int held = 0; held < 2; held++) {
            iv_sweep_side *side = held ? &p->held : &p->train;
            side->arrived.distortion += 0.5 * pow(0.9, (double)stage);
            side->arrived.rate += 0.7 * pow(0.9, (double)stage);
            side->distortion += 0.5 * pow(0.9, (double)stage + 1);
            side->rate += 0.7 * pow(0.9, (double)stage + 1);
        }
    }
    iv_sweep_summarise(s);
    iv_sweep_summarise(true_);
    const iv_sweep_point *large = &s->mean[0], *small = &s->mean[s->points - 1];
    assert_true(large->train.curve.rate == large->train.rate);
    assert_true(small->held.curve.distortion == small->held.distortion);
    assert_int_equal(s->chord_middle, true_->chord_middle);
    for (size_t k = 0; k + 1 < s->points; k++) {
        const iv_sweep_point *a = &s->mean[k], *b = &s->mean[k + 1];
        double own = (a->train.distortion - b->train.distortion) / (b->train.rate - a->train.rate);
        if (isnan(true_->chords[k].train)) continue;
        near(s->chords[k].train, true_->chords[k].train, 1e-6);
        near(s->chords[k].held, true_->chords[k].train, 1e-6);
        if (s->chords[k].middle) assert_true(fabs(own / s->chords[k].train - 1) > 0.05);
    }
    near(s->sd[20].train.curve.rate, true_->sd[20].train.rate, 1e-6);
    iv_sweep_free(s);
    iv_sweep_free(true_);
}

static void answer_to(iv_sweep *s, const char *target)
{
    isovae_error err;
    s->target = (iv_sweep_target){.goal = IV_GOAL_CALIBRATED, .value = NAN};
    if (target) ok(iv_sweep_target_parse(target, &s->target, &err), &err);
    iv_sweep_answer(s);
}

static void closed_form_answers(void **state)
{
    (void)state;
    iv_sweep *s = closed_form(1, 24, 12, 0.002);
    iv_sweep_summarise(s);
    double d, rate;
    size_t active;
    answer_to(s, "rate=2.5");
    iv_sweep_linear(s, s->beta, &d, &rate, &active);
    assert_true(s->found && fabs(rate - 2.5) < 0.03);
    assert_int_equal(s->active, 3);
    assert_int_equal(s->pca_active, 3);
    answer_to(s, "r2=0.97");
    assert_true(s->found && s->active == 3);
    assert_true(iv_sweep_meets(s, iv_sweep_value_at(s, s->beta)));
    assert_true(!iv_sweep_meets(s, 0.95) && iv_sweep_meets(s, 0.979));
    answer_to(s, "rmse=0.2");
    assert_true(s->found);
    near(iv_sweep_value_at(s, s->beta), 0.2, 0.02);
    answer_to(s, "active=2");
    assert_true(s->found && s->beta > 2 * lambda[2] / 1.105 && s->beta < 2 * lambda[1] / 1.105);
    assert_int_equal(s->active, 2);
    answer_to(s, "active=5");
    assert_false(s->found);
    answer_to(s, "active=600000");
    assert_false(s->found);
    answer_to(s, "r2=0.9999999");
    assert_true(!s->found && s->best > 0.99 && isnan(s->beta));
    answer_to(s, "psnr=30"); /* no pictures */
    assert_false(s->found);
    /* no more residual than the latents' noise: the smallest beta */
    answer_to(s, NULL);
    assert_true(s->found && s->at_floor && s->beta == s->mean[s->points - 1].beta);
    iv_sweep_free(s);

    /* with noise of variance 0.05 in each feature, beta/2 is that */
    s = closed_form(1, 24, 12, 0.02);
    for (size_t k = 0; k < s->points; k++) {
        double noise = s->runs[k].beta / 2;
        s->runs[k].train.distortion += (features - components) * 0.05;
        if (noise < 0.05) s->runs[k].train.distortion += components * (0.05 - noise);
    }
    iv_sweep_summarise(s);
    answer_to(s, NULL);
    assert_true(s->found && !s->at_floor);
    near(s->beta, 0.1, 0.25);
    /* bce: 1, whatever the data */
    s->fixed_beta = 1;
    answer_to(s, NULL);
    near(s->beta, 1, 1e-9);
    iv_sweep_free(s);
}

/* ---- whole sweeps ---- */

static iv_sweep_options linear_options(size_t steps)
{
    iv_sweep_options o;
    iv_sweep_options_init(&o);
    o.fit.arch = "linear";
    o.fit.latent_dim = 5;
    o.points = 10;
    o.steps = steps;
    return o;
}

static void linear_model_keeps_to_the_theory(void **state)
{
    (void)state;
    if (short_run()) skip();
    isovae_error err;
    iv_dataset *data = open_data("toy:norm,n=6000");
    iv_sweep_options o = linear_options(400);
    iv_sweep *s;
    o.beta_to = 0.05;
    ok(iv_sweep_target_parse("r2=0.93", &o.target, &err), &err);
    ok(iv_sweep_run(data, &o, &s, &err), &err);
    assert_true(s->n_train >= 5000 && s->n_held == 600);
    for (size_t j = 0; j < 3; j++) near(s->births[j].seen, s->births[j].predicted, 0.1);
    assert_true(isnan(s->births[3].seen));
    assert_true(s->chord_middle >= 3 && s->chord_worst < 0.05);
    for (size_t k = 0; k < s->points; k++) {
        double d, r;
        size_t active;
        iv_sweep_linear(s, s->mean[k].beta, &d, &r, &active);
        assert_true(fabs(s->mean[k].train.rate - r) < 0.06);
        assert_true(fabs(s->mean[k].train.curve.rate - r) < 0.06);
        assert_int_equal((size_t)s->mean[k].active, active);
    }
    assert_true(s->found && s->reached && s->model != NULL);
    const iv_sweep_retrain *last = &s->retrains[s->n_retrains - 1];
    assert_true(fabs(last->value - 0.93) <= 0.01);
    assert_true(fabs(last->loss_gap) < 0.1);
    assert_true(s->model->beta == s->beta);
    iv_sweep_free(s);
    iv_dataset_free(data);
}

static void a_target_below_the_range_is_followed(void **state)
{
    (void)state;
    isovae_error err;
    iv_dataset *data = open_data("toy:norm,n=1500");
    iv_sweep_options o = linear_options(short_run() ? 60 : 250);
    iv_sweep *s;
    o.points = 4;
    o.beta_from = 8;
    o.beta_to = 1;
    o.no_retrain = true;
    ok(iv_sweep_target_parse("r2=0.93", &o.target, &err), &err);
    ok(iv_sweep_run(data, &o, &s, &err), &err);
    assert_true(s->points > 4 && s->mean[s->points - 1].beta < 0.5);
    if (!short_run()) assert_true(s->found && s->beta < 1);
    assert_int_equal(s->n_retrains, 0);
    iv_sweep_free(s);
    /* what no model of this size reaches ends the search */
    ok(iv_sweep_target_parse("r2=0.99999", &o.target, &err), &err);
    o.fit.latent_dim = 1;
    ok(iv_sweep_run(data, &o, &s, &err), &err);
    assert_true(!s->found && s->best < 0.9 && s->points <= 16);
    iv_sweep_free(s);
    iv_dataset_free(data);
}

static void options_are_checked(void **state)
{
    (void)state;
    isovae_error err;
    iv_dataset *data = open_data("toy:norm,n=300");
    static const struct {
        const char *target, *says;
        size_t points, seeds;
        double from, to;
    } bad[] = {
        {"psnr=20", "pictures", 0, 0, NAN, NAN}, {"active=6", "--latent-dim", 0, 0, NAN, NAN},
        {NULL, "--points", 1, 0, NAN, NAN},      {NULL, "--points", 1000, 0, NAN, NAN},
        {NULL, "--seeds", 0, 1000, NAN, NAN},    {NULL, "--beta-range", 0, 0, 0.1, 0.1},
        {NULL, "--beta-range", 0, 0, NAN, 1e9},  {NULL, "--beta-range", 0, 0, 1, -1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        iv_sweep_options o = linear_options(5);
        iv_sweep *s;
        if (bad[i].target) ok(iv_sweep_target_parse(bad[i].target, &o.target, &err), &err);
        o.points = bad[i].points;
        o.seeds = bad[i].seeds;
        o.beta_from = bad[i].from;
        o.beta_to = bad[i].to;
        assert_int_equal(iv_sweep_run(data, &o, &s, &err), ISOVAE_ERR_ARGUMENT);
        if (strstr(err.message, bad[i].says) == NULL)
            fail_msg("'%s' does not say '%s'", err.message, bad[i].says);
        assert_null(s);
    }
    iv_dataset_free(data);
}

/* ---- interruption ---- */

typedef struct stopper {
    double at;
    char stage[16];
} stopper;

static bool stop_at(void *user, const iv_progress_info *info)
{
    stopper *s = user;
    if (strcmp(info->stage, "sweep") != 0) return true;
    assert_true(info->done <= info->total);
    return info->done < s->at;
}

static char *fresh_path(char *path)
{
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    unlink(path);
    return path;
}

static void same_runs(const iv_sweep *a, const iv_sweep *b)
{
    assert_int_equal(a->points, b->points);
    for (size_t i = 0; i < a->seeds * a->points; i++) {
        const iv_sweep_point *p = &a->runs[i], *q = &b->runs[i];
        assert_true(p->beta == q->beta && p->train.distortion == q->train.distortion);
        assert_true(p->train.rate == q->train.rate && p->held.error == q->held.error);
        assert_memory_equal(p->kl, q->kl, a->n * sizeof *p->kl);
    }
}

static void interrupted_sweeps_end_the_same(void **state)
{
    (void)state;
    isovae_error err;
    char path[] = "/tmp/isovae-test-XXXXXX";
    iv_dataset *data = open_data("toy:norm,n=600");
    iv_sweep_options o = linear_options(20);
    iv_sweep *whole, *parts = NULL;
    o.points = 4;
    o.seeds = 2;
    o.beta_from = 8;
    o.beta_to = 2;
    ok(iv_sweep_target_parse("rate=2", &o.target, &err), &err); /* adds points below */
    o.no_retrain = true;
    ok(iv_sweep_run(data, &o, &whole, &err), &err);
    assert_true(whole->points > 4);
    stopper stop = {.at = 0};
    o.state = fresh_path(path);
    o.resume = true;
    o.fit.progress = (iv_progress){.call = stop_at, .user = &stop};
    isovae_status status = ISOVAE_ERR_CANCELLED;
    size_t stops = 0;
    while (status == ISOVAE_ERR_CANCELLED && stops < 100) {
        status = iv_sweep_run(data, &o, &parts, &err);
        stop.at += 45;
        stops++;
    }
    ok(status, &err);
    assert_true(stops > 4);
    same_runs(whole, parts);
    iv_sweep_free(whole);
    iv_sweep_free(parts);
    char checkpoint[64];
    snprintf(checkpoint, sizeof checkpoint, "%s.ckpt", path);
    assert_int_not_equal(access(checkpoint, F_OK), 0);
    unlink(path);
    iv_dataset_free(data);
}

/* ---- hostile states ---- */

static void expect_state(const iv_dataset *data, const iv_sweep_options *o, isovae_status status,
                         const char *says)
{
    isovae_error err = {0};
    iv_sweep *s;
    isovae_status got = iv_sweep_run(data, o, &s, &err);
    if (got != status || strstr(err.message, says) == NULL)
        fail_msg("status %d, '%s' does not say '%s'", got, err.message, says);
    assert_null(s);
}

/* A state file with other metadata around the model that it holds. */
static void rewrite(const char *path, void change(json_t *state))
{
    isovae_error err;
    unsigned char *bytes;
    size_t length;
    iv_model *model;
    json_t *state;
    ok(iv_file_read(path, 1 << 24, &bytes, &length, &err), &err);
    ok(iv_model_read(bytes, length, path, &model, &state, &err), &err);
    iv_free(bytes);
    change(state);
    ok(iv_model_write(model, NULL, 0, state, &bytes, &length, &err), &err);
    ok(iv_file_write(path, bytes, length, &err), &err);
    iv_free(bytes);
    json_decref(state);
    iv_model_free(model);
}

static void many_points(json_t *state)
{
    json_object_set_new(state, "points", json_integer(1 << 30));
}
static void few_points(json_t *state)
{
    json_object_set_new(state, "points", json_integer(-4));
}
static void no_rows(json_t *state)
{
    json_object_set_new(state, "rows", json_integer(0));
}
static void many_trainings(json_t *state)
{
    json_object_set_new(state, "done", json_integer(INT64_MAX));
}
static void many_rows(json_t *state)
{
    json_t *rows = json_object_get(state, "rows");
    for (size_t i = 0; i < 100; i++) json_array_append(rows, json_array_get(rows, 0));
}
static void short_row(json_t *state)
{
    json_array_set_new(json_object_get(state, "rows"), 0, json_string("1 2 3"));
}
static void long_row(json_t *state)
{
    json_t *rows = json_object_get(state, "rows");
    char text[4096];
    snprintf(text, sizeof text, "%s 7", json_string_value(json_array_get(rows, 0)));
    json_array_set_new(rows, 0, json_string(text));
}
static void number_row(json_t *state)
{
    json_array_set_new(json_object_get(state, "rows"), 0, json_integer(3));
}
static void other_format(json_t *state)
{
    json_object_set_new(state, "format", json_string("isovae-sweep-state/9"));
}

static void hostile_states_are_refused(void **state)
{
    (void)state;
    isovae_error err;
    char path[] = "/tmp/isovae-test-XXXXXX";
    iv_dataset *data = open_data("toy:norm,n=300");
    iv_sweep_options o = linear_options(5);
    iv_sweep *s;
    o.points = 3;
    o.no_retrain = true;
    o.state = fresh_path(path);
    ok(iv_sweep_run(data, &o, &s, &err), &err);
    iv_model *model = NULL;
    iv_sweep_free(s);
    o.resume = true;
    ok(iv_sweep_run(data, &o, &s, &err), &err); /* all done: nothing is trained */
    iv_sweep_free(s);
    unsigned char *bytes;
    size_t length;
    ok(iv_file_read(path, 1 << 24, &bytes, &length, &err), &err);

    iv_sweep_options other = o;
    other.steps = 6;
    expect_state(data, &other, ISOVAE_ERR_ARGUMENT, "--steps");
    other = o;
    other.fit.latent_dim = 4;
    expect_state(data, &other, ISOVAE_ERR_ARGUMENT, "--latent-dim");
    other = o;
    other.fit.seed = 4;
    expect_state(data, &other, ISOVAE_ERR_ARGUMENT, "--seed");
    iv_dataset *fresh = open_data("toy:norm,n=300,seed=4");
    expect_state(fresh, &o, ISOVAE_ERR_ARGUMENT, "DATA");
    iv_dataset_free(fresh);

    static void (*const changes[])(json_t *) = {many_points, few_points, no_rows,  many_trainings,
                                                many_rows,   short_row,  long_row, number_row};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        rewrite(path, changes[i]);
        expect_state(data, &o, ISOVAE_ERR_FORMAT, "--resume");
        ok(iv_file_write(path, bytes, length, &err), &err);
    }
    rewrite(path, other_format);
    expect_state(data, &o, ISOVAE_ERR_ARGUMENT, "not the state of a sweep");
    ok(iv_file_write(path, bytes, length / 2, &err), &err);
    expect_state(data, &o, ISOVAE_ERR_FORMAT, path);
    ok(iv_file_write(path, "", 0, &err), &err);
    expect_state(data, &o, ISOVAE_ERR_FORMAT, path);
    /* a finished model */
    ok(iv_file_write(path, bytes, length, &err), &err);
    ok(iv_model_load(path, &model, &err), &err);
    ok(iv_model_save(model, path, &err), &err);
    iv_model_free(model);
    expect_state(data, &o, ISOVAE_ERR_ARGUMENT, "not the state of a sweep");
    iv_free(bytes);
    unlink(path);
    iv_dataset_free(data);
}

/* ---- reports ---- */

static void write_json(const iv_sweep_report *report, const char *path)
{
    isovae_error err;
    json_t *root;
    ok(iv_sweep_json(report, &root, &err), &err);
    assert_int_equal(json_dump_file(root, path, 0), 0);
    json_decref(root);
}

static void validate(const char *path)
{
    char command[512];
    snprintf(command, sizeof command,
             "python3 -c 'import json, sys, jsonschema; "
             "jsonschema.validate(json.load(open(sys.argv[2])), json.load(open(sys.argv[1])))' "
             "docs/sweep.schema.json '%s'",
             path);
    assert_int_equal(system(command), 0);
}

static void reports_hold_what_was_found(void **state)
{
    (void)state;
    isovae_error err;
    char path[] = "/tmp/isovae-test-XXXXXX";
    bool schema = system("python3 -c 'import jsonschema' >/dev/null 2>&1") == 0;
    char name[] = "<b>&\"x\".csv";
    iv_dataset *data = open_data("toy:norm,n=300");
    char *source = data->source;
    data->source = name;
    fresh_path(path);
    static const char *const goals[] = {NULL, "r2=0.95", "r2=0.9999999", "active=2", "psnr=20"};
    for (size_t i = 0; i < sizeof goals / sizeof goals[0]; i++) {
        iv_sweep *s = closed_form(i % 2 ? 3 : 1, 12, 12, 0.002);
        s->unit = "squared data units";
        if (i == 3) s->n_held = 0;
        if (i == 4) s->comparable = false;
        iv_sweep_summarise(s);
        answer_to(s, goals[i]);
        snprintf(s->notes[s->n_notes++].text, sizeof s->notes[0].text, "a note <i>");
        iv_sweep_report report = {.sweep = s, .data = data, .command = "isovae sweep '<b>'"};
        iv_text text = {0}, html = {0};
        ok(iv_sweep_text(&report, &text, &err), &err);
        ok(iv_sweep_html(&report, &html, &err), &err);
        size_t lines = 0, longest = 0, width = 0;
        for (size_t at = 0; at < text.length; at++) {
            width = text.data[at] == '\n' ? 0 : width + 1;
            lines += text.data[at] == '\n';
            longest = width > longest ? width : longest;
        }
        assert_true(lines < 12 + 12 && longest <= 160);
        assert_non_null(strstr(text.data, s->found ? "answers" : "no beta of this sweep"));
        assert_null(strstr(html.data, "<b>&\""));
        assert_null(strstr(html.data, "<i>"));
        assert_null(strstr(html.data, "nan"));
        assert_non_null(strstr(html.data, "</html>"));
        write_json(&report, path);
        if (schema) validate(path);
        iv_text_free(&text);
        iv_text_free(&html);
        iv_sweep_free(s);
    }
    unlink(path);
    data->source = source;
    iv_dataset_free(data);
    if (!schema) skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_parsed),
        cmocka_unit_test(closed_form_gives_slopes_and_births),
        cmocka_unit_test(the_curve_is_of_equal_training),
        cmocka_unit_test(closed_form_answers),
        cmocka_unit_test(linear_model_keeps_to_the_theory),
        cmocka_unit_test(a_target_below_the_range_is_followed),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(interrupted_sweeps_end_the_same),
        cmocka_unit_test(hostile_states_are_refused),
        cmocka_unit_test(reports_hold_what_was_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
