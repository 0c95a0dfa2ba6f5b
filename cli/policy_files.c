/* Policy sets from files and folders. */
#include "policy_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct gathering {
    cli *shell;
    policy_source *items;
    size_t count;
    size_t bytes_used;
} gathering;

static status_code add_file(gathering *self, const char *path, failure *why) {
    bytes text = {0};
    if (self->count == POLICY_FILES_MAX)
        return fail(why, STATUS_INVALID_ARGUMENT, "TOO_MANY_FILES", "more than %u policy files",
                    POLICY_FILES_MAX);
    status_code code = cli_read_file(self->shell, path, POLICIES_TEXT_BYTES - self->bytes_used, &text, why);
    if (code != STATUS_OK)
        return code;
    const char *name = arena_text(&self->shell->memory, strcmp(path, "-") == 0 ? "standard input" : path);
    if (name == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for %.200s", path);
    self->items[self->count++] = (policy_source){.file = name, .text = text};
    self->bytes_used += text.size;
    return STATUS_OK;
}

static int is_policy_file(const struct dirent *entry) {
    const char *dot = strrchr(entry->d_name, '.');
    return entry->d_name[0] != '.' && dot != NULL && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

static status_code add_folder(gathering *self, const char *path, failure *why) {
    struct dirent **entries = NULL;
    int found = scandir(path, &entries, is_policy_file, alphasort);
    if (found < 0)
        return fail(why, STATUS_NOT_FOUND, "FILE_UNREADABLE", "cannot read the folder %.300s: %s", path,
                    strerror(errno));
    status_code code = found > 0
                           ? STATUS_OK
                           : fail(why, STATUS_NOT_FOUND, "NO_POLICIES", "there is no *.yaml in %.300s", path);
    for (int i = 0; i < found; i++) {
        char file[CLI_PATH_BYTES];
        if (code == STATUS_OK &&
            snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name) >= (int)sizeof file)
            code = fail(why, STATUS_INVALID_ARGUMENT, "PATH_TOO_LONG", "%.300s: the path is too long", path);
        if (code == STATUS_OK)
            code = add_file(self, file, why);
        free(entries[i]);
    }
    free(entries);
    return code;
}

status_code policy_files_read(cli *self, const char *const *paths, size_t count, policy_source **sources,
                              size_t *source_count, failure *why) {
    gathering work = {.shell = self};
    work.items = arena_zero(&self->memory, POLICY_FILES_MAX, sizeof *work.items);
    if (work.items == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the policies");
    for (size_t i = 0; i < count; i++) {
        struct stat facts;
        bool folder = stat(paths[i], &facts) == 0 && S_ISDIR(facts.st_mode);
        status_code code = folder ? add_folder(&work, paths[i], why) : add_file(&work, paths[i], why);
        if (code != STATUS_OK)
            return code;
    }
    *sources = work.items;
    *source_count = work.count;
    return STATUS_OK;
}

status_code policy_files_load(cli *self, const char *const *paths, size_t count, policy_set **set,
                              policy_problems *problems, failure *why) {
    policy_source *sources = NULL;
    size_t source_count = 0;
    status_code code = policy_files_read(self, paths, count, &sources, &source_count, why);
    return code == STATUS_OK ? policies_load(sources, source_count, &self->memory, set, problems, why) : code;
}

cli_exit policy_files_fail(const char *what, const policy_problems *problems, const failure *why) {
    buffer text;
    if (problems->count == 0)
        return cli_fail(what, why);
    buffer_init(&text, 4U << 20);
    for (size_t i = 0; i < problems->count; i++) {
        policy_problem_print(&problems->items[i], &text);
        buffer_text(&text, "\n");
    }
    fputs(buffer_ok(&text) && text.data != NULL ? text.data : why->message, stderr);
    buffer_free(&text);
    fprintf(stderr, "interlock: %s: the policies do not load [%s %s]\n", what, status_name(why->code),
            why->reason != NULL ? why->reason : "");
    return CLI_ERROR;
}
