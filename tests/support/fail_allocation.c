/* See fail_allocation.h. */
#include "fail_allocation.h" /* before cmocka.h, whose macro fail() would hide ours */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define RUNS_MAX 20000U
#define ARENA_STEPS_MAX 1000U
#define NEVER (-1L)

/* ---- The allocator of the program ---- */

void *__interceptor_malloc(size_t size) __attribute__((weak)); /* a sanitizer's */
void *__interceptor_calloc(size_t count, size_t size) __attribute__((weak));
void *__interceptor_realloc(void *memory, size_t size) __attribute__((weak));
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

static _Thread_local long until_failure = NEVER; /* allocations that still succeed */
static _Thread_local bool from_then_on;
static _Thread_local unsigned long failed;

static bool fails_now(void) {
    if (until_failure == NEVER)
        return false;
    if (until_failure > 0) {
        until_failure--;
        return false;
    }
    if (!from_then_on && failed > 0)
        return false;
    failed++;
    return true;
}

void *spare_malloc(size_t size) {
    return __interceptor_malloc != NULL ? __interceptor_malloc(size) : __libc_malloc(size);
}

void *malloc(size_t size) {
    return fails_now() ? NULL : spare_malloc(size);
}

void *calloc(size_t count, size_t size) {
    if (fails_now())
        return NULL;
    return __interceptor_calloc != NULL ? __interceptor_calloc(count, size) : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size) {
    if (fails_now())
        return NULL;
    return __interceptor_realloc != NULL ? __interceptor_realloc(memory, size) : __libc_realloc(memory, size);
}

/* A sanitizer's own takes memory past malloc. */
char *strdup(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    if (copy != NULL)
        memcpy(copy, text, size);
    return copy;
}

void fail_allocations_from(unsigned count) {
    from_then_on = true;
    failed = 0;
    until_failure = (long)count;
}

const char *fast_folder(void) {
    return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

/* ---- The runs ---- */

static void begin(const fault_case *self) {
    if (self->begin != NULL)
        self->begin(self->context);
}

static void end(const fault_case *self) {
    if (self->end != NULL)
        self->end(self->context);
}

static void run_again(const fault_case *self) {
    failure why = {0};
    if (self->run(self->context, &why) != STATUS_OK)
        fail_msg("%s: does not work again afterwards: %s", self->name, why.message);
    self->check(self->context, true);
}

/* What must hold after a run during which something failed. */
static void judge(const fault_case *self, unsigned number, status_code status, const failure *why) {
    if (status == STATUS_OK) {
        if (!self->may_do_without)
            fail_msg("%s: says OK though allocation %u failed", self->name, number);
        self->check(self->context, true);
        return;
    }
    if (why->code != status || why->reason == NULL || why->message[0] == '\0')
        fail_msg("%s: allocation %u failed with %s and does not say why", self->name, number,
                 status_name(status));
    self->check(self->context, false);
    run_again(self);
}

/* Returns how many allocations a run has. */
static unsigned fail_in_turn(const fault_case *self, bool all_after) {
    for (unsigned number = 0; number < RUNS_MAX; number++) {
        failure why = {0};
        begin(self);
        from_then_on = all_after;
        failed = 0;
        until_failure = (long)number;
        status_code status = self->run(self->context, &why);
        until_failure = NEVER;
        if (failed > 0)
            judge(self, number, status, &why);
        else if (status != STATUS_OK)
            fail_msg("%s: fails with all the memory there is: %s", self->name, why.message);
        else
            self->check(self->context, true);
        end(self);
        if (failed == 0)
            return number;
    }
    fail_msg("%s: more than %u allocations", self->name, RUNS_MAX);
    return 0;
}

static size_t arena_needed(const fault_case *self) {
    failure why = {0};
    begin(self);
    size_t before = self->memory->used;
    if (self->run(self->context, &why) != STATUS_OK)
        fail_msg("%s: fails with all the memory there is: %s", self->name, why.message);
    size_t needed = self->memory->used - before;
    end(self);
    return needed;
}

static unsigned fail_arena_in_turn(const fault_case *self) {
    size_t needed = arena_needed(self), step = 16;
    while (needed / step > ARENA_STEPS_MAX)
        step *= 2;
    unsigned number = 0;
    for (size_t room = 0; room < needed; room += step) {
        failure why = {0};
        begin(self);
        size_t limit = self->memory->limit;
        self->memory->limit = self->memory->used + room;
        status_code status = self->run(self->context, &why);
        self->memory->limit = limit;
        judge(self, number++, status, &why);
        end(self);
    }
    return number;
}

void fail_each_allocation(const fault_case *self) {
    unsigned one = fail_in_turn(self, false);
    unsigned all = fail_in_turn(self, true);
    unsigned steps = self->memory != NULL ? fail_arena_in_turn(self) : 0;
    print_message("%s: %u and %u allocations, %u arena sizes\n", self->name, one, all, steps);
    if (one + steps == 0 && !self->allocates_nothing)
        fail_msg("%s: nothing was allocated, so nothing was tested", self->name);
    if (one + steps > 0 && self->allocates_nothing)
        fail_msg("%s: allocates, which it did not before", self->name);
}
