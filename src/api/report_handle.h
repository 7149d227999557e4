/* What stands behind isovae_report: of a model, or of networks that were audited. */
#ifndef IV_API_REPORT_HANDLE_H
#define IV_API_REPORT_HANDLE_H

#include "data/labels.h"
#include "graph/live.h"
#include "report/report.h"
#include "theory/audit.h"

struct isovae_report {
    iv_analysis *analysis;
    iv_labels *labels; /* which the analysis looks into */
    iv_report_context context;
    char *command;
    /* Of an audit. */
    iv_audit audit;
    iv_model *model; /* owned; NULL: a caller's */
    iv_live *live;   /* owned; NULL: no functions behind the model */
};

#endif
