/* TCP with mTLS: who the certificate says is calling, and everything that does not get in. Certificates are
 * made by the openssl program, in a folder of the test's own. */
#include "rpc_test.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <sys/socket.h>

static char folder[64];

static char *in_folder(const char *name) {
    static char paths[16][128];
    static unsigned next;
    char *path = paths[next++ % 16];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *format, ...) {
    char command[1024];
    int used = snprintf(command, sizeof command, "cd %s && ", folder);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command + used, sizeof command - (size_t)used, format, arguments);
    va_end(arguments);
    assert_int_equal(system(command), 0);
}

static void make_authority(const char *name) {
    run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout %s.key -out "
        "%s.pem -days 2 "
        "-subj /CN=%s 2>/dev/null",
        name, name, name);
}

static void issue(const char *authority, const char *name, const char *alternative_names) {
    run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout %s.key -out %s.csr "
        "-subj /CN=%s "
        "2>/dev/null && printf 'subjectAltName=%s\\n' > %s.ext && openssl x509 -req -in %s.csr -CA %s.pem "
        "-CAkey "
        "%s.key -CAcreateserial -days 2 -extfile %s.ext -out %s.pem 2>/dev/null",
        name, name, name, alternative_names, name, name, authority, authority, name, name);
}

static rpc_peer seen;

static status_code handle(void *context, rpc_call *call, const ProtobufCMessage *message,
                          ProtobufCMessage *reply, failure *why) {
    (void)context, (void)message, (void)reply, (void)why;
    seen = *rpc_call_peer(call);
    return STATUS_OK;
}

static const rpc_method methods[] = {
    RPC_UNARY(RECALL, request_type, response_type, ROLE_AGENT | ROLE_SERVICE, handle)};

static rpc_server *server;
static char target[64];

static int set_up_all(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/interlock-tls-XXXXXX");
    assert_non_null(mkdtemp(folder));
    make_authority("ca");
    make_authority("other");
    issue("ca", "server", "DNS:localhost,IP:127.0.0.1,URI:spiffe://acme.test/service/memory");
    issue("ca", "agent", "URI:spiffe://acme.test/agent/deployer");
    issue("ca", "service", "URI:spiffe://acme.test/service/policy");
    issue("ca", "operator", "URI:spiffe://acme.test/operator/alice");
    issue("ca", "foreign", "URI:spiffe://other.test/agent/deployer");
    issue("ca", "two", "URI:spiffe://acme.test/agent/a,URI:spiffe://acme.test/operator/b");
    issue("ca", "nameless", "DNS:agent");
    issue("other", "stranger", "URI:spiffe://acme.test/agent/deployer");
    failure why = {0};
    rpc_server_options options = {.tcp_address = "127.0.0.1:0",
                                  .tls_certificate_path = in_folder("server.pem"),
                                  .tls_key_path = in_folder("server.key"),
                                  .tls_authority_path = in_folder("ca.pem"),
                                  .trust_domain = "acme.test",
                                  .loops = 2,
                                  .drain_ms = 300};
    must(rpc_server_start(&server, &options, methods, 1, NULL, &why), &why);
    snprintf(target, sizeof target, "127.0.0.1:%u", rpc_server_port(server));
    return 0;
}

static int tear_down_all(void **state) {
    (void)state;
    rpc_server_free(server);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static rpc_channel *open_as(const char *name, const char *authority, const char *server_name) {
    char certificate[32], key[32];
    snprintf(certificate, sizeof certificate, "%s.pem", name);
    snprintf(key, sizeof key, "%s.key", name);
    /* The stated role counts for nothing here. */
    rpc_channel_options options = {.target = target,
                                   .role = ROLE_SERVICE,
                                   .tls_certificate_path = in_folder(certificate),
                                   .tls_key_path = in_folder(key),
                                   .tls_authority_path = in_folder(authority),
                                   .tls_server_name = server_name};
    rpc_channel *channel;
    failure why = {0};
    must(rpc_channel_open(&channel, &options, &why), &why);
    return channel;
}

static void certificates(void **state) {
    (void)state;
    static const struct {
        const char *name;
        status_code code;
        const char *reason; /* of a refusal, or the principal */
    } cases[] = {
        {"agent", STATUS_OK, "agent/deployer"},
        {"service", STATUS_OK, "service/policy"},
        {"operator", STATUS_PERMISSION_DENIED, "ROLE_NOT_ALLOWED"},
        {"foreign", STATUS_UNAUTHENTICATED, "SPIFFE_ID_UNKNOWN"},
        {"two", STATUS_UNAUTHENTICATED, "SPIFFE_ID_UNKNOWN"},
        {"nameless", STATUS_UNAUTHENTICATED, "SPIFFE_ID_UNKNOWN"},
        {"stranger", STATUS_UNAVAILABLE, "UNAVAILABLE"},
    };
    /* Twice: the second time over connections whose identity may be remembered wrongly. */
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        size_t k = i % (sizeof cases / sizeof *cases);
        rpc_channel *channel = open_as(cases[k].name, "ca.pem", NULL);
        for (int again = 0; again < 3; again++) {
            failure why = {0};
            seen = (rpc_peer){0};
            assert_int_equal(recall(channel, "", WAIT_MS, NULL, &why), cases[k].code);
            if (cases[k].code != STATUS_OK) {
                assert_string_equal(why.reason, cases[k].reason);
                assert_string_equal(seen.principal, "");
                continue;
            }
            assert_string_equal(seen.principal, cases[k].reason);
            assert_memory_equal(seen.spiffe_id, "spiffe://acme.test/", 19);
            assert_int_equal(seen.uid, -1);
        }
        rpc_channel_close(channel);
    }
}

