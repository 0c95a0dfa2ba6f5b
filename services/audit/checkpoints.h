/* Checkpoints that somebody else must be able to believe: of any of the roots' keys, and the published one.
 */
#ifndef AUDIT_CHECKPOINTS_H
#define AUDIT_CHECKPOINTS_H

#include "control/trust.h"
#include "merkle/note.h"

/* A rotated key's checkpoints still count: whichever of the roots' keys signed it. */
status_code checkpoint_verify_any(const trust *roots, bytes note, checkpoint *out, failure *why) MUST_USE;

/* The checkpoint that was published last; *found is false when none ever was. DATA_LOSS when it does not
 * verify. */
status_code checkpoint_read_published(const char *path, const trust *roots, bool *found, checkpoint *out,
                                      failure *why) MUST_USE;

#endif
