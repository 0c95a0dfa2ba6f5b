/* Policy sets for the commands that try them: from files and folders, or as they once stood in the log. */
#ifndef CLI_POLICY_FILES_H
#define CLI_POLICY_FILES_H

#include "cli.h"
#include "policies/policies.h"

#define POLICY_FILES_MAX 4096U

/* Every path is a file, or a folder of which every *.yaml and *.yml counts, in the order of their names; "-"
 * is standard input. `sources` is in the arena. */
status_code policy_files_read(cli *self, const char *const *paths, size_t count, policy_source **sources,
                              size_t *source_count, failure *why) MUST_USE;

/* The same, loaded. `problems` tells everything that is wrong when it is INVALID_ARGUMENT. */
status_code policy_files_load(cli *self, const char *const *paths, size_t count, policy_set **set,
                              policy_problems *problems, failure *why) MUST_USE;

/* All problems on standard error, then the exit code: what a command does when a set does not load. */
cli_exit policy_files_fail(const char *what, const policy_problems *problems, const failure *why);

/* One policy set that an operator put in force, as the log holds it. */
typedef struct policy_version {
    uint64_t log_index, version;
    uint64_t stated_version; /* of its documents: another one after a rollback */
    int64_t recorded_at_ms;
    const char *name, *signer;
    char digest[65]; /* SHA-256 of the document, hex */
    bytes document;
    policy_set *set; /* once policy_version_load was asked for it */
    bool unreadable; /* by this version of the program */
} policy_version;

typedef struct policy_versions {
    policy_version *items; /* oldest first */
    size_t count;
} policy_versions;

/* Every policy set in the log. Documents are in the arena; policy_versions_free lets go of loaded sets. */
status_code policy_versions_fetch(cli *self, rpc_channel *audit, policy_versions *out, failure *why) MUST_USE;
void policy_versions_free(policy_versions *self); /* takes zeroed */
policy_version *policy_versions_by_digest(policy_versions *self, const char *digest);
/* "live" (the last one), or a version number. NOT_FOUND says which there are. */
status_code policy_versions_find(policy_versions *self, const char *text, policy_version **out,
                                 failure *why) MUST_USE;
/* Loads it once. */
status_code policy_version_load(cli *self, policy_version *version, const policy_set **out,
                                failure *why) MUST_USE;

/* A set for a command: FILE or folder paths, or with none of them "live". `text` may also be "@3" or "live".
 * `versions` is filled when the log was asked. *set is the caller's reference. */
status_code policy_set_named(cli *self, const char *text, policy_versions *versions, policy_set **set,
                             policy_problems *problems, failure *why) MUST_USE;

#endif
