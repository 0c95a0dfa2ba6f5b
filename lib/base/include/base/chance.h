/* The only door to time and randomness, so that a simulation can own both. Everything that reads a clock or
 * draws a random byte takes a `const chance *`. The system's is shared and thread-safe; a simulated one
 * belongs to one thread. */
#ifndef BASE_CHANCE_H
#define BASE_CHANCE_H

#include <stddef.h>
#include <stdint.h>

typedef struct chance {
    /* CLOCK_BOOTTIME in ns: counts through suspend, never steps. For every deadline and freshness bound. */
    uint64_t (*boot_ns)(void *self);
    /* CLOCK_REALTIME in ns since 1970: may step. Only for what people and other machines read. */
    int64_t (*wall_ns)(void *self);
    void (*random)(void *self, uint8_t *out, size_t size);
    void *self;
} chance;

const chance *chance_system(void);

/* Deterministic: time stands still until advanced, randomness is a SplitMix64 stream of the seed. */
typedef struct simulated_chance {
    chance chance;
    uint64_t boot_ns;
    int64_t wall_ns;
    uint64_t state;
} simulated_chance;

void simulated_chance_init(simulated_chance *self, uint64_t seed);
void simulated_chance_advance(simulated_chance *self, uint64_t ns); /* moves both clocks */

static inline uint64_t chance_boot_ns(const chance *self) {
    return self->boot_ns(self->self);
}
static inline uint64_t chance_boot_ms(const chance *self) {
    return self->boot_ns(self->self) / 1000000U;
}
static inline int64_t chance_wall_ns(const chance *self) {
    return self->wall_ns(self->self);
}
static inline int64_t chance_wall_ms(const chance *self) {
    return self->wall_ns(self->self) / 1000000;
}
static inline void chance_random(const chance *self, uint8_t *out, size_t size) {
    self->random(self->self, out, size);
}

/* /proc/sys/kernel/random/boot_id as 36 characters and a NUL; boot times of two boots are never compared. */
void boot_id_read(char out[37]);

#endif
