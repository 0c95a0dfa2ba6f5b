/* Channels: credentials, bounds, reconnecting, and the calls in flight on them. */
#include "channel.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc_security.h>
#include <grpc/slice.h>

#include "base/limits.h"
#include "detail.h"
#include "message.h"
#include "pem.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MOST_MS 2000
#define CONNECT_MS 2000 /* how long an attempt to connect may take */
#define KEEPALIVE_MS 60000
#define KEEPALIVE_TIMEOUT_MS 20000
#define REPLY_MESSAGE_MAX (64 << 20)

/* ---- opening ---- */

static grpc_channel *channel_create(const char *target, grpc_channel_credentials *credentials,
                                    const char *server_name) {
    const struct {
        const char *key;
        int value;
    } integers[] = {
        {GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, BACKOFF_FIRST_MS},
        {GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_MS},
        {GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, BACKOFF_MOST_MS},
        {GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS},
        {GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS},
        {GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, REPLY_MESSAGE_MAX},
        {GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1},
        {GRPC_ARG_ENABLE_RETRIES, 0},
        {GRPC_ARG_ENABLE_HTTP_PROXY, 0}, /* nothing of ours goes through a proxy by an environment variable */
        {GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1},
        {GRPC_ARG_ENABLE_CHANNELZ, 0},
        {GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0},
        {GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE},
    };
    enum { COUNT = sizeof integers / sizeof *integers };
    grpc_arg items[COUNT + 1];
    for (size_t i = 0; i < COUNT; i++) {
        items[i].type = GRPC_ARG_INTEGER;
        items[i].key = (char *)(uintptr_t)integers[i].key;
        items[i].value.integer = integers[i].value;
    }
    size_t count = COUNT;
    if (server_name != NULL) {
        items[count].type = GRPC_ARG_STRING;
        items[count].key = (char *)(uintptr_t)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG;
        items[count++].value.string = (char *)(uintptr_t)server_name;
    }
    grpc_channel_args list = {.num_args = count, .args = items};
    return grpc_channel_create(target, credentials, &list);
}

static status_code tls_credentials(const rpc_channel_options *options, grpc_channel_credentials **out,
                                   failure *why) {
    pem_set pem;
    status_code code = pem_read(&pem, options->tls_certificate_path, options->tls_key_path,
                                options->tls_authority_path, why);
    if (code != STATUS_OK)
        return code;
    grpc_ssl_pem_key_cert_pair pair = {.private_key = pem.key.data, .cert_chain = pem.certificate.data};
    *out = grpc_ssl_credentials_create_ex(pem.authority.data, &pair, NULL, NULL);
    pem_free(&pem);
    if (*out == NULL)
        return fail(why, STATUS_INVALID_ARGUMENT, "TLS_FILES_WRONG",
                    "the certificate %s and its key or authority cannot be used",
                    options->tls_certificate_path);
    return STATUS_OK;
}

/* An address given in digits needs no resolver. */
static void target_name(const char *target, char *out, size_t room) {
    char host[64] = "";
    const char *colon = strrchr(target, ':');
    struct in_addr address;
    if (colon != NULL && (size_t)(colon - target) < sizeof host)
        memcpy(host, target, (size_t)(colon - target));
    snprintf(out, room, "%s%s", inet_pton(AF_INET, host, &address) == 1 ? "ipv4:" : "", target);
}

status_code rpc_channel_open(rpc_channel **out, const rpc_channel_options *options, failure *why) {
    bool local = strncmp(options->target, "unix:", 5) == 0;
    char target[512];
    if (strlen(options->target) >= sizeof target - 8)
        return fail(why, STATUS_INVALID_ARGUMENT, "TARGET_TOO_LONG", "the target is longer than 500 bytes");
    target_name(options->target, target, sizeof target);
    rpc_channel *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for a channel");
    library_enter();
    grpc_channel_credentials *credentials = NULL;
    status_code code = STATUS_OK;
    if (local)
        credentials = grpc_insecure_credentials_create();
    else
        code = tls_credentials(options, &credentials, why);
    if (code == STATUS_OK) {
        self->channel = channel_create(target, credentials, local ? NULL : options->tls_server_name);
        grpc_channel_credentials_release(credentials);
    }
    if (code != STATUS_OK) {
        free(self);
        library_leave();
        return code;
    }
    self->has_role = local && options->role != ROLE_NONE;
    self->role = grpc_slice_from_static_string(rpc_role_name(options->role));
    self->references = 1;
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->changed, NULL);
    *out = self;
    return STATUS_OK;
}

/* ---- calls in flight ---- */

gpr_timespec deadline_in(uint32_t timeout_ms) {
    if (timeout_ms == 0)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
}

