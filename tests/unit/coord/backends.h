/* What the tests of coordination run against: the embedded twin in a temporary directory, and a real etcd
 * started for the test on ports the system chose. */
#ifndef TEST_COORD_BACKENDS_H
#define TEST_COORD_BACKENDS_H

#include "coord/coord.h"

typedef struct backend {
    const char *name;
    bool etcd;
    bool absent; /* no etcd on this machine */
    int pid;     /* etcd's */
    char directory[64];
    char file[96];      /* the twin's */
    char endpoints[64]; /* etcd's */
    unsigned prefixes;  /* so that every test has keys of its own */
} backend;

void backend_start_embedded(backend *self);
void backend_start_etcd(backend *self);
void backend_stop(backend *self); /* removes the directory */

/* A handle with a fresh prefix (`fresh`) or with the last one again. */
coord *backend_open(backend *self, bool fresh);
/* Forgets the history before `revision`, as an operator would. */
void backend_compact(backend *self, int64_t revision);

#endif
