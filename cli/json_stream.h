/* JSON that comes as a stream: objects one after the other, in any white space, or lists of them as `kubectl
 * get -o json` prints them. Cuts it into objects without reading any as a whole, so that the memory needed is
 * that of the largest. */
#ifndef CLI_JSON_STREAM_H
#define CLI_JSON_STREAM_H

#include <stdio.h>

#include "base/bytes.h"

#define JSON_STREAM_OBJECT_BYTES (2U << 20)
#define JSON_STREAM_DEPTH 128U

typedef struct json_stream json_stream;

typedef struct json_piece {
    bytes text;    /* one object; valid until the next call */
    uint64_t line; /* where it begins, from 1 */
} json_piece;

/* `unwrap`: an object whose member "items" is an array stands for the array's elements; so does a top-level
 * array. The file stays the caller's. NULL without memory. */
json_stream *json_stream_new(FILE *file, bool unwrap);
void json_stream_free(json_stream *self); /* takes NULL */

/* *more is false at the end. INVALID_ARGUMENT (BAD_JSON, TOO_LARGE) with the line: of an object that is too
 * large only that one is lost and the next call goes on behind it (*skipped); after anything else nothing
 * more can be read. */
status_code json_stream_next(json_stream *self, json_piece *out, bool *more, bool *skipped,
                             failure *why) MUST_USE;
/* Nothing has arrived yet of what comes next: a good moment to send what was gathered. */
bool json_stream_waiting(json_stream *self);
uint64_t json_stream_bytes(const json_stream *self); /* read so far */

#endif
