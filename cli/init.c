/* interlock init: an installation from nothing. All of it is made beside the data folder and moved into place
 * at the end, installation.yaml last: either there is an installation or there is none. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/control.h"
#include "control/place.h"
#include "crypto/x509.h"
#include "statements.h"

#define POLICY_BYTES (256U << 10)
#define ETCD_TIMEOUT_MS 5000U

extern const char cli_starter_policy[]; /* deploy/policy.yaml */

static const char *const folders[] = {"keys", "tls", "coord", "run", "log"};
static const char *const roles[] = {"agent",   "executor",  "approver", "operator",
                                    "auditor", "telemetry", "service"};

typedef struct installer {
    cli *shell;
    char folder[CLI_PATH_BYTES]; /* where it is built */
    bool inside;                 /* the data folder exists: built inside it, entries moved one by one */
    trust roots;
    secret_key *operator_key, *executor_key;
    bytes policy;
    const char *policy_path;
    const char *etcd; /* endpoints; NULL: the embedded coordination */
} installer;

static status_code io_failure(failure *why, const char *doing, const char *path) {
    return fail(why, STATUS_FAILED_PRECONDITION, "INIT", "cannot %s %.300s: %s", doing, path,
                strerror(errno));
}

static bool name_valid(const char *name) {
    size_t size = strlen(name);
    return size >= 1 && size < sizeof((trust *)0)->installation && name[0] != '-' && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == size;
}

/* ---- the folder ---- */

/* 0: absent, 1: empty, 2: with something in it. What an interrupted init left (".init-…") counts as nothing.
 */
static int folder_content(const char *path) {
    DIR *folder = opendir(path);
    int found = 1;
    if (folder == NULL)
        return errno == ENOENT ? 0 : 2;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strncmp(entry->d_name, ".init-", 6) != 0)
            found = 2;
    closedir(folder);
    return found;
}

static status_code make_parents(const char *path, failure *why) {
    char partial[CLI_PATH_BYTES];
    snprintf(partial, sizeof partial, "%s", path);
    for (char *slash = strchr(partial + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(partial, 0700) != 0 && errno != EEXIST)
            return io_failure(why, "make", partial);
        *slash = '/';
    }
    return STATUS_OK;
}

static status_code folder_begin(installer *self, failure *why) {
    const char *target = self->shell->data_dir;
    int content = folder_content(target);
    if (content == 2)
        return fail(why, STATUS_ALREADY_EXISTS, "NOT_EMPTY",
                    "%.300s is not empty: an installation is never made over what is there; choose another "
                    "--data-dir, or remove it",
                    target);
    self->inside = content == 1;
    status_code code = make_parents(target, why);
    if (code != STATUS_OK)
        return code;
    int size =
        snprintf(self->folder, sizeof self->folder, "%s%s.init-XXXXXX", target, self->inside ? "/" : "");
    if (size < 0 || (size_t)size >= sizeof self->folder)
        return fail(why, STATUS_INVALID_ARGUMENT, "PATH_TOO_LONG", "the data folder's path is too long");
    if (mkdtemp(self->folder) == NULL)
        return io_failure(why, "make", self->folder);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[CLI_PATH_BYTES + 16];
        snprintf(path, sizeof path, "%s/%s", self->folder, folders[i]);
        if (mkdir(path, 0700) != 0)
            return io_failure(why, "make", path);
    }
    return STATUS_OK;
}

static void sync_folder(const char *path) {
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor >= 0) {
        fsync(descriptor);
        close(descriptor);
    }
}

static status_code move_entry(const installer *self, const char *name, failure *why) {
    char from[CLI_PATH_BYTES + 256], to[CLI_PATH_BYTES + 256];
    snprintf(from, sizeof from, "%s/%s", self->folder, name);
    snprintf(to, sizeof to, "%s/%s", self->shell->data_dir, name);
    return rename(from, to) == 0 ? STATUS_OK : io_failure(why, "move", from);
}

