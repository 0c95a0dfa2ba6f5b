/* Time and randomness: the system's, and a simulation's. */
#include "base/chance.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define RANDOM_POOL_BYTES 1024U /* 16 to 32 of a decision's nonces and keys */

static uint64_t system_boot_ns(void *self) {
    (void)self;
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static int64_t system_wall_ns(void *self) {
    (void)self;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Without randomness no nonce is safe, so there is nothing to return: the process ends. */
static void kernel_random(uint8_t *out, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t got = getrandom(out + done, size - done, 0);
        if (got < 0)
            abort();
        done += (size_t)got;
    }
}

/* A nonce at a time, a call of the kernel costs as much as packing a message, so each thread draws for
 * several at once. What was given out is gone from here, and a forked child begins with nothing. */
typedef struct random_pool {
    size_t left; /* at the end of `drawn` */
    uint8_t drawn[RANDOM_POOL_BYTES];
} random_pool;

static _Thread_local random_pool pool;
static pthread_once_t fork_watched = PTHREAD_ONCE_INIT;

/* In the child, on the only thread that it has. */
static void forget_pool(void) {
    explicit_bzero(&pool, sizeof pool);
}

static void watch_forks(void) {
    if (pthread_atfork(NULL, NULL, forget_pool) != 0)
        abort();
}

static void system_random(void *self, uint8_t *out, size_t size) {
    (void)self;
    if (size > RANDOM_POOL_BYTES / 4) {
        kernel_random(out, size);
        return;
    }
    if (pool.left < size) {
        (void)pthread_once(&fork_watched, watch_forks);
        kernel_random(pool.drawn, sizeof pool.drawn);
        pool.left = sizeof pool.drawn;
    }
    uint8_t *next = pool.drawn + sizeof pool.drawn - pool.left;
    memcpy(out, next, size);
    explicit_bzero(next, size);
    pool.left -= size;
}

const chance *chance_system(void) {
    static const chance instance = {
        .boot_ns = system_boot_ns, .wall_ns = system_wall_ns, .random = system_random};
    return &instance;
}

static uint64_t simulated_boot_ns(void *self) {
    return ((simulated_chance *)self)->boot_ns;
}

static int64_t simulated_wall_ns(void *self) {
    return ((simulated_chance *)self)->wall_ns;
}

/* SplitMix64 (Steele, Lea, Flood 2014): one addition and a mix, good enough for schedules and nonces of a
 * test. */
static uint64_t splitmix64(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static void simulated_random(void *self, uint8_t *out, size_t size) {
    simulated_chance *world = self;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = splitmix64(&world->state);
        memcpy(out + i, &word, size - i < 8 ? size - i : 8);
    }
}

void simulated_chance_init(simulated_chance *self, uint64_t seed) {
    *self = (simulated_chance){.boot_ns = 1000000000U, .wall_ns = 1767225600000000000, .state = seed};
    self->chance = (chance){
        .boot_ns = simulated_boot_ns, .wall_ns = simulated_wall_ns, .random = simulated_random, .self = self};
}

void simulated_chance_advance(simulated_chance *self, uint64_t ns) {
    self->boot_ns += ns;
    self->wall_ns += (int64_t)ns;
}

void boot_id_read(char out[37]) {
    memset(out, 0, 37);
    int file = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    ssize_t got = read(file, out, 36);
    if (got < 36)
        memset(out, 0, 37);
    close(file);
}
