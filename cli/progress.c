/* How far long work has got. */
#include "progress.h"

#include <stdio.h>

#include "cli.h"

#define SHOW_AFTER_MS 1000U
#define SHOW_EVERY_MS 200U
#define BAR_CELLS 24U

void progress_start(progress *self, const chance *source, const char *what) {
    *self = (progress){.source = source,
                       .what = what,
                       .started_ms = chance_boot_ms(source),
                       .shows = cli_is_terminal(stderr)};
}

static void show_bar(double share) {
    char bar[3 * BAR_CELLS + 1];
    size_t used = 0;
    for (unsigned i = 0; i < BAR_CELLS; i++)
        used += (size_t)snprintf(bar + used, sizeof bar - used, "%s", i < share * BAR_CELLS ? "█" : "░");
    fprintf(stderr, "\r\033[K%s %3.0f %%", bar, share * 100);
}

void progress_at(progress *self, uint64_t done, uint64_t whole) {
    if (!self->shows)
        return;
    uint64_t now_ms = chance_boot_ms(self->source);
    if (now_ms - self->started_ms < SHOW_AFTER_MS || now_ms - self->shown_ms < SHOW_EVERY_MS)
        return;
    self->shown_ms = now_ms;
    if (whole > 0)
        show_bar(done < whole ? (double)done / (double)whole : 1);
    else
        fputs("\r\033[K", stderr);
    fprintf(stderr, " %llu %s", (unsigned long long)done, self->what);
    fflush(stderr);
}

void progress_end(progress *self) {
    if (self->shown_ms != 0)
        fputs("\r\033[K", stderr);
    self->shown_ms = 0;
}
