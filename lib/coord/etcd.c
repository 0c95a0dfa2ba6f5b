#include "internal.h"
status_code etcd_open(coord_backend *out, coord *owner, const char *endpoints, const char *prefix,
                      const chance *source, failure *why) {
    (void)out;
    (void)owner;
    (void)prefix;
    (void)source;
    return fail(why, STATUS_UNIMPLEMENTED, "NO_ETCD", "%s", endpoints);
}
