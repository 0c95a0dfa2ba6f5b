/* The table of all commands, in the order of the overview. */
#include "cli.h"

static cli_exit version_run(cli *self) {
    (void)self;
    puts("interlock " INTERLOCK_VERSION);
    return CLI_OK;
}

const cli_command version_commands[] = {{.noun = "version",
                                         .purpose = "print the version",
                                         .examples = "  interlock version\n",
                                         .run = version_run}};
const size_t version_command_count = 1;

/* Filled on the first call, since the counts are known to the other files alone. */
const cli_group *cli_all_commands(size_t *count) {
    static cli_group groups[16];
    const cli_group all[] = {{init_commands, init_command_count},
                             {dev_commands, dev_command_count},
                             {status_commands, status_command_count},
                             {doctor_commands, doctor_command_count},
                             {agent_commands, agent_command_count},
                             {key_commands, key_command_count},
                             {evaluate_commands, evaluate_command_count},
                             {outcome_commands, outcome_command_count},
                             {graph_commands, graph_command_count},
                             {why_commands, why_command_count},
                             {kill_commands, kill_command_count},
                             {policy_commands, policy_command_count},
                             {backtest_commands, backtest_command_count},
                             {audit_commands, audit_command_count},
                             {completion_commands, completion_command_count},
                             {version_commands, version_command_count}};
    *count = sizeof all / sizeof *all;
    for (size_t i = 0; i < *count; i++)
        groups[i] = all[i];
    return groups;
}
