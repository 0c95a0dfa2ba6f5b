/* interlock completion: scripts for shells, written from the same table that parses. */
#include <string.h>

#include "completion.h"

static const char global_words[] = "--data-dir --output --help";

static void write_flags(const cli_command *command, buffer *out) {
    for (size_t i = 0; i < command->flag_count; i++)
        buffer_format(out, "--%s ", command->flags[i].name);
    buffer_text(out, global_words);
}

/* Every noun once: the table keeps a noun's verbs together. */
static void write_nouns(const cli_group *groups, size_t count, buffer *out) {
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < groups[i].count; j++)
            if (j == 0 || strcmp(groups[i].commands[j].noun, groups[i].commands[j - 1].noun) != 0)
                buffer_format(out, "%s%s", out->size > 0 && out->data[out->size - 1] != '"' ? " " : "",
                              groups[i].commands[j].noun);
}

static void write_verbs(const cli_group *group, const char *noun, buffer *out) {
    bool first = true;
    for (size_t i = 0; i < group->count; i++)
        if (strcmp(group->commands[i].noun, noun) == 0 && group->commands[i].verb != NULL) {
            buffer_format(out, "%s%s", first ? "" : " ", group->commands[i].verb);
            first = false;
        }
}

void completion_bash(const cli_group *groups, size_t count, buffer *out) {
    buffer_text(out,
                "# bash completion for interlock: source <(interlock completion bash)\n"
                "_interlock() {\n"
                "  local current=${COMP_WORDS[COMP_CWORD]} noun= verb= word skip=0\n"
                "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
                "    if ((skip)); then skip=0; continue; fi\n"
                "    case $word in\n"
                "    --data-dir | -o | --output) skip=1 ;;\n"
                "    -*) ;;\n"
                "    *) if [[ -z $noun ]]; then noun=$word; elif [[ -z $verb ]]; then verb=$word; fi ;;\n"
                "    esac\n"
                "  done\n"
                "  local words=\n"
                "  case \"$noun/$verb\" in\n"
                "  /) words=\"");
    write_nouns(groups, count, out);
    buffer_format(out, " %s\" ;;\n", global_words);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < groups[i].count; j++) {
            const cli_command *command = &groups[i].commands[j];
            if (command->verb != NULL) {
                buffer_format(out, "  %s/%s) words=\"", command->noun, command->verb);
            } else {
                buffer_format(out, "  %s/*) words=\"", command->noun);
            }
            write_flags(command, out);
            buffer_text(out, "\" ;;\n");
            if (command->verb != NULL &&
                (j + 1 == groups[i].count || groups[i].commands[j + 1].verb == NULL)) {
                buffer_format(out, "  %s/) words=\"", command->noun);
                write_verbs(&groups[i], command->noun, out);
                buffer_text(out, "\" ;;\n");
            }
        }
    buffer_text(out, "  esac\n"
                     "  if [[ -n $words ]]; then COMPREPLY=($(compgen -W \"$words\" -- \"$current\")); fi\n"
                     "  if [[ ${#COMPREPLY[@]} -eq 0 ]]; then COMPREPLY=($(compgen -f -- \"$current\")); fi\n"
                     "}\n"
                     "complete -F _interlock interlock\n");
}

void completion_zsh(const cli_group *groups, size_t count, buffer *out) {
    buffer_text(out, "# zsh completion for interlock: source <(interlock completion zsh)\n"
                     "autoload -U +X bashcompinit && bashcompinit\n");
    completion_bash(groups, count, out);
}

static void write_fish_flag(const cli_command *command, const cli_flag *flag, buffer *out) {
    buffer_format(out, "complete -c interlock -n '__fish_seen_subcommand_from %s%s%s' -l %s", command->noun,
                  command->verb != NULL ? "; and __fish_seen_subcommand_from " : "",
                  command->verb != NULL ? command->verb : "", flag->name);
    if (flag->kind != FLAG_SWITCH)
        buffer_text(out, " -r");
    if (flag->choices != NULL) {
        buffer_text(out, " -a '");
        for (const char *c = flag->choices; *c != '\0'; c++)
            buffer_append(out, *c == '|' ? " " : c, 1);
        buffer_text(out, "'");
    }
    buffer_text(out, "\n");
}

void completion_fish(const cli_group *groups, size_t count, buffer *out) {
    buffer_text(out, "# fish completion for interlock: interlock completion fish | source\n");
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < groups[i].count; j++) {
            const cli_command *command = &groups[i].commands[j];
            if (command->verb == NULL)
                buffer_format(out, "complete -c interlock -f -n __fish_use_subcommand -a %s -d '%s'\n",
                              command->noun, command->purpose);
            else {
                if (j == 0)
                    buffer_format(out, "complete -c interlock -f -n __fish_use_subcommand -a %s\n",
                                  command->noun);
                buffer_format(out,
                              "complete -c interlock -f -n '__fish_seen_subcommand_from %s; and not "
                              "__fish_seen_subcommand_from ",
                              command->noun);
                write_verbs(&groups[i], command->noun, out);
                buffer_format(out, "' -a %s\n", command->verb);
            }
            for (size_t k = 0; k < command->flag_count; k++)
                write_fish_flag(command, &command->flags[k], out);
        }
}

static cli_exit completion_run(cli *self) {
    size_t count = 0;
    failure why = {0};
    const cli_group *groups = cli_all_commands(&count);
    const char *shell = self->positional.items[0];
    buffer text;
    buffer_init(&text, 1U << 20);
    if (strcmp(shell, "bash") == 0)
        completion_bash(groups, count, &text);
    else if (strcmp(shell, "zsh") == 0)
        completion_zsh(groups, count, &text);
    else if (strcmp(shell, "fish") == 0)
        completion_fish(groups, count, &text);
    else {
        buffer_free(&text);
        fail(&why, STATUS_INVALID_ARGUMENT, "BAD_SHELL", "\"%.32s\" is none of bash, zsh, fish", shell);
        return cli_usage(self, &why);
    }
    fputs(buffer_ok(&text) ? text.data : "", stdout);
    buffer_free(&text);
    return CLI_OK;
}

const cli_command completion_commands[] = {
    {.noun = "completion",
     .purpose = "a completion script for bash, zsh or fish",
     .positional = "SHELL",
     .least = 1,
     .most = 1,
     .examples = "  source <(interlock completion bash)\n",
     .run = completion_run},
};
const size_t completion_command_count = sizeof completion_commands / sizeof *completion_commands;
