/* The verbs of `interlock policy` that have a file of their own. */
#ifndef CLI_POLICY_COMMANDS_H
#define CLI_POLICY_COMMANDS_H

#include "cli.h"

cli_exit policy_eval_run(cli *self);

#endif
