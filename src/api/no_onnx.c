/* In the place of export.c where the build has no ONNX (ISOVAE_ONNX=OFF). */
#include "api/handles.h"

isovae_status isovae_export_onnx(const isovae_model *model, const char *folder, char **reason,
                                 isovae_error *err)
{
    (void)model;
    (void)folder;
    if (reason) *reason = NULL;
    return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                   "this library was built without ONNX (build with -DISOVAE_ONNX=ON)");
}
