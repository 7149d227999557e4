/* Anomaly scores as a service: a table comes in on standard input, a line at a time, and a score
 * goes out for each row at once.
 *
 *   score_stdin MODEL.safetensors [SHARE] <rows.csv
 *
 * The first line names the columns; the model's are found among them by name, in any order, and
 * others are left aside. SHARE (0.01): an alarm is a row that is less probable than this share of
 * the rows that were held out of training. Out: row,log_density,tail_prob,status, where status is
 * "ok", "alarm", or "bad" for a row that cannot be scored; such a row does not stop the others.
 *
 * Needs no more than libisovae-runtime.
 */
#define _GNU_SOURCE
#include <isovae/isovae.h>

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The next field of a line that is cut up on the way: no quotes, spaces around a field do not
 * count. NULL behind the last one. */
static char *next_field(char **line)
{
    if (!*line) return NULL;
    char *field = strsep(line, ",");
    field += strspn(field, " \t");
    field[strcspn(field, " \t\r\n")] = '\0';
    return field;
}

/* place[i]: the column of the model's feature i. */
static int find_columns(const isovae_model *model, char *header, size_t *place)
{
    size_t features = isovae_model_features(model);
    for (size_t i = 0; i < features; i++) place[i] = SIZE_MAX;
    char *name;
    for (size_t column = 0; (name = next_field(&header)); column++)
        for (size_t i = 0; i < features; i++) {
            const char *own = isovae_model_feature_name(model, i);
            if (own && place[i] == SIZE_MAX && !strcmp(own, name)) place[i] = column;
        }
    for (size_t i = 0; i < features; i++)
        if (place[i] == SIZE_MAX) {
            const char *own = isovae_model_feature_name(model, i);
            fprintf(stderr, "the input has no column %s\n",
                    own ? own : "for a feature without a name");
            return -1;
        }
    return 0;
}

/* What is missing or no number becomes NaN, which the scorer answers with a status. */
static void read_row(char *line, const size_t *place, size_t features, double *row)
{
    for (size_t i = 0; i < features; i++) row[i] = NAN;
    char *field;
    for (size_t column = 0; (field = next_field(&line)); column++)
        for (size_t i = 0; i < features; i++)
            if (place[i] == column) {
                char *end;
                double value = strtod(field, &end);
                if (end != field && !*end) row[i] = value;
            }
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s MODEL.safetensors [SHARE] <rows.csv\n", argv[0]);
        return 2;
    }
    double share = argc > 2 ? strtod(argv[2], NULL) : 0.01;
    isovae_error error = {0};
    isovae_model *model = NULL;
    isovae_scorer *scorer = NULL;
    size_t *place = NULL;
    double *row = NULL;
    char *line = NULL;
    size_t room = 0;
    int status = 1;

    /* Once, at the start; after that nothing below allocates but getline for a longer line. */
    if (isovae_model_load(argv[1], &model, &error) ||
        isovae_scorer_new(model, NULL, &scorer, &error)) {
        fprintf(stderr, "%s\n", error.message);
        goto done;
    }
    double limit = isovae_model_quantile(model, share);
    if (!isfinite(limit)) {
        fprintf(stderr, "there is no threshold for a share of %s\n", argc > 2 ? argv[2] : "0.01");
        goto done;
    }
    size_t features = isovae_model_features(model);
    place = malloc(features * sizeof *place);
    row = malloc(features * sizeof *row);
    if (!place || !row) {
        fprintf(stderr, "out of memory\n");
        goto done;
    }
    if (getline(&line, &room, stdin) < 0) {
        fprintf(stderr, "there is no line with the names of the columns\n");
        goto done;
    }
    if (find_columns(model, line, place)) goto done;

    setvbuf(stdout, NULL, _IOLBF, 0); /* an answer leaves as soon as it is known */
    puts("row,log_density,tail_prob,status");
    for (unsigned long number = 1; getline(&line, &room, stdin) >= 0; number++) {
        double log_density;
        unsigned char row_status;
        read_row(line, place, features, row);
        if (isovae_scorer_score(scorer, row, ISOVAE_F64, 1, 0, 0, &log_density, &row_status,
                                &error)) {
            fprintf(stderr, "%s\n", error.message);
            goto done;
        }
        if (row_status != ISOVAE_ROW_OK)
            printf("%lu,,,bad\n", number);
        else
            printf("%lu,%.4f,%.4f,%s\n", number, log_density, isovae_tail_prob(model, log_density),
                   log_density < limit ? "alarm" : "ok");
    }
    status = ferror(stdin) || fflush(stdout) ? 1 : 0;
done:
    free(line);
    free(row);
    free(place);
    isovae_scorer_free(scorer);
    isovae_model_free(model);
    return status;
}
