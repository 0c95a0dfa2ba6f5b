/* grpc.reflection v1 and v1alpha, answered from the embedded descriptor set. The `service` of these handlers
 * is the rpc_server itself. */
#ifndef RPC_REFLECTION_H
#define RPC_REFLECTION_H

#include "base/bytes.h"
#include "rpc/server.h"

#define REFLECTION_METHODS 2U
#define DESCRIPTOR_FILES_MAX 256U

extern const rpc_method reflection_methods[REFLECTION_METHODS];

typedef struct descriptor_index descriptor_index;

/* Reads a serialised google.protobuf.FileDescriptorSet, which must outlive the index. */
status_code descriptor_index_make(descriptor_index **out, bytes set, failure *why) MUST_USE;
void descriptor_index_free(descriptor_index *self); /* takes NULL */

size_t descriptor_index_files(const descriptor_index *self);
bytes descriptor_index_file(const descriptor_index *self,
                            size_t file); /* its serialised FileDescriptorProto */
/* The number of the file, or -1. A symbol is a message, enum, service or method, fully qualified. */
int descriptor_index_by_name(const descriptor_index *self, const char *name);
int descriptor_index_by_symbol(const descriptor_index *self, const char *symbol);
/* The file and everything it imports, each once; `out` has room for DESCRIPTOR_FILES_MAX. */
size_t descriptor_index_closure(const descriptor_index *self, int file, uint16_t *out);

#endif
