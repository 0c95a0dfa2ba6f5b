/* The small files beside the database: the writer's lock, the published checkpoint and the epoch. */
#ifndef AUDIT_FILES_H
#define AUDIT_FILES_H

#include "base/bytes.h"

/* Takes the lock of the log's one writer; *descriptor keeps it until it is closed or the process ends.
 * FAILED_PRECONDITION, reason LOG_LOCKED, when another process has it. */
status_code lock_take(const char *path, int *descriptor, failure *why) MUST_USE;

/* Replaces the file as a whole: temporary file, fsync, rename, fsync of the folder. After an error what is on
 * the disk is the old content or the new, and which is not known. */
status_code file_replace(const char *path, bytes content, failure *why) MUST_USE;

/* Appends the content, of at most `limit` bytes, to `out`. *found is false (and OK) when there is no file. */
status_code file_read(const char *path, size_t limit, bool *found, buffer *out, failure *why) MUST_USE;

#endif
