/* In the place of audit and export where the build has no ONNX (ISOVAE_ONNX=OFF). */
#include "cli.h"

static isovae_status refuse(const cli *c, isovae_error *err)
{
    return iv_fail(err, ISOVAE_ERR_UNSUPPORTED,
                   "this isovae was built without ONNX: %s is not in it (build with "
                   "-DISOVAE_ONNX=ON)",
                   c->command->name);
}

isovae_status cmd_audit(cli *c, isovae_error *err)
{
    return refuse(c, err);
}

isovae_status cmd_export(cli *c, isovae_error *err)
{
    return refuse(c, err);
}
