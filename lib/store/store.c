/* Opening, migrating and using an SQLite file. What can go wrong is told apart here once: busy, full,
 * constraint, and everything else. */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/magic.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define STORE_BUSY_TIMEOUT_MS 5000
#define STORE_PATH_BYTES 4096U
#define STORE_VERSION_MAX 10000

/* Not in linux/magic.h of every kernel. */
#define FILE_SYSTEM_CIFS 0xFF534D42U
#define FILE_SYSTEM_SMB2 0xFE534D42U
#define FILE_SYSTEM_GFS2 0x01161970U
#define FILE_SYSTEM_LUSTRE 0x0BD00BD0U

static const struct {
    uint32_t magic;
    const char *name;
} network_file_systems[] = {
    {NFS_SUPER_MAGIC, "NFS"},     {SMB_SUPER_MAGIC, "SMB"},   {FILE_SYSTEM_CIFS, "CIFS"},
    {FILE_SYSTEM_SMB2, "SMB2"},   {V9FS_MAGIC, "9p"},         {AFS_SUPER_MAGIC, "AFS"},
    {AFS_FS_MAGIC, "AFS"},        {CODA_SUPER_MAGIC, "Coda"}, {CEPH_SUPER_MAGIC, "Ceph"},
    {NCP_SUPER_MAGIC, "NCP"},     {FILE_SYSTEM_GFS2, "GFS2"}, {FILE_SYSTEM_LUSTRE, "Lustre"},
    {OCFS2_SUPER_MAGIC, "OCFS2"},
};

/* ---- Errors ---------------------------------------------------------------------------------- */

/* A quota and a file size limit fill a disk as well as a full disk does, but SQLite calls them errors of
 * write (never of fsync, after which nothing is known), and after a COMMIT it does not even keep their cause,
 * so that errno is all there is. */
static bool disk_is_full(sqlite3 *database, int code, int last_errno) {
    if ((code & 0xff) == SQLITE_FULL)
        return true;
    if (code != SQLITE_IOERR_WRITE && code != SQLITE_IOERR_SHMSIZE)
        return false;
    int cause = database == NULL ? 0 : sqlite3_system_errno(database);
    cause = cause == 0 ? last_errno : cause;
    return cause == ENOSPC || cause == EDQUOT || cause == EFBIG;
}

static status_code store_failed(sqlite3 *database, int code, const char *what, failure *why) {
    int last_errno = errno;
    const char *text = database == NULL ? sqlite3_errstr(code) : sqlite3_errmsg(database);
    if (disk_is_full(database, code, last_errno))
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "DISK_FULL",
                    "%s: no room is left for the database (%s); free some space and try again", what, text);
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return fail(why, STATUS_UNAVAILABLE, "STORE_BUSY",
                    "%s: another connection held the database for %d ms; try again", what,
                    STORE_BUSY_TIMEOUT_MS);
    case SQLITE_CONSTRAINT:
        return fail(why, STATUS_ALREADY_EXISTS, "CONSTRAINT", "%s: %s", what, text);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return fail(why, STATUS_INTERNAL, "STORE_CORRUPT",
                    "%s: the file is damaged or no database (%s); restore it from a backup", what, text);
    case SQLITE_READONLY:
        return fail(why, STATUS_INTERNAL, "STORE_READ_ONLY", "%s: the database cannot be written (%s)", what,
                    text);
    case SQLITE_IOERR:
        return fail(why, STATUS_INTERNAL, "STORE_IO", "%s: %s (%s)", what, text,
                    strerror(database == NULL ? last_errno : sqlite3_system_errno(database)));
    default:
        return fail(why, STATUS_INTERNAL, "STORE_FAILED", "%s: %s", what, text);
    }
}

/* ---- Opening --------------------------------------------------------------------------------- */

static bool path_is_memory(const char *path) {
    return strcmp(path, ":memory:") == 0;
}

/* File locks over a network are not to be trusted, and the shared memory of WAL does not exist there. Looks
 * at paths only: closing a descriptor of the file would drop the locks of every other connection in this
 * process. */