/* installation.yaml last: it is what makes the folder an installation. */
static status_code move_all(const installer *self, failure *why) {
    DIR *folder = opendir(self->folder);
    status_code code = STATUS_OK;
    if (folder == NULL)
        return io_failure(why, "read", self->folder);
    for (struct dirent *entry = readdir(folder); entry != NULL && code == STATUS_OK; entry = readdir(folder))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strcmp(entry->d_name, "installation.yaml") != 0)
            code = move_entry(self, entry->d_name, why);
    closedir(folder);
    sync_folder(self->shell->data_dir);
    if (code == STATUS_OK)
        code = move_entry(self, "installation.yaml", why);
    rmdir(self->folder);
    return code;
}

static status_code folder_finish(const installer *self, failure *why) {
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[CLI_PATH_BYTES + 16];
        snprintf(path, sizeof path, "%s/%s", self->folder, folders[i]);
        sync_folder(path);
    }
    sync_folder(self->folder);
    if (self->inside) {
        status_code code = move_all(self, why);
        sync_folder(self->shell->data_dir);
        return code;
    }
    if (rename(self->folder, self->shell->data_dir) != 0)
        return io_failure(why, "move into place", self->folder);
    char parent[CLI_PATH_BYTES];
    snprintf(parent, sizeof parent, "%s", self->shell->data_dir);
    char *slash = strrchr(parent, '/');
    if (slash != NULL)
        slash[slash == parent ? 1 : 0] = '\0';
    sync_folder(slash != NULL ? parent : ".");
    return STATUS_OK;
}

static void remove_files(const char *path) {
    DIR *folder = opendir(path);
    if (folder == NULL)
        return;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char name[CLI_PATH_BYTES + 512];
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        unlink(name);
    }
    closedir(folder);
    rmdir(path);
}

/* Of what this run built and did not finish. */
static void folder_discard(const installer *self) {
    if (self->folder[0] == '\0')
        return;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[CLI_PATH_BYTES + 16];
        snprintf(path, sizeof path, "%s/%s", self->folder, folders[i]);
        remove_files(path);
    }
    remove_files(self->folder);
}

/* ---- keys ---- */

static status_code add_key(installer *self, const char *file, key_purpose purpose, const char *principal,
                           bool root, secret_key **keep, failure *why) {
    char path[CLI_PATH_BYTES + 64];
    secret_key *key = NULL;
    snprintf(path, sizeof path, "%s/keys/%s.key", self->folder, file);
    status_code code = secret_key_generate(self->shell->source, purpose, &key, why);
    if (code == STATUS_OK)
        code = secret_key_save(key, path, why);
    if (code == STATUS_OK && root) {
        trust_key *added = &self->roots.keys[self->roots.count++];
        snprintf(added->principal, sizeof added->principal, "%s", principal);
        added->purpose = purpose;
        added->key = *secret_key_public(key);
    }
    if (keep != NULL)
        *keep = key;
    else
        secret_key_free(key);
    return code;
}

static status_code make_keys(installer *self, failure *why) {
    status_code code =
        add_key(self, "operator", KEY_OPERATOR, "operator/local", true, &self->operator_key, why);
    if (code == STATUS_OK)
        code = add_key(self, "record-policy", KEY_RECORD, "service/policy", true, NULL, why);
    if (code == STATUS_OK)
        code = add_key(self, "checkpoint", KEY_CHECKPOINT, "service/audit", true, NULL, why);
    if (code == STATUS_OK)
        code = add_key(self, "permit", KEY_PERMIT, "service/signer", true, NULL, why);
    if (code == STATUS_OK)
        code =
            add_key(self, "executor-local", KEY_EXECUTOR, "executor/local", false, &self->executor_key, why);
    if (code != STATUS_OK)
        return code;
    char path[CLI_PATH_BYTES + 32];
    snprintf(path, sizeof path, "%s/installation.yaml", self->folder);
    return trust_save(&self->roots, path, why);
}

