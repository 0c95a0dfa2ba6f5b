/* Kubernetes objects become changes. */
#include "objects.h"

#include <stdlib.h>
#include <string.h>

#include "changes_text.h"
#include "test.h"

#define NOW_MS 1795375490000 /* 2026-11-22T19:24:50Z */
#define CREATED "\"creationTimestamp\":\"2026-11-01T00:00:00Z\""
#define CREATED_MS 1793491200000

typedef struct fixture {
    arena memory;
    buffer text;
    object_result out;
    failure why;
} fixture;

static status_code read_object(fixture *self, const char *json, bool deleted) {
    object_place place = {.environment = "prod", .cluster = ""};
    arena_init(&self->memory, 4096, 64U << 20);
    buffer_init(&self->text, 1U << 20);
    status_code code =
        object_read(bytes_of_text(json), deleted, &place, NOW_MS, &self->memory, &self->out, &self->why);
    if (code == STATUS_OK && !self->out.ignored)
        change_text(&self->out.change, &self->text);
    return code;
}

static void end(fixture *self) {
    buffer_free(&self->text);
    arena_free(&self->memory);
}

static void objects_become_changes(void **state) {
    static const struct {
        const char *json, *expected;
    } cases[] = {
        /* The name of the workload, when nothing else says one. */
        {"{\"apiVersion\":\"apps/"
         "v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"cart\",\"namespace\":\"shop\"," CREATED
         "},\"spec\":{\"replicas\":3,\"template\":{\"spec\":{\"containers\":[{\"name\":\"cart\",\"image\":"
         "\"r:5000/shop/cart:1.4@sha256:0123\"}]}}}}",
         "kubernetes//Deployment/shop/cart whole 1793491200000\n"
         "service:prod/shop/cart replicas=3 workload=Deployment shop/cart\n"
         "deploy:prod/shop/cart.1.4 images=r:5000/shop/cart:1.4@sha256:0123 version=1.4\n"
         "service:prod/shop/cart -9-> deploy:prod/shop/cart.1.4 images=r:5000/shop/cart:1.4@sha256:0123 "
         "version=1.4\n"},
        /* Labels, annotations and variables in the order that telemetry has them; owner, zone, tier;
           configmaps. */
        {"{\"apiVersion\":\"apps/"
         "v1\",\"kind\":\"StatefulSet\",\"metadata\":{\"name\":\"x\",\"namespace\":\"ns\"," CREATED
         ",\"labels\":{\"team\":\"checkout\",\"interlock/"
         "tier\":\"1\"}},\"spec\":{\"template\":{\"metadata\":{\"labels\":"
         "{\"app.kubernetes.io/name\":\"basket\"},\"annotations\":{\"resource.opentelemetry.io/"
         "service.namespace\":\"shop\","
         "\"resource.opentelemetry.io/deployment.environment.name\":\"stage\",\"interlock/zone\":\"zone:prod/"
         "default/pci\"}},"
         "\"spec\":{\"containers\":[{\"name\":\"proxy\",\"image\":\"envoy\"},{\"name\":\"x\",\"image\":"
         "\"cart:2\",\"envFrom\":"
         "[{\"configMapRef\":{\"name\":\"all\"}},{\"secretRef\":{\"name\":\"s\"}}],\"env\":[{\"name\":\"A\","
         "\"valueFrom\":"
         "{\"configMapKeyRef\":{\"name\":\"one\",\"key\":\"k\"}}}]}],\"volumes\":[{\"configMap\":{\"name\":"
         "\"vol\"}},"
         "{\"projected\":{\"sources\":[{\"configMap\":{\"name\":\"proj\"}}]}}]}}}}",
         "kubernetes//StatefulSet/ns/x whole 1793491200000\n"
         "service:stage/shop/basket tier=1 workload=StatefulSet ns/x\n"
         "zone:prod/default/pci declared\n"
         "deploy:stage/shop/basket.2 images=envoy,cart:2 version=2\n"
         "owner:stage/ns/checkout declared\n"
         "service:stage/shop/basket -7-> zone:prod/default/pci declared\n"
         "service:stage/shop/basket -9-> config:stage/ns/all\n"
         "service:stage/shop/basket -9-> config:stage/ns/one\n"
         "service:stage/shop/basket -9-> config:stage/ns/proj\n"
         "service:stage/shop/basket -9-> config:stage/ns/vol\n"
         "service:stage/shop/basket -9-> deploy:stage/shop/basket.2 images=envoy,cart:2 version=2\n"
         "service:stage/shop/basket -15-> owner:stage/ns/checkout declared\n"},
        {"{\"apiVersion\":\"apps/"
         "v1\",\"kind\":\"DaemonSet\",\"metadata\":{\"name\":\"x\",\"namespace\":\"ns\"," CREATED
         "},\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"x\",\"image\":\"cart@sha256:"
         "00112233445566778899\","
         "\"env\":[{\"name\":\"OTEL_SERVICE_NAME\",\"value\":\"agent\"},{\"name\":\"OTEL_RESOURCE_"
         "ATTRIBUTES\",\"value\":"
         "\"service.namespace=obs,deployment.environment=test\"}]}]}}}}",
         "kubernetes//DaemonSet/ns/x whole 1793491200000\n"
         "service:test/obs/agent workload=DaemonSet ns/x\n"
         "deploy:test/obs/agent.sha256%3A0011223344556 images=cart@sha256:00112233445566778899 "
         "version=sha256:0011223344556\n"
         "service:test/obs/agent -9-> deploy:test/obs/agent.sha256%3A0011223344556 "
         "images=cart@sha256:00112233445566778899 version=sha256:0011223344556\n"},
        {"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"cart-svc\",\"namespace\":"
         "\"shop\"," CREATED "},\"spec\":{\"type\":\"ClusterIP\",\"selector\":{\"app\":\"cart\"}}}",
         "kubernetes//Service/shop/cart-svc whole 1793491200000\n"
         "service:prod/shop/cart address=cart-svc.shop.svc address_type=ClusterIP\n"},
        {"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\",\"namespace\":"
         "\"shop\"," CREATED
         ",\"resourceVersion\":\"41\",\"managedFields\":[{\"time\":\"2026-11-02T00:00:00Z\"},{\"time\":"
         "\"2026-11-03T00:00:00Z\"},{\"time\":\"2026-11-04T00:00:00Z\",\"subresource\":\"status\"}]},"
         "\"data\":{\"timeout\":\"250\",\"api_token\":\"abc\"},\"binaryData\":{\"logo\":\"AAAA\"}}",
         "kubernetes//ConfigMap/shop/c whole 1793664000000\n"
         "config:prod/shop/c data.api_token=(hidden) data.logo=4 bytes, sha256 "
         "63c1dd951ffedf6f7fd968ad4efa39b8ed584f162f46e715114ee184f8de9201 data.timeout=250 object=ConfigMap "
         "revision=41\n"},
        {"{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\",\"namespace\":"
         "\"shop\"," CREATED
         ",\"resourceVersion\":\"42\"},\"data\":{\"user\":\"cm9vdA==\"},\"stringData\":{\"x\":\"y\"}}",
         "kubernetes//Secret/shop/s whole 1793491200000\n"
         "config:prod/shop/s data.user=(hidden) object=Secret revision=42\n"},
        {"{\"apiVersion\":\"networking.k8s.io/"
         "v1\",\"kind\":\"NetworkPolicy\",\"metadata\":{\"name\":\"p\",\"namespace\":"
         "\"shop\"," CREATED
         "},\"spec\":{\"podSelector\":{\"matchLabels\":{\"app\":\"cart\"}},\"policyTypes\":[\"Ingress\"],"
         "\"ingress\":[{\"from\":[{\"podSelector\":{}}]}]}}",
         "kubernetes//NetworkPolicy/shop/p whole 1793491200000\n"
         "zone:prod/shop/p declared allow_ingress=[{\"from\":[{\"podSelector\":{}}]}] isolates=[\"Ingress\"] "
         "object=NetworkPolicy selects={\"matchLabels\":{\"app\":\"cart\"}}\n"
         "service:prod/shop/cart -7-> zone:prod/shop/p declared\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture it = {0};
        assert_int_equal(read_object(&it, cases[i].json, false), STATUS_OK);
        assert_string_equal(it.text.data, cases[i].expected);
        end(&it);
    }
}

#define MINIMAL(kind, version)                                                                               \
    "{\"kind\":\"" kind "\",\"apiVersion\":\"" version "\",\"metadata\":{\"name\":\"n\"}}"

static void other_kinds_are_ignored(void **state) {
    static const char *const cases[] = {
        MINIMAL("Pod", "v1"), MINIMAL("Deployment", "example.com/v1"),
        MINIMAL("Service", "serving.knative.dev/v1"),
        "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"kube-root-ca.crt\"}}"};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture it = {0};
        assert_int_equal(read_object(&it, cases[i], false), STATUS_OK);
        assert_true(it.out.ignored);
        end(&it);
    }
}

