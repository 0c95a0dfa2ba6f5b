/* installation.yaml as text: reading it with libcyaml, and finding the line of an entry that turned out
 * wrong. */
#ifndef CONTROL_TRUST_FILE_H
#define CONTROL_TRUST_FILE_H

#include "base/bytes.h"

#define TRUST_FILE_BYTES 65536U

typedef struct trust_file_key {
    char *principal, *purpose, *public_key;
} trust_file_key;

typedef struct trust_file {
    char *installation, *origin;
    trust_file_key *keys;
    unsigned keys_count;
} trust_file;

/* `name` is what messages call the file. Unknown, missing and duplicate keys, aliases and anything beyond one
 * document are refused with line and column. */
status_code trust_file_parse(bytes text, const char *name, trust_file **out, failure *why) MUST_USE;
void trust_file_free(trust_file *self); /* takes NULL */

/* Fails with reason TRUST_INVALID at the value of `field`: of the file itself (entry < 0), or of its key
 * number `entry`. The message is "name:line:column: field: message". */
status_code trust_file_refuse(bytes text, const char *name, int entry, const char *field, failure *why,
                              const char *format, ...) PRINTF_LIKE(6, 7);

#endif