static status_code make_certificates(installer *self, failure *why) {
    char folder[CLI_PATH_BYTES + 8], name[64], identity[192];
    snprintf(folder, sizeof folder, "%s/tls", self->folder);
    status_code code = x509_create_authority(folder, self->roots.installation, why);
    for (size_t i = 0; i < CLI_SERVICES && code == STATUS_OK; i++) {
        snprintf(name, sizeof name, "service-%s", cli_services[i]);
        snprintf(identity, sizeof identity, "spiffe://%s/service/%s", self->roots.installation,
                 cli_services[i]);
        code = x509_issue(folder, name, identity, true, why);
    }
    for (size_t i = 0; i < sizeof roles / sizeof *roles && code == STATUS_OK; i++) {
        snprintf(identity, sizeof identity, "spiffe://%s/%s/local", self->roots.installation, roles[i]);
        code = x509_issue(folder, roles[i], identity, false, why);
    }
    return code;
}

/* ---- control data ---- */

static status_code put(control *live, const Interlock__Common__V1__Envelope *statement, failure *why) {
    uint64_t seq = 0;
    if (statement == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for a statement");
    return control_put(live, statement, &seq, why);
}

static status_code put_first_statements(installer *self, control *live, failure *why) {
    const signer_identity signer = {.key = self->operator_key,
                                    .principal = "operator/local",
                                    .installation = self->roots.installation,
                                    .source = self->shell->source,
                                    .memory = &self->shell->memory};
    char name[129];
    uint64_t version = 0;
    public_key executor = *secret_key_public(self->executor_key);
    Interlock__Control__V1__Enrolment enrolment = INTERLOCK__CONTROL__V1__ENROLMENT__INIT;
    Interlock__Control__V1__PolicySet set = INTERLOCK__CONTROL__V1__POLICY_SET__INIT;
    enrolment.principal = "executor/local";
    enrolment.public_key = (ProtobufCBinaryData){.len = CRYPTO_PUBLIC_KEY_BYTES, .data = executor.bytes};
    enrolment.delegation_root = "operator/local";
    enrolment.version = 1;
    status_code code = cli_policy_metadata(self->policy, self->policy_path, name, &version, why);
    if (code == STATUS_OK)
        code = put(live, statement_enrolment(&signer, &enrolment), why);
    set.name = name;
    set.version = version;
    set.document = (ProtobufCBinaryData){.len = self->policy.size, .data = (uint8_t *)self->policy.data};
    if (code == STATUS_OK)
        code = put(live, statement_policy(&signer, &set), why);
    return code;
}

/* The name of an installation in etcd is taken in one transaction, so that two inits cannot both write there;
 * and only where nothing of another installation of that name stands. The embedded file is new anyway. */
static status_code claim_etcd(const installer *self, coord *coordination, failure *why) {
    char prefix[PLACE_PREFIX_BYTES];
    bool succeeded = false;
    int64_t revision = 0;
    coord_result found = {0};
    const coord_compare absent = {.key = "installation", .target = COORD_VERSION};
    const coord_op claim = {.kind = COORD_PUT,
                            .key = "installation",
                            .value = bytes_of_text(secret_key_public(self->operator_key)->keyid)};
    place_prefix(&self->roots, prefix);
    status_code code =
        coord_get_wait(coordination, "control/", true, ETCD_TIMEOUT_MS, &self->shell->memory, &found, why);
    if (code == STATUS_OK && found.count == 0)
        code =
            coord_txn_wait(coordination, &absent, 1, &claim, 1, ETCD_TIMEOUT_MS, &succeeded, &revision, why);
    if (code != STATUS_OK)
        return fail_within(why, code, "etcd at %.200s", self->etcd);
    if (!succeeded)
        return fail(
            why, STATUS_ALREADY_EXISTS, "NOT_EMPTY",
            "etcd holds an installation under %s already; take another --name, or remove what is left "
            "of it with etcdctl del --prefix %s",
            prefix, prefix);
    return STATUS_OK;
}

static status_code open_coordination(const installer *self, coord **out, failure *why) {
    place where;
    status_code code = place_find(&where, self->folder, self->etcd, NULL, why);
    if (code == STATUS_OK)
        code = place_open(out, &where, &self->roots, self->shell->source, why);
    return code;
}

/* Straight into coordination: no service runs yet. Policy later appends to the log what is not there. */
static status_code make_control(installer *self, failure *why) {
    coord *coordination = NULL;
    control *live = NULL;
    status_code code = self->etcd == NULL ? STATUS_OK : place_save(self->folder, self->etcd, why);
    if (code == STATUS_OK)
        code = open_coordination(self, &coordination, why);
    if (code == STATUS_OK && self->etcd != NULL)
        code = claim_etcd(self, coordination, why);
    if (code == STATUS_OK)
        code = control_open(&live, coordination, &self->roots, NULL, self->shell->source, why);
    if (code == STATUS_OK)
        code = put_first_statements(self, live, why);
    control_close(live);
    coord_close(coordination);
    return code;
}

/* ---- the command ---- */

static status_code prepare(installer *self, const char *name, const char *policy_file, failure *why) {
    char stated[129];
    uint64_t version = 0;
    if (!name_valid(name))
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_NAME",
                    "an installation's name is 1 to 63 of a-z 0-9 - . and starts with a letter or digit");
    snprintf(self->roots.installation, sizeof self->roots.installation, "%s", name);
    snprintf(self->roots.origin, sizeof self->roots.origin, "%s.interlock.local/log", name);
    self->policy = bytes_of_text(cli_starter_policy);
    self->policy_path = policy_file != NULL ? policy_file : "the starter policy";
    status_code code = STATUS_OK;
    if (policy_file != NULL)
        code = cli_read_file(self->shell, policy_file, POLICY_BYTES, &self->policy, why);
    if (code == STATUS_OK)
        code = cli_policy_metadata(self->policy, self->policy_path, stated, &version, why);
    return code;
}

