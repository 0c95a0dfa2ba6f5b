/* What varies in a log message, masked: known service names become <service>, UUIDs and long hexadecimal
 * <id>, times of day and dates <time>, runs of figures 0; a label before an id (TraceID: 8f3a…) goes with it.
 * What is left are tokens of letters, 0 and # _ . < >. Only the beginning of a message is looked at, so that
 * one of a megabyte costs no more than a long one. Pure. */
#ifndef GRAPH_MASKS_H
#define GRAPH_MASKS_H

#include "texts.h"

#define MASK_TOKENS 14U
#define MASK_TOKEN_BYTES 36U /* longer tokens are cut */
#define MASK_TEXT_BYTES 512U /* all tokens, a blank between two, and a NUL */
#define MASK_LOOKED_AT 4096U /* bytes of a message */

typedef struct masked {
    char text[MASK_TEXT_BYTES]; /* the tokens, parted by one blank each */
    size_t size;
    uint16_t starts[MASK_TOKENS], sizes[MASK_TOKENS];
    unsigned count;
} masked;

/* `services` holds the names to mask, owner 0; NULL: none. */
void mask_message(const texts *services, bytes message, masked *out);

#endif
