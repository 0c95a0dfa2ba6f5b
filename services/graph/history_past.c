/* What one origin said about one thing: its statements one after the other, each of which takes the place of
 * what was believed over its interval of valid time. */
#include <stdlib.h>
#include <string.h>

#include "history_internal.h"

void past_free(past *self) {
    free(self->pieces);
    free(self->closed);
    *self = (past){0};
}

static void closed_add(past *self, piece what) {
    if (!self->keep_closed || what.recorded_ms == what.recorded_to_ms)
        return;
    if (!room_for((void **)&self->closed, self->closed_count, &self->closed_room, sizeof *self->closed))
        self->failed = true;
    else
        self->closed[self->closed_count++] = what;
}

uint32_t past_find(const past *self, int64_t at_ms) {
    uint32_t low = 0;
    uint32_t high = self->piece_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (self->pieces[middle].to_ms > at_ms)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Puts `count` pieces in the place of those from `first` to before `end`. */
static void pieces_replace(past *self, uint32_t first, uint32_t end, const piece *with, uint32_t count) {
    for (uint32_t i = 0; i < 2; i++)
        if (!room_for((void **)&self->pieces, self->piece_count + i, &self->piece_room,
                      sizeof *self->pieces)) {
            self->failed = true;
            return;
        }
    memmove(self->pieces + first + count, self->pieces + end, (self->piece_count - end) * sizeof *with);
    memcpy(self->pieces + first, with, count * sizeof *with);
    self->piece_count += count - (end - first);
}

/* A piece that reaches beyond the new one on either side stays there, believed since it was first recorded.
 */
void past_add(past *self, const statement *what) {
    uint32_t first = past_find(self, what->from_ms);
    uint32_t end = first;
    piece with[3];
    uint32_t count = 0;
    piece made = {.from_ms = what->from_ms,
                  .to_ms = what->to_ms,
                  .recorded_ms = what->recorded_ms,
                  .recorded_to_ms = HISTORY_OPEN,
                  .value = what->value};
    piece right = {0};
    bool has_right = false;
    for (; end < self->piece_count && self->pieces[end].from_ms < made.to_ms; end++) {
        piece old = self->pieces[end];
        if (old.from_ms < made.from_ms) {
            with[count] = old;
            with[count++].to_ms = made.from_ms;
            old.from_ms = made.from_ms;
        }
        if (old.to_ms > made.to_ms) {
            right = old;
            right.from_ms = made.to_ms;
            has_right = true;
            old.to_ms = made.to_ms;
        }
        old.recorded_to_ms = made.recorded_ms;
        closed_add(self, old);
    }
    with[count++] = made;
    if (has_right)
        with[count++] = right;
    pieces_replace(self, first, end, with, count);
}

static int piece_compare(const void *left, const void *right) {
    const piece *a = left;
    const piece *b = right;
    if (a->recorded_ms != b->recorded_ms)
        return a->recorded_ms < b->recorded_ms ? -1 : 1;
    if (a->from_ms != b->from_ms)
        return a->from_ms < b->from_ms ? -1 : 1;
    return a->recorded_to_ms < b->recorded_to_ms ? -1 : a->recorded_to_ms > b->recorded_to_ms;
}

static bool pieces_join(const piece *left, const piece *right) {
    return left->to_ms == right->from_ms && left->value == right->value &&
           left->recorded_ms == right->recorded_ms && left->recorded_to_ms == right->recorded_to_ms;
}

void past_finish(past *self) {
    self->keep_closed = true;
    for (uint32_t i = 0; i < self->piece_count; i++)
        closed_add(self, self->pieces[i]);
    if (self->closed_count == 0)
        return;
    qsort(self->closed, self->closed_count, sizeof *self->closed, piece_compare);
    uint32_t kept = 0;
    for (uint32_t i = 1; i < self->closed_count; i++) {
        if (pieces_join(&self->closed[kept], &self->closed[i]))
            self->closed[kept].to_ms = self->closed[i].to_ms;
        else
            self->closed[++kept] = self->closed[i];
    }
    self->closed_count = kept + 1;
}