static status_code build(installer *self, failure *why) {
    status_code code = folder_begin(self, why);
    if (code == STATUS_OK)
        code = make_keys(self, why);
    if (code == STATUS_OK)
        code = make_certificates(self, why);
    if (code == STATUS_OK)
        code = make_control(self, why);
    if (code == STATUS_OK)
        code = folder_finish(self, why);
    return code;
}

cli_exit cli_init(cli *self, const char *name, const char *policy_file, const char *etcd) {
    installer *work = calloc(1, sizeof *work);
    failure why = {0};
    if (work == NULL) {
        fail(&why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory");
        return cli_fail("init", &why);
    }
    work->shell = self;
    work->etcd = etcd;
    status_code code = prepare(work, name, policy_file, &why);
    if (code == STATUS_OK) {
        code = build(work, &why);
        if (code != STATUS_OK)
            folder_discard(work);
    }
    if (code == STATUS_OK)
        printf("Installation \"%s\" is in %s\n"
               "  keys/               operator, record, checkpoint, permit and executor keys: back them up\n"
               "  tls/                a development authority and a certificate for each service and role\n"
               "  installation.yaml   the root of trust\n"
               "%s"
               "Next: interlock dev, then interlock agent enroll NAME\n",
               name, self->data_dir,
               etcd != NULL ? "  " PLACE_FILE "   where etcd is, for every service and command\n" : "");
    secret_key_free(work->operator_key);
    secret_key_free(work->executor_key);
    free(work);
    return code == STATUS_OK ? CLI_OK : cli_fail("init", &why);
}

static cli_exit init_run(cli *self) {
    const char *name = cli_text(self, "name");
    return cli_init(self, name != NULL ? name : "demo", cli_text(self, "policy"), cli_text(self, "etcd"));
}

static const cli_flag init_flags[] = {
    {.name = "name",
     .kind = FLAG_TEXT,
     .value_name = "NAME",
     .help = "of the installation: a-z 0-9 - . [demo]"},
    {.name = "policy", .kind = FLAG_TEXT, .value_name = "FILE", .help = "the first policy set [a starter]"},
    {.name = "etcd",
     .kind = FLAG_TEXT,
     .value_name = "URLS",
     .help = "etcd for coordination: http://host:2379,… [a file in the data folder]"},
};
const cli_command init_commands[] = {
    {.noun = "init",
     .purpose = "make an installation: keys, certificates, data folders",
     .flags = init_flags,
     .flag_count = sizeof init_flags / sizeof *init_flags,
     .examples = "  interlock init\n"
                 "  interlock --data-dir /srv/interlock init --name acme --policy policy.yaml\n"
                 "  interlock init --etcd http://10.0.0.1:2379,http://10.0.0.2:2379\n",
     .run = init_run}};
const size_t init_command_count = sizeof init_commands / sizeof *init_commands;
