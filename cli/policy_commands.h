/* The verbs of `interlock policy` that have a file of their own. */
#ifndef CLI_POLICY_COMMANDS_H
#define CLI_POLICY_COMMANDS_H

#include "cli.h"

cli_exit policy_eval_run(cli *self);
cli_exit policy_check_run(cli *self);
cli_exit policy_test_run(cli *self);
cli_exit policy_explain_run(cli *self);
cli_exit policy_replay_run(cli *self);
cli_exit policy_diff_run(cli *self);
cli_exit policy_shadow_run(cli *self);
cli_exit policy_history_run(cli *self);
cli_exit policy_rollback_run(cli *self);

#endif
