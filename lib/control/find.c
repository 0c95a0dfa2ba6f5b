/* Looking things up in a view. Where a fact about an action is absent, a kill switch that asks for it covers
 * the action: unknown is never "no" (PROTOCOL §2). */
#include <stdlib.h>
#include <string.h>

#include "control/control.h"

static int compare_keyid(const void *key, const void *entry) {
    return strcmp(key, ((const control_enrolment *)entry)->keyid);
}

const control_enrolment *control_find_key(const control_view *view, const char *keyid) {
    if (view->enrolment_count == 0)
        return NULL;
    return bsearch(keyid, view->enrolments, view->enrolment_count, sizeof *view->enrolments, compare_keyid);
}

/* Of several keys the one whose statement is the newest, so that a rotation takes effect with the new key's
 * enrolment; the key id decides between equals, so that every replica answers the same. */
const control_enrolment *control_find_principal(const control_view *view, const char *principal) {
    const control_enrolment *found = NULL;
    for (size_t i = 0; i < view->enrolment_count; i++) {
        const control_enrolment *entry = &view->enrolments[i];
        if (!entry->statement->revoked && strcmp(entry->statement->principal, principal) == 0 &&
            (found == NULL ||
             entry->statement->header->issued_at_ms > found->statement->header->issued_at_ms))
            found = entry;
    }
    return found;
}

static bool text_covers(const char *subject, const char *value) {
    return value == NULL || value[0] == '\0' || strcmp(subject, value) == 0;
}

static bool kill_covers(const Interlock__Control__V1__Kill *kill, const char *principal, const char *model,
                        const char *verb, char *const *targets, size_t target_count) {
    switch (kill->scope) {
    case INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_AGENT:
        return text_covers(kill->subject, principal);
    case INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_MODEL:
        return text_covers(kill->subject, model);
    case INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_VERB:
        return text_covers(kill->subject, verb);
    case INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_SERVICE:
        for (size_t i = 0; i < target_count; i++)
            if (text_covers(kill->subject, targets[i]))
                return true;
        return target_count == 0;
    default:
        /* The global switch. A zone's too: nothing here says which zones the targets are in, so all are taken
         * to be in it. */
        return true;
    }
}

const Interlock__Control__V1__Kill *control_find_kill(const control_view *view, const char *principal,
                                                      const char *model, const char *verb,
                                                      char *const *targets, size_t target_count) {
    for (size_t i = 0; i < view->kill_count; i++)
        if (kill_covers(view->kills[i], principal, model, verb, targets, target_count))
            return view->kills[i];
    return NULL;
}