static void what_cannot_be_taken_says_why(void **state) {
    static const struct {
        const char *json, *reason, *item;
    } cases[] = {
        {"", "BAD_JSON", "?"},
        {"{\"kind\":", "BAD_JSON", "?"},
        {"[]", "BAD_JSON", "?"},
        {"{\"kind\":\"Pod\",\"kind\":\"Pod\"}", "BAD_JSON", "?"},
        {"{}", "BAD_OBJECT", "?"},
        {"{\"kind\":7,\"metadata\":{\"name\":\"n\"}}", "BAD_OBJECT", "?"},
        {"{\"kind\":\"Deployment\",\"apiVersion\":\"apps/"
         "v1\",\"metadata\":{\"name\":\"n\",\"namespace\":\"s\"}}",
         "BAD_OBJECT", "Deployment/s/n"},
        {"{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"n\",\"creationTimestamp\":"
         "\"2027-01-01T00:00:00Z\"}}",
         "FROM_THE_FUTURE", "ConfigMap/default/n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture it = {0};
        assert_int_equal(read_object(&it, cases[i].json, false), STATUS_INVALID_ARGUMENT);
        assert_string_equal(it.why.reason, cases[i].reason);
        assert_string_equal(it.out.item, cases[i].item);
        end(&it);
    }
}

static void what_is_gone_says_nothing(void **state) {
    fixture it = {0};
    (void)state;
    assert_int_equal(
        read_object(&it,
                    "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"," CREATED
                    ",\"deletionTimestamp\":\"2026-11-20T00:00:00Z\"},\"data\":{\"a\":\"b\"}}",
                    true),
        STATUS_OK);
    assert_string_equal(it.text.data, "kubernetes//ConfigMap/default/c whole 1795132800000\n");
    end(&it);
}

static void only_the_first_generation_is_as_old_as_the_object(void **state) {
    static const char json[] =
        "{\"apiVersion\":\"apps/"
        "v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"a\",\"generation\":%d," CREATED
        "},\"spec\":{\"template\":{}}}";
    (void)state;
    for (int generation = 1; generation <= 2; generation++) {
        char text[512];
        fixture it = {0};
        snprintf(text, sizeof text, json, generation);
        assert_int_equal(read_object(&it, text, false), STATUS_OK);
        assert_int_equal(it.out.since_creation, generation == 2);
        assert_int_equal(it.out.change.from_ms, CREATED_MS);
        end(&it);
    }
}

/* A configmap of a megabyte, of many keys: bounded, and nothing large is kept. */
static void large_objects_are_bounded(void **state) {
    buffer json;
    fixture it = {0};
    (void)state;
    buffer_init(&json, 4U << 20);
    buffer_text(&json,
                "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"},\"data\":{");
    for (int i = 0; i < 200; i++)
        buffer_format(&json, "\"k%d\":\"%0900d\",", i, i);
    buffer_format(&json, "\"big\":\"%01000000d\"}}", 1);
    assert_int_equal(read_object(&it, json.data, false), STATUS_OK);
    assert_int_equal(it.out.change.what.count, 1);
    assert_true(it.out.change.what.items[0].attribute_count <= STATEMENT_ATTRIBUTES_MAX);
    assert_true(it.text.size < 16000);
    end(&it);
    it = (fixture){0};
    buffer_format(&json, "%0600000d", 0);
    assert_int_equal(read_object(&it, json.data, false), STATUS_INVALID_ARGUMENT);
    assert_string_equal(it.why.reason, "TOO_LARGE");
    end(&it);
    buffer_free(&json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_become_changes),
        cmocka_unit_test(other_kinds_are_ignored),
        cmocka_unit_test(what_cannot_be_taken_says_why),
        cmocka_unit_test(what_is_gone_says_nothing),
        cmocka_unit_test(only_the_first_generation_is_as_old_as_the_object),
        cmocka_unit_test(large_objects_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