/* More connections than a loop remembers, several alive at once. */
static void many_connections(void **state) {
    (void)state;
    enum { ALIVE = 6, ROUNDS = 30 };
    static const char *const names[] = {"agent", "service", "operator"};
    rpc_channel *channels[ALIVE] = {NULL};
    for (unsigned i = 0; i < ROUNDS * ALIVE; i++) {
        unsigned slot = i % ALIVE, name = (i * 7) % 3;
        rpc_channel_close(channels[slot]);
        channels[slot] = open_as(names[name], "ca.pem", NULL);
        failure why = {0};
        status_code code = recall(channels[slot], "", WAIT_MS, NULL, &why);
        assert_int_equal(code, name == 2 ? STATUS_PERMISSION_DENIED : STATUS_OK);
        if (name != 2)
            assert_string_equal(seen.principal, name == 0 ? "agent/deployer" : "service/policy");
    }
    for (unsigned i = 0; i < ALIVE; i++)
        rpc_channel_close(channels[i]);
}

static void the_server_is_verified_too(void **state) {
    (void)state;
    failure why = {0};
    rpc_channel *channel = open_as("agent", "other.pem", NULL);
    assert_int_equal(recall(channel, "", WAIT_MS, NULL, &why), STATUS_UNAVAILABLE);
    rpc_channel_close(channel);
    channel = open_as("agent", "ca.pem", "not-the-server");
    assert_int_equal(recall(channel, "", WAIT_MS, NULL, &why), STATUS_UNAVAILABLE);
    rpc_channel_close(channel);
    channel = open_as("agent", "ca.pem", "localhost");
    must(recall(channel, "", WAIT_MS, NULL, &why), &why);
    rpc_channel_close(channel);
}

/* HTTP/2 in the clear gets no answer in it. */
static void plain_text_gets_nowhere(void **state) {
    (void)state;
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(rpc_server_port(server))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(descriptor, (struct sockaddr *)&address, sizeof address), 0);
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    assert_int_equal(send(descriptor, preface, sizeof preface - 1, MSG_NOSIGNAL), sizeof preface - 1);
    char answer[64];
    ssize_t size = recv(descriptor, answer, sizeof answer, 0);
    assert_true(size <= 0 || answer[0] == 0x15); /* closed, or a TLS alert */
    close(descriptor);
}

static void tcp_needs_all_three_files(void **state) {
    (void)state;
    rpc_server *none = NULL;
    failure why = {0};
    rpc_server_options options = {.tcp_address = "127.0.0.1:0", .trust_domain = "acme.test"};
    assert_int_equal(rpc_server_start(&none, &options, methods, 1, NULL, &why), STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "TLS_FILE_MISSING");
    options.tls_certificate_path = in_folder("server.pem");
    options.tls_key_path = in_folder("no-such.key");
    options.tls_authority_path = in_folder("ca.pem");
    assert_int_equal(rpc_server_start(&none, &options, methods, 1, NULL, &why), STATUS_NOT_FOUND);
    options.tls_key_path = in_folder("ca.pem");
    assert_int_equal(rpc_server_start(&none, &options, methods, 1, NULL, &why), STATUS_UNAVAILABLE);
    assert_null(none);
    rpc_channel *channel;
    assert_int_equal(rpc_channel_open(&channel, &(rpc_channel_options){.target = target}, &why),
                     STATUS_INVALID_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates),
        cmocka_unit_test(many_connections),
        cmocka_unit_test(the_server_is_verified_too),
        cmocka_unit_test(plain_text_gets_nowhere),
        cmocka_unit_test(tcp_needs_all_three_files),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