bool channel_call_begin(rpc_channel *self, channel_call *call, grpc_completion_queue *queue, const char *path,
                        gpr_timespec deadline) {
    pthread_mutex_lock(&self->mutex);
    bool open = !self->closed;
    if (open) {
        grpc_slice method = grpc_slice_from_copied_string(path);
        call->call = grpc_channel_create_call(self->channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue, method,
                                              NULL, deadline, NULL);
        grpc_slice_unref(method);
        call->previous = NULL;
        call->next = self->calls;
        if (self->calls != NULL)
            self->calls->previous = call;
        self->calls = call;
    }
    pthread_mutex_unlock(&self->mutex);
    return open;
}

static void channel_destroy(rpc_channel *self) {
    grpc_channel_destroy(self->channel);
    pthread_mutex_destroy(&self->mutex);
    pthread_cond_destroy(&self->changed);
    free(self);
}

bool channel_acquire(rpc_channel *self) {
    pthread_mutex_lock(&self->mutex);
    bool open = !self->closed;
    if (open)
        self->references++;
    pthread_mutex_unlock(&self->mutex);
    return open;
}

/* Gives a reference back; the mutex is held and is released here. */
static void release_locked(rpc_channel *self) {
    bool last = --self->references == 0;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->mutex);
    /* Only a loop's thread can be the last here (closing waits elsewhere), and its loop holds the library. */
    if (last) {
        channel_destroy(self);
        library_leave_on_loop();
    }
}

void channel_release(rpc_channel *self) {
    pthread_mutex_lock(&self->mutex);
    release_locked(self);
}

void channel_call_end(rpc_channel *self, channel_call *call) {
    pthread_mutex_lock(&self->mutex);
    if (call->previous != NULL)
        call->previous->next = call->next;
    else
        self->calls = call->next;
    if (call->next != NULL)
        call->next->previous = call->previous;
    /* Within the mutex: a closing thread that still sees this call may cancel it. */
    grpc_call_unref(call->call);
    call->call = NULL;
    release_locked(self);
}

void rpc_channel_close(rpc_channel *self) {
    if (self == NULL)
        return;
    pthread_mutex_lock(&self->mutex);
    self->closed = true;
    for (channel_call *call = self->calls; call != NULL; call = call->next)
        grpc_call_cancel(call->call, NULL);
    /* On a loop's own thread its calls cannot end while we wait; then the last of them frees the channel. */
    while (rpc_loop_current() == NULL && self->references > 1)
        pthread_cond_wait(&self->changed, &self->mutex);
    bool last = --self->references == 0;
    pthread_mutex_unlock(&self->mutex);
    if (!last)
        return;
    channel_destroy(self);
    if (rpc_loop_current() != NULL)
        library_leave_on_loop();
    else
        library_leave();
}

size_t channel_metadata(const rpc_channel *self, grpc_slice traceparent, grpc_metadata *out) {
    size_t count = 0;
    if (self->has_role) {
        out[count] = (grpc_metadata){.value = self->role};
        out[count++].key = grpc_slice_from_static_string("interlock-role");
    }
    if (GRPC_SLICE_LENGTH(traceparent) > 0) {
        out[count] = (grpc_metadata){.value = traceparent};
        out[count++].key = grpc_slice_from_static_string("traceparent");
    }
    return count;
}

/* ---- results ---- */

void call_result_init(call_result *self) {
    grpc_metadata_array_init(&self->headers);
    grpc_metadata_array_init(&self->trailers);
    self->status = GRPC_STATUS_UNKNOWN;
    self->text = grpc_empty_slice();
}

void call_result_clear(call_result *self) {
    self->headers.count = self->trailers.count = 0;
    grpc_slice_unref(self->text);
    self->text = grpc_empty_slice();
}

void call_result_free(call_result *self) {
    grpc_metadata_array_destroy(&self->headers);
    grpc_metadata_array_destroy(&self->trailers);
    grpc_slice_unref(self->text);
}

void call_result_receive(call_result *self, grpc_op *status_operation) {
    status_operation->op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    status_operation->data.recv_status_on_client.trailing_metadata = &self->trailers;
    status_operation->data.recv_status_on_client.status = &self->status;
    status_operation->data.recv_status_on_client.status_details = &self->text;
}

static bytes slice_view(const grpc_slice *slice) {
    return bytes_of(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
}

status_code call_result_read(const call_result *self, failure *why) {
    status_code code =
        (unsigned)self->status <= STATUS_UNAUTHENTICATED ? (status_code)self->status : STATUS_UNKNOWN;
    if (code == STATUS_OK)
        return code;
    bytes detail = {0};
    for (size_t i = 0; i < self->trailers.count; i++)
        if (slice_equals(self->trailers.metadata[i].key, DETAIL_KEY, sizeof DETAIL_KEY - 1))
            detail = slice_view(&self->trailers.metadata[i].value);
    if (why != NULL)
        detail_decode(code, slice_view(&self->text), detail, why);
    return code;
}
