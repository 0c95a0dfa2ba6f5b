/* Where an installation keeps its coordination: in etcd or in the embedded file. Every program that opens it
 * asks here, so that all of them find the same one:
 *
 *   1. what the caller was told (--etcd URLS or --coord FILE);
 *   2. <data-dir>/coordination.yaml, one line: `etcd: "http://10.0.0.1:2379,http://10.0.0.2:2379"`;
 *   3. <data-dir>/coord/coord.db, the embedded file.
 *
 * It is a file of its own because it is no root of trust: whoever changes it can stop the installation, and
 * cannot make it trust anything (installation.yaml says whom to trust). */
#ifndef CONTROL_PLACE_H
#define CONTROL_PLACE_H

#include "control/trust.h"
#include "coord/coord.h"

#define PLACE_FILE "coordination.yaml"
#define PLACE_ETCD_BYTES 1024U
#define PLACE_PATH_BYTES 512U

typedef struct place {
    char etcd[PLACE_ETCD_BYTES]; /* endpoints; "": the embedded file */
    char file[PLACE_PATH_BYTES]; /* of the embedded twin */
} place;

/* `etcd` and `file` are what the caller was told; "" or NULL: nothing. Both at once are refused. Errors of
 * the file tell line and column. */
status_code place_find(place *out, const char *data_dir, const char *etcd, const char *file,
                       failure *why) MUST_USE;

/* Writes coordination.yaml into a folder. Create-exclusive, fsync. */
status_code place_save(const char *folder, const char *etcd, failure *why) MUST_USE;

/* "interlock/<installation>/", which is put before every key, so that installations can share an etcd. */
#define PLACE_PREFIX_BYTES 96U
void place_prefix(const trust *roots, char out[PLACE_PREFIX_BYTES]);

status_code place_open(coord **out, const place *self, const trust *roots, const chance *source,
                       failure *why) MUST_USE;

#endif
