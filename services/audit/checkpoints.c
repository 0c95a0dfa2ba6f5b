/* Reading and believing checkpoints. */
#include "checkpoints.h"

#include "files.h"

status_code checkpoint_verify_any(const trust *roots, bytes note, checkpoint *out, failure *why) {
    status_code status = fail(why, STATUS_FAILED_PRECONDITION, "CHECKPOINT_KEY_UNKNOWN",
                              "the installation's file names no checkpoint key");
    for (size_t i = 0; i < roots->count; i++) {
        if (roots->keys[i].purpose != KEY_CHECKPOINT)
            continue;
        status = checkpoint_verify(note, roots->origin, &roots->keys[i].key, out, why);
        if (status == STATUS_OK)
            return STATUS_OK;
    }
    return status;
}

status_code checkpoint_read_published(const char *path, const trust *roots, bool *found, checkpoint *out,
                                      failure *why) {
    buffer note;
    buffer_init(&note, NOTE_MAX_BYTES);
    status_code status = file_read(path, NOTE_MAX_BYTES - 1, found, &note, why);
    if (status == STATUS_OK && *found &&
        checkpoint_verify_any(roots, buffer_bytes(&note), out, why) != STATUS_OK)
        status = fail_within(why, STATUS_DATA_LOSS, "the published checkpoint %s does not verify", path);
    buffer_free(&note);
    return status;
}
