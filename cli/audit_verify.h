/* interlock audit verify. */
#ifndef CLI_AUDIT_VERIFY_H
#define CLI_AUDIT_VERIFY_H

#include "cli.h"

cli_exit audit_verify_run(cli *self);

#endif
