/* Who sent telemetry: the identity in the attributes of an OTLP resource, by OpenTelemetry's semantic
 * conventions, the present name of an attribute first and the ones it replaced after it. Pure; the texts are
 * views into the message. */
#ifndef GRAPH_RESOURCE_H
#define GRAPH_RESOURCE_H

#include "names.h"
#include "opentelemetry/proto/resource/v1/resource.pb-c.h"

typedef Opentelemetry__Proto__Common__V1__KeyValue key_value;
typedef Opentelemetry__Proto__Common__V1__AnyValue any_value;
typedef Opentelemetry__Proto__Resource__V1__Resource otlp_resource;

typedef struct resource_identity {
    bytes environment, space, service;
    bytes pod;                   /* empty: not stated */
    bytes host;                  /* the machine; empty: not stated */
    char name[LIMIT_NAME_BYTES]; /* of the service's node; "" when it would be too long */
} resource_identity;

/* `from` may be NULL. */
void resource_read(const otlp_resource *from, resource_identity *out);

/* The text of the first of the keys (ends with NULL) that has one; empty when none has. */
bytes attribute_text(key_value *const *attributes, size_t count, const char *const *keys);

/* The name of a node beside the service: in its environment and namespace. False when it would be too long.
 */
bool resource_neighbour(const resource_identity *self, node_kind kind, bytes name,
                        char out[LIMIT_NAME_BYTES]) MUST_USE;
/* Whether it says nothing by which to tell its service. */
bool resource_is_nameless(const resource_identity *self);
/* The machine: host:environment/default/name, because machines belong to no service's namespace. */
bool resource_host(const resource_identity *self, char out[LIMIT_NAME_BYTES]) MUST_USE;
/* The pod: host:environment/namespace/name. */
bool resource_pod(const resource_identity *self, char out[LIMIT_NAME_BYTES]) MUST_USE;
/* The endpoint of the service with that operation: endpoint:environment/namespace/service%2Foperation. */
bool resource_endpoint(const char *service, const char *operation, char out[LIMIT_NAME_BYTES]) MUST_USE;

/* The operation that a span's name stands for: path segments that are plainly ids become {id}, so that GET
 * /cart/17 and GET /cart/18 are one. Writes at most size bytes and no NUL; returns a view of `out`, or of
 * `name` itself. */
bytes operation_of(bytes name, char *out, size_t size);

#endif
