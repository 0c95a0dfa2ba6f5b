/* etcd as a backend: endpoints, one HTTP client, and what its two halves (requests, watches) share. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "etcd_internal.h"

#define TICK_MS 1000U

uint64_t etcd_now_ms(const etcd *self) {
    return chance_boot_ms(self->source);
}

void etcd_url(const etcd *self, size_t endpoint, const char *path, char out[ETCD_URL_BYTES + 32]) {
    snprintf(out, ETCD_URL_BYTES + 32, "%s%s", self->endpoints[endpoint], path);
}

/* ---- The backend ----------------------------------------------------------------------------- */

static uint32_t etcd_tick(void *context) {
    etcd *self = context;
    uint64_t wake = etcd_call_tick(self), watch_wake = etcd_watch_tick(self);
    wake = watch_wake < wake ? watch_wake : wake;
    uint64_t now = etcd_now_ms(self);
    uint64_t sleep_ms = wake > now ? wake - now : 0;
    return sleep_ms < TICK_MS ? (uint32_t)sleep_ms : TICK_MS;
}

static void etcd_close(void *context) {
    etcd *self = context;
    self->closing = true;
    etcd_call_cancel_all(self);
    http_client_stop(self->client);
    coord_run_tasks(self->owner); /* frees what was under way */
    free(self);
}

static const coord_backend_ops etcd_ops = {
    .ready = etcd_call_ready,
    .submit = etcd_call_submit,
    .watch = etcd_watch_open,
    .unwatch = etcd_watch_close,
    .tick = etcd_tick,
    .close = etcd_close,
};

/* ---- Opening --------------------------------------------------------------------------------- */

static bool add_endpoint(etcd *self, const char *url, size_t size) {
    while (size > 0 && url[size - 1] == '/')
        size--;
    bool web = size > 7 && (strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0);
    if (!web || size >= ETCD_URL_BYTES || self->endpoint_count == ETCD_ENDPOINTS)
        return false;
    memcpy(self->endpoints[self->endpoint_count], url, size);
    self->endpoints[self->endpoint_count][size] = '\0';
    self->endpoint_count++;
    return true;
}

static bool parse_endpoints(etcd *self, const char *list) {
    for (const char *at = list;; at++) {
        size_t size = strcspn(at, ",");
        if (!add_endpoint(self, at, size))
            return false;
        at += size;
        if (*at == '\0')
            return true;
    }
}

status_code etcd_open(coord_backend *out, coord *owner, const char *endpoints, const char *prefix,
                      const chance *source, failure *why) {
    etcd *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for coordination");
    self->owner = owner;
    self->source = source;
    snprintf(self->prefix, sizeof self->prefix, "%s", prefix);
    status_code status = STATUS_OK;
    if (!parse_endpoints(self, endpoints))
        status =
            fail(why, STATUS_INVALID_ARGUMENT, "BAD_ENDPOINTS",
                 "'%.200s': write 1 to %u endpoints as http://host:2379,http://…", endpoints, ETCD_ENDPOINTS);
    if (status == STATUS_OK)
        status = http_client_start(&self->client, why);
    if (status != STATUS_OK) {
        free(self);
        return status;
    }
    *out = (coord_backend){.ops = &etcd_ops, .self = self};
    return STATUS_OK;
}
