/* interlock: the command line. Finds the command in the table and runs it. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define ARENA_FIRST_BYTES 65536U
#define ARENA_MOST_BYTES (512U << 20)

static void find_program_dir(cli *self) {
    ssize_t size = readlink("/proc/self/exe", self->program_dir, sizeof self->program_dir - 1);
    self->program_dir[size > 0 ? size : 0] = '\0';
    char *slash = strrchr(self->program_dir, '/');
    if (slash != NULL)
        *slash = '\0';
}

static void print_overview_of(const cli_group *groups, size_t count) {
    buffer text;
    buffer_init(&text, 65536);
    cli_overview(groups, count, &text);
    fputs(buffer_ok(&text) && text.data != NULL ? text.data : "", stdout);
    buffer_free(&text);
}

static void print_help(const cli *self) {
    buffer text;
    buffer_init(&text, 65536);
    cli_help(self->command, &text);
    fputs(buffer_ok(&text) && text.data != NULL ? text.data : "", stdout);
    buffer_free(&text);
}

int main(int argc, char **argv) {
    size_t count = 0;
    const cli_group *groups = cli_all_commands(&count);
    static cli self;
    failure why = {0};
    self.source = chance_system();
    arena_init(&self.memory, ARENA_FIRST_BYTES, ARENA_MOST_BYTES);
    find_program_dir(&self);
    signal(SIGPIPE, SIG_IGN);
    crypto_init();
    cli_exit result = CLI_OK;
    if (cli_parse(&self, groups, count, argc > 0 ? argc - 1 : 0, argv + 1, environ, &why) != STATUS_OK)
        result = cli_usage(&self, &why);
    else if (self.command == NULL)
        print_overview_of(groups, count);
    else if (self.help)
        print_help(&self);
    else
        result = self.command->run(&self);
    trust_free(self.roots);
    arena_free(&self.memory);
    if (fflush(stdout) != 0 && result == CLI_OK)
        result = CLI_ERROR;
    return (int)result;
}
