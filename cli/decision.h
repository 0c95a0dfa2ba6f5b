/* A decision as a person reads it. */
#ifndef CLI_DECISION_H
#define CLI_DECISION_H

#include "cli.h"
#include "interlock/policy/v1/policy.pb-c.h"

void decision_print(cli *self, const Interlock__Policy__V1__Decision *decision);
void impact_print(cli *self, const Interlock__Graph__V1__Impact *impact);
/* What to do now, for the outcome. */
void decision_print_advice(const Interlock__Policy__V1__Decision *decision);
/* 0 allowed, 3 denied, 4 pending, 5 deferred, 1 for what this version does not know. */
cli_exit decision_exit(const Interlock__Policy__V1__Decision *decision);

#endif
