/* Pieces of text that several commands print. */
#include "cli.h"

#include <math.h>
#include <string.h>

void cli_quote(iv_text *text, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-+=:,./@%^";
    if (*word != '\0' && word[strspn(word, plain)] == '\0') {
        iv_text_puts(text, word);
        return;
    }
    iv_text_puts(text, "'");
    for (; *word != '\0'; word++) {
        if (*word == '\'') {
            iv_text_puts(text, "'\\''");
        } else {
            iv_text_append(text, word, 1);
        }
    }
    iv_text_puts(text, "'");
}

void cli_count_text(iv_text *text, uint64_t count)
{
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)count);
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) iv_text_puts(text, ",");
        iv_text_append(text, digits + i, 1);
    }
}

/* docs/theory.md section 1, the other way round: what to call this beta elsewhere. */
void cli_tell_beta(iv_text *text, const iv_model *model)
{
    double beta = model->beta, d = (double)model->d, n = (double)model->n;
    bool bce = model->metric.loss == IV_LOSS_BCE;
    if (model->metric.loss == IV_LOSS_SSIM) return;  /* (1 - SSIM) + beta KL is what others write */
    if (iv_loss_learned(model->metric.loss)) return; /* minus a log likelihood + KL, as it stands */
    iv_text_puts(text, "  beta elsewhere:\n");
    if (bce) {
        iv_text_printf(text, "    BCE summed + b KL                       b = %.4g\n", beta);
        iv_text_printf(text, "    BCE averaged over features + b KL       b = %.4g\n", beta / d);
        return;
    }
    iv_text_printf(text, "    1/2 SSE + b KL                          b = %.4g\n", beta / 2);
    iv_text_printf(text, "    MSE (mean over features) + b KL         b = %.4g\n", beta / d);
    iv_text_printf(text, "    l MSE (mean over features) + KL         l = %.4g\n", d / beta);
    iv_text_printf(text, "    SSE + b KL averaged over latents        b = %.4g\n", n * beta);
    iv_text_printf(text, "    MSE + b KL, both averaged               b = %.4g\n", n * beta / d);
    if (model->metric.loss == IV_LOSS_SSE) {
        iv_text_printf(text, "    Gaussian decoder, log likelihood - KL   s = %.4g\n",
                       sqrt(beta / 2));
    }
}
