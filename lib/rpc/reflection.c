/* Server reflection: what tools ask before they can call anything. v1 and v1alpha differ only in their
 * package, so one set of handlers serves both. */
#include "reflection.h"

#include <string.h>

#include "grpc/reflection/v1/reflection.pb-c.h"
#include "server_parts.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

static status_code answer_error(rpc_stream *stream, reflection_response response, status_code code,
                                const char *message) {
    Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
    error.error_code = (int32_t)code;
    error.error_message = (char *)(uintptr_t)message;
    response.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    response.error_response = &error;
    return rpc_stream_send(stream, &response.base);
}

static status_code answer_file(const rpc_server *server, rpc_stream *stream, reflection_response response,
                               int file) {
    if (file < 0)
        return answer_error(stream, response, STATUS_NOT_FOUND, "no file or symbol of that name");
    uint16_t numbers[DESCRIPTOR_FILES_MAX];
    ProtobufCBinaryData files[DESCRIPTOR_FILES_MAX];
    size_t count = descriptor_index_closure(server->descriptors, file, numbers);
    for (size_t i = 0; i < count; i++) {
        bytes raw = descriptor_index_file(server->descriptors, numbers[i]);
        files[i].data = (uint8_t *)(uintptr_t)raw.data;
        files[i].len = raw.size;
    }
    Grpc__Reflection__V1__FileDescriptorResponse list = GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
    list.n_file_descriptor_proto = count;
    list.file_descriptor_proto = files;
    response.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    response.file_descriptor_response = &list;
    return rpc_stream_send(stream, &response.base);
}

/* The services of the table, each once: only what is really served is listed. */
static size_t list_services(const rpc_server *server, arena *memory,
                            Grpc__Reflection__V1__ServiceResponse *services,
                            Grpc__Reflection__V1__ServiceResponse **list) {
    size_t count = 0;
    for (size_t i = 0; i < server->method_count; i++) {
        const char *path = server->methods[i].row.path + 1;
        size_t size = strcspn(path, "/");
        bool known = false;
        for (size_t k = 0; k < count && !known; k++)
            known = strlen(services[k].name) == size && memcmp(services[k].name, path, size) == 0;
        char *name = known ? NULL : arena_format(memory, "%.*s", (int)size, path);
        if (name == NULL)
            continue;
        grpc__reflection__v1__service_response__init(&services[count]);
        services[count].name = name;
        list[count] = &services[count];
        count++;
    }
    return count;
}

static status_code answer_services(const rpc_server *server, rpc_stream *stream, reflection_response response,
                                   arena *memory) {
    Grpc__Reflection__V1__ServiceResponse services[SERVER_METHODS_MAX], *list[SERVER_METHODS_MAX];
    Grpc__Reflection__V1__ListServiceResponse answer = GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
    answer.n_service = list_services(server, memory, services, list);
    answer.service = list;
    response.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    response.list_services_response = &answer;
    return rpc_stream_send(stream, &response.base);
}

/* There are no extensions in proto3; a known type has none, an unknown one is an error. */
static status_code answer_extensions(const rpc_server *server, rpc_stream *stream,
                                     reflection_response response, char *type) {
    if (descriptor_index_by_symbol(server->descriptors, type) < 0)
        return answer_error(stream, response, STATUS_NOT_FOUND, "no type of that name");
    Grpc__Reflection__V1__ExtensionNumberResponse none =
        GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;
    none.base_type_name = type;
    response.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
    response.all_extension_numbers_response = &none;
    return rpc_stream_send(stream, &response.base);
}

static status_code answer(const rpc_server *server, rpc_stream *stream, const reflection_request *request,
                          arena *memory) {
    reflection_response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    response.valid_host = request->host;
    response.original_request = (reflection_request *)(uintptr_t)request;
    const descriptor_index *index = server->descriptors;
    switch (request->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        return answer_services(server, stream, response, memory);
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        return answer_file(server, stream, response,
                           descriptor_index_by_name(index, request->file_by_filename));
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        return answer_file(server, stream, response,
                           descriptor_index_by_symbol(index, request->file_containing_symbol));
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        return answer_extensions(server, stream, response, request->all_extension_numbers_of_type);
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
        return answer_error(stream, response, STATUS_NOT_FOUND, "there are no extensions");
    default:
        return answer_error(stream, response, STATUS_INVALID_ARGUMENT, "the request asks for nothing");
    }
}

static status_code reflection_open(void *service, rpc_stream *stream, const ProtobufCMessage *request,
                                   failure *why) {
    (void)service, (void)stream, (void)request, (void)why;
    return STATUS_OK;
}

static status_code reflection_message(void *service, rpc_stream *stream, const ProtobufCMessage *message,
                                      arena *memory, failure *why) {
    status_code code = answer(service, stream, (const reflection_request *)message, memory);
    /* A client that asks and never reads is let go; one that has gone needs no answer. */
    if (code == STATUS_RESOURCE_EXHAUSTED)
        return fail(why, code, "ANSWERS_NOT_READ", "too many answers wait; read them before asking more");
    return STATUS_OK;
}

static const rpc_stream_handlers reflection_handlers = {.open = reflection_open,
                                                        .message = reflection_message};

const rpc_method reflection_methods[REFLECTION_METHODS] = {
    RPC_BIDI("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
             grpc__reflection__v1__server_reflection_request__descriptor,
             grpc__reflection__v1__server_reflection_response__descriptor, ROLE_ANYONE, &reflection_handlers),
    RPC_BIDI("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
             grpc__reflection__v1__server_reflection_request__descriptor,
             grpc__reflection__v1__server_reflection_response__descriptor, ROLE_ANYONE, &reflection_handlers),
};