static status_code check_file_system(const char *path, failure *why) {
    struct statfs info;
    if (statfs(path, &info) != 0) {
        char copy[STORE_PATH_BYTES];
        if (strlen(path) >= sizeof copy)
            return fail(why, STATUS_INVALID_ARGUMENT, "PATH_TOO_LONG",
                        "the path of the database is too long");
        memcpy(copy, path, strlen(path) + 1);
        const char *directory = dirname(copy);
        if (statfs(directory, &info) != 0)
            return fail(why, STATUS_NOT_FOUND, "NO_DIRECTORY", "%s: %s; create the directory first",
                        directory, strerror(errno));
    }
    for (size_t i = 0; i < sizeof network_file_systems / sizeof network_file_systems[0]; i++)
        if ((uint32_t)info.f_type == network_file_systems[i].magic)
            return fail(why, STATUS_FAILED_PRECONDITION, "NETWORK_FILE_SYSTEM",
                        "%s is on %s, where file locks cannot be trusted; use a local disk", path,
                        network_file_systems[i].name);
    return STATUS_OK;
}

/* SQLite would create the file readable for everyone; its journal and WAL take over the mode of the file. An
 * existing file is not opened here, because closing it would drop the locks of this process's other
 * connections. */
static status_code create_private(const char *path, failure *why) {
    int descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (descriptor >= 0) {
        close(descriptor);
        return STATUS_OK;
    }
    if (errno == EEXIST)
        return STATUS_OK;
    if (errno == ENOSPC || errno == EDQUOT)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "DISK_FULL", "%s: no room to create the database", path);
    return fail(why, STATUS_FAILED_PRECONDITION, "CANNOT_CREATE", "%s: %s", path, strerror(errno));
}

/* Nobody asks SQLite how much memory it has, and counting it costs a lock an allocation. Refused (and no
 * harm) when SQLite is running already. */
