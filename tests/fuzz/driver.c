/* Runs a fuzz target over the files and folders named, and over random mutations of them, in builds without
 * libFuzzer. Takes libFuzzer's -runs= and ignores its other flags, so that both kinds of build are called
 * alike. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/chance.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (1U << 20)
#define MUTATIONS_PER_FILE 200U

static uint8_t input[INPUT_MAX];
static uint8_t mutated[INPUT_MAX];
static simulated_chance world;

static uint32_t draw(uint32_t below) {
    uint32_t value;
    chance_random(&world.chance, (uint8_t *)&value, sizeof value);
    return value % below;
}

static void mutate_and_run(size_t size) {
    memcpy(mutated, input, size);
    for (uint32_t edits = 1 + draw(8); edits > 0 && size > 0; edits--)
        mutated[draw((uint32_t)size)] = (uint8_t)draw(256);
    if (draw(4) == 0)
        size = draw((uint32_t)size + 1);
    /* An exact copy, so that a sanitizer sees a read past the end. */
    uint8_t *exact = malloc(size == 0 ? 1 : size);
    if (exact == NULL)
        abort();
    memcpy(exact, mutated, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static void run_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return;
    size_t size = fread(input, 1, sizeof input, file);
    fclose(file);
    LLVMFuzzerTestOneInput(input, size);
    for (unsigned i = 0; i < MUTATIONS_PER_FILE; i++)
        mutate_and_run(size);
}

static unsigned run_path(const char *path) {
    DIR *folder = opendir(path);
    if (folder == NULL) {
        run_file(path);
        return 1;
    }
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char full[4096];
        if (entry->d_name[0] == '.' ||
            snprintf(full, sizeof full, "%s/%s", path, entry->d_name) >= (int)sizeof full)
            continue;
        run_file(full);
        count++;
    }
    closedir(folder);
    return count;
}

int main(int argc, char **argv) {
    simulated_chance_init(&world, 1);
    unsigned files = 0;
    for (int i = 1; i < argc; i++)
        if (argv[i][0] != '-')
            files += run_path(argv[i]);
    if (files == 0) {
        fprintf(stderr, "%s: no corpus; name files or folders\n", argv[0]);
        return 1;
    }
    printf("%u files, %u mutations each\n", files, MUTATIONS_PER_FILE);
    return 0;
}
