/* Lock, atomic replacement and bounded reading of small files. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define PATH_BYTES 4096U

status_code lock_take(const char *path, int *descriptor, failure *why) {
    int opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (opened < 0)
        return fail(why, STATUS_FAILED_PRECONDITION, "CANNOT_CREATE", "%s: %s", path, strerror(errno));
    if (flock(opened, LOCK_EX | LOCK_NB) != 0) {
        int cause = errno;
        close(opened);
        return fail(why, STATUS_FAILED_PRECONDITION, "LOG_LOCKED",
                    "%s: %s; a log has one writer: stop the other audit process first", path,
                    cause == EWOULDBLOCK ? "another process holds the log" : strerror(cause));
    }
    *descriptor = opened;
    return STATUS_OK;
}

/* Before an fsync nothing is lost by giving up: the old file is still there. */
static status_code not_written(const char *what, const char *path, failure *why) {
    bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
    return fail(why, full ? STATUS_RESOURCE_EXHAUSTED : STATUS_UNAVAILABLE,
                full ? "DISK_FULL" : "CANNOT_WRITE", "%s %s: %s%s", what, path, strerror(errno),
                full ? "; free some space" : "");
}

static status_code not_durable(const char *path, failure *why) {
    return fail(why, STATUS_DATA_LOSS, "FILE_NOT_DURABLE", "cannot sync %s: %s", path, strerror(errno));
}

static bool write_all(int descriptor, bytes content) {
    for (size_t done = 0; done < content.size;) {
        ssize_t written = write(descriptor, content.data + done, content.size - done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        done += (size_t)written;
    }
    return true;
}

static status_code sync_folder(const char *path, failure *why) {
    char copy[PATH_BYTES];
    memcpy(copy, path, strlen(path) + 1);
    int folder = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return not_durable(path, why);
    status_code status = fsync(folder) == 0 ? STATUS_OK : not_durable(path, why);
    close(folder);
    return status;
}

static status_code write_temporary(const char *path, bytes content, failure *why) {
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (file < 0)
        return not_written("cannot create", path, why);
    status_code status = STATUS_OK;
    if (!write_all(file, content))
        status = not_written("cannot write", path, why);
    else if (fsync(file) != 0)
        status = not_durable(path, why);
    close(file);
    return status;
}

status_code file_replace(const char *path, bytes content, failure *why) {
    char temporary[PATH_BYTES];
    if (strlen(path) + 5 >= sizeof temporary)
        return fail(why, STATUS_INVALID_ARGUMENT, "PATH_TOO_LONG", "the path is too long: %.200s", path);
    snprintf(temporary, sizeof temporary, "%s.new", path);
    status_code status = write_temporary(temporary, content, why);
    if (status != STATUS_OK)
        return status;
    if (rename(temporary, path) != 0)
        return not_written("cannot rename to", path, why);
    return sync_folder(path, why);
}

status_code file_read(const char *path, size_t limit, bool *found, buffer *out, failure *why) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 && errno == ENOENT) {
        *found = false;
        return STATUS_OK;
    }
    if (file < 0)
        return fail(why, STATUS_FAILED_PRECONDITION, "CANNOT_READ", "%s: %s", path, strerror(errno));
    char block[1024];
    ssize_t got = 0;
    size_t total = 0;
    while ((got = read(file, block, sizeof block)) > 0 && total <= limit) {
        buffer_append(out, block, (size_t)got);
        total += (size_t)got;
    }
    close(file);
    if (got < 0 || total > limit || !buffer_ok(out))
        return fail(why, STATUS_FAILED_PRECONDITION, "CANNOT_READ", "%s: %s", path,
                    got < 0 ? strerror(errno) : "larger than such a file can be");
    *found = true;
    return STATUS_OK;
}