static void configure(void) {
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static status_code open_connection(store *self, const char *path, int flags, failure *why) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    sqlite3 *database = NULL;
    pthread_once(&once, configure);
    int code = sqlite3_open_v2(path, &database, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (code != SQLITE_OK) {
        status_code status = store_failed(database, code, path, why);
        sqlite3_close(database);
        return status;
    }
    sqlite3_busy_timeout(database, STORE_BUSY_TIMEOUT_MS);
    sqlite3_db_config(database, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(database, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(database, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(database, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    sqlite3_db_config(database, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL);
    code = sqlite3_prepare_v3(database, "ROLLBACK", -1, SQLITE_PREPARE_PERSISTENT, &self->rollback, NULL);
    if (code != SQLITE_OK) {
        status_code status = store_failed(database, code, path, why);
        sqlite3_close(database);
        return status;
    }
    self->database = database;
    self->read_only = (flags & SQLITE_OPEN_READONLY) != 0;
    return STATUS_OK;
}

/* Runs a pragma and demands its answer: SQLite keeps the old journal mode without an error when it cannot
 * change. */
static status_code require_pragma(store *self, const char *sql, const char *expected, failure *why) {
    store_statement statement;
    status_code status = store_prepare(self, &statement, sql, why);
    if (status != STATUS_OK)
        return status;
    bool row = false;
    status = store_step(&statement, &row, why);
    if (status == STATUS_OK && (!row || strcasecmp(store_column_text(&statement, 0), expected) != 0))
        status = fail(why, STATUS_FAILED_PRECONDITION, "PRAGMA_REFUSED", "%s answered '%s' instead of '%s'",
                      sql, row ? store_column_text(&statement, 0) : "", expected);
    store_finalize(&statement);
    return status;
}

static status_code set_durability(store *self, bool memory, store_durability durability, failure *why) {
    status_code status = STATUS_OK;
    if (!memory && durability != STORE_SHARED)
        status = store_execute(self, "PRAGMA page_size=8192", why); /* of a new file */
    if (status == STATUS_OK && !memory && durability == STORE_SHARED)
        status = require_pragma(self, "PRAGMA journal_mode=TRUNCATE", "truncate", why);
    else if (status == STATUS_OK && !memory)
        status = require_pragma(self, "PRAGMA journal_mode=WAL", "wal", why);
    if (status == STATUS_OK)
        status = store_execute(
            self, durability == STORE_REBUILDABLE ? "PRAGMA synchronous=NORMAL" : "PRAGMA synchronous=FULL",
            why);
    return status;
}

/* ---- Migrating ------------------------------------------------------------------------------- */

static status_code read_number(store *self, const char *sql, int64_t *out, failure *why) {
    store_statement statement;
    status_code status = store_prepare(self, &statement, sql, why);
    if (status != STATUS_OK)
        return status;
    bool row = false;
    status = store_step(&statement, &row, why);
    if (status == STATUS_OK)
        *out = row ? store_column_int(&statement, 0) : 0;
    store_finalize(&statement);
    return status;
}

static status_code create_schema(store *self, const char *schema, failure *why) {
    int64_t objects = 0;
    status_code status = read_number(self, "SELECT count(*) FROM sqlite_schema", &objects, why);
    if (status == STATUS_OK && objects != 0)
        status = fail(why, STATUS_FAILED_PRECONDITION, "STORE_FOREIGN",
                      "the file holds tables but no version: it is some other program's database");
    return status == STATUS_OK ? store_execute(self, schema, why) : status;
}

/* Inside the transaction, so that of two processes that open an old file one migrates and the other finds it
 * done. */
static status_code migrate_locked(store *self, int version, const char *schema, const char *const *migrations,
                                  failure *why) {
    int64_t found = 0;
    status_code status = read_number(self, "PRAGMA user_version", &found, why);
    if (status != STATUS_OK || found == version)
        return status;
    if (found > version || found < 0)
        return fail(why, STATUS_FAILED_PRECONDITION, "STORE_TOO_NEW",
                    "the database has version %lld, this program knows up to %d; use a newer program",
                    (long long)found, version);
    if (found == 0)
        status = create_schema(self, schema, why);
    for (int64_t step = found; found != 0 && status == STATUS_OK && step < version; step++)
        status = store_execute(self, migrations[step - 1], why);
    if (status != STATUS_OK)
        return status;
    char pragma[64];
    sqlite3_snprintf(sizeof pragma, pragma, "PRAGMA user_version = %d", version);
    return store_execute(self, pragma, why);
}

static status_code migrate(store *self, int version, const char *schema, const char *const *migrations,
                           failure *why) {
    int64_t found = 0;
    status_code status = read_number(self, "PRAGMA user_version", &found, why);
    if (status != STATUS_OK || found == version)
        return status;
    if ((status = store_begin(self, why)) != STATUS_OK)
        return status;
    status = migrate_locked(self, version, schema, migrations, why);
    if (status == STATUS_OK)
        status = store_commit(self, why);
    if (status != STATUS_OK)
        store_rollback(self);
    return status;
}

status_code store_open(store *self, const char *path, int version, const char *schema,
                       const char *const *migrations, store_durability durability, failure *why) {
    bool memory = path_is_memory(path);
    if (version < 1 || version > STORE_VERSION_MAX || (version > 1 && migrations == NULL))
        return fail(why, STATUS_INVALID_ARGUMENT, "STORE_VERSION",
                    "a store's version starts at 1, each next one "
                    "needs a migration");
    status_code status = memory ? STATUS_OK : check_file_system(path, why);
    if (status == STATUS_OK && !memory)
        status = create_private(path, why);
    store opened = {0};
    if (status == STATUS_OK)
        status = open_connection(&opened, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, why);
    if (status != STATUS_OK)
        return status;
    status = set_durability(&opened, memory, durability, why);
    if (status == STATUS_OK)
        status = migrate(&opened, version, schema, migrations, why);
    if (status != STATUS_OK) {
        store_close(&opened);
        return fail_within(why, status, "%s", path);
    }
    *self = opened;
    return STATUS_OK;
}

status_code store_open_reader(store *self, const char *path, failure *why) {
    status_code status = check_file_system(path, why);
    if (status != STATUS_OK)
        return status;
    struct stat info;
    if (stat(path, &info) != 0)
        return fail(why, STATUS_NOT_FOUND, "NO_STORE", "%s: %s", path, strerror(errno));
    store opened = {0};
    if ((status = open_connection(&opened, path, SQLITE_OPEN_READONLY, why)) != STATUS_OK)
        return status;
    /* Only the writer checkpoints. */
    sqlite3_db_config(opened.database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    int64_t version = 0;
    status = read_number(&opened, "PRAGMA user_version", &version, why);
    if (status != STATUS_OK) {
        store_close(&opened);
        return fail_within(why, status, "%s", path);
    }
    *self = opened;
    return STATUS_OK;
}

void store_close(store *self) {
    if (self == NULL || self->database == NULL)
        return;
    sqlite3_finalize(self->rollback);
    self->rollback = NULL;
    /* The second form waits for statements that somebody forgot instead of leaking the connection at once. */
    sqlite3_close_v2(self->database);
    self->database = NULL;
}

/* ---- Transactions ---------------------------------------------------------------------------- */

status_code store_execute(store *self, const char *sql, failure *why) {
    int code = sqlite3_exec(self->database, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? STATUS_OK : store_failed(self->database, code, "running a statement", why);
}

status_code store_begin(store *self, failure *why) {
    /* Should a ROLLBACK ever have failed, it is made up for before anything follows. */
    store_rollback(self);
    return store_execute(self, self->read_only ? "BEGIN" : "BEGIN IMMEDIATE", why);
}

status_code store_commit(store *self, failure *why) {
    errno = 0;
    int code = sqlite3_exec(self->database, "COMMIT", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        return STATUS_OK;
    status_code status = store_failed(self->database, code, "committing", why);
    if (status == STATUS_UNAVAILABLE || status == STATUS_RESOURCE_EXHAUSTED ||
        status == STATUS_ALREADY_EXISTS)
        return status;
    return fail(why, STATUS_DATA_LOSS, "COMMIT_FAILED",
                "committing: %s; whether the data reached the disk is not known, so the process must end",
                sqlite3_errmsg(self->database));
}

void store_rollback(store *self) {
    /* Some errors have already rolled back. */
    if (self->database != NULL && sqlite3_get_autocommit(self->database) == 0)
        sqlite3_step(self->rollback);
    if (self->rollback != NULL)
        sqlite3_reset(self->rollback);
}

/* ---- Statements ------------------------------------------------------------------------------ */

status_code store_prepare(store *self, store_statement *out, const char *sql, failure *why) {
    *out = (store_statement){0};
    int code = sqlite3_prepare_v3(self->database, sql, -1, SQLITE_PREPARE_PERSISTENT, &out->handle, NULL);
    return code == SQLITE_OK ? STATUS_OK : store_failed(self->database, code, sql, why);
}

void store_finalize(store_statement *self) {
    if (self == NULL)
        return;
    sqlite3_finalize(self->handle);
    *self = (store_statement){0};
}

static void note_bind(store_statement *self, int code) {
    if (code != SQLITE_OK)
        self->bind_failed = true;
}

void store_bind_int(store_statement *self, int index, int64_t value) {
    note_bind(self, sqlite3_bind_int64(self->handle, index, value));
}

void store_bind_double(store_statement *self, int index, double value) {
    note_bind(self, sqlite3_bind_double(self->handle, index, value));
}

void store_bind_text(store_statement *self, int index, const char *value) {
    note_bind(self, sqlite3_bind_text(self->handle, index, value, -1, SQLITE_STATIC));
}

void store_bind_blob(store_statement *self, int index, bytes value) {
    /* A NULL pointer would bind NULL, which is not the same as an empty value. */
    const void *data = value.size == 0 ? (const void *)"" : value.data;
    note_bind(self, sqlite3_bind_blob64(self->handle, index, data, value.size, SQLITE_STATIC));
}

void store_reset(store_statement *self) {
    if (self == NULL || self->handle == NULL)
        return;
    sqlite3_reset(self->handle);
    sqlite3_clear_bindings(self->handle);
    self->bind_failed = false;
}

status_code store_step(store_statement *self, bool *row, failure *why) {
    if (self->bind_failed) {
        store_reset(self);
        return fail(why, STATUS_INTERNAL, "BIND_FAILED",
                    "a value could not be bound: a wrong index or no memory");
    }
    int code = sqlite3_step(self->handle);
    if (code == SQLITE_ROW || code == SQLITE_DONE) {
        *row = code == SQLITE_ROW;
        if (!*row)
            store_reset(self);
        return STATUS_OK;
    }
    status_code status = store_failed(sqlite3_db_handle(self->handle), code, sqlite3_sql(self->handle), why);
    store_reset(self);
    return status;
}

status_code store_run(store_statement *self, failure *why) {
    bool row = true;
    status_code status = STATUS_OK;
    while (row && status == STATUS_OK)
        status = store_step(self, &row, why);
    return status;
}

int64_t store_column_int(store_statement *self, int column) {
    return sqlite3_column_int64(self->handle, column);
}

double store_column_double(store_statement *self, int column) {
    return sqlite3_column_double(self->handle, column);
}

const char *store_column_text(store_statement *self, int column) {
    const char *text = (const char *)sqlite3_column_text(self->handle, column);
    return text == NULL ? "" : text;
}

bytes store_column_blob(store_statement *self, int column) {
    const void *data = sqlite3_column_blob(self->handle, column);
    return bytes_of(data, (size_t)sqlite3_column_bytes(self->handle, column));
}
