/* Fails every allocation of an operation in turn: the first, then the second, … until it runs through; then
 * the same with all allocations from that one on failing; then with an arena that is a little larger each
 * time. Whatever failed, the operation must say so, leave its outputs as they were, leak nothing (the
 * sanitizer tells), and work when it is run once more.
 *
 * fail_allocation.c defines malloc, calloc, realloc and strdup for the whole test program, so that what
 * SQLite, jansson, libyaml and protobuf-c allocate is failed too. libsodium's guarded memory comes from mmap
 * and is not. Only the thread that calls fail_each_allocation is concerned. */
#ifndef SUPPORT_FAIL_ALLOCATION_H
#define SUPPORT_FAIL_ALLOCATION_H

#include "base/arena.h"

typedef struct fault_case {
    const char *name;
    void *context;
    /* Makes what the operation needs, and takes it away again; each may be NULL. */
    void (*begin)(void *context);
    void (*end)(void *context);
    status_code (*run)(void *context, failure *why);
    /* done: what `run` was for is there and right. Otherwise: `run` failed, and nothing of its outputs
     * changed. */
    void (*check)(void *context, bool done);
    arena *memory; /* what `run` takes from; NULL: no arena */
    /* It may do without: a cache that is not filled, a library that has a reserve. Then OK is right, if all
     * is done. */
    bool may_do_without;
    bool allocates_nothing; /* and must go on so */
} fault_case;

/* Fails the test when anything of that does not hold, or when nothing was ever failed. */
void fail_each_allocation(const fault_case *self);

/* From now on this thread's allocations fail, after `count` more: for a process that is about to end. */
void fail_allocations_from(unsigned count);

/* Where temporary folders go: memory rather than a disk, since thousands of runs sync thousands of times. */
const char *fast_folder(void);

/* malloc that never fails, for a library that cannot be helped. */
void *spare_malloc(size_t size);

#endif
