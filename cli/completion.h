/* Completion scripts. */
#ifndef CLI_COMPLETION_H
#define CLI_COMPLETION_H

#include "cli.h"

void completion_bash(const cli_group *groups, size_t count, buffer *out);
void completion_zsh(const cli_group *groups, size_t count, buffer *out);
void completion_fish(const cli_group *groups, size_t count, buffer *out);

#endif
