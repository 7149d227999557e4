#include "report/sweep.h"
isovae_status iv_sweep_json(const iv_sweep_report *report, json_t **out, isovae_error *err){(void)report;*out=json_object();(void)err;return ISOVAE_OK;}
isovae_status iv_sweep_html(const iv_sweep_report *report, iv_text *out, isovae_error *err){(void)report;iv_text_puts(out,"x");(void)err;return ISOVAE_OK;}
