/* OTLP/JSON lines to the graph service. */
#ifndef CLI_INGEST_H
#define CLI_INGEST_H

#include "cli.h"

typedef struct ingest_totals {
    uint64_t lines, spans, rejected;
    char message[256]; /* the service's last word on what it rejected */
} ingest_totals;

/* Each line is one ExportTraceServiceRequest; lines are sent together, about a quarter of a megabyte at a
 * time. A line that cannot be read ends it, with its number. */
status_code ingest_file(cli *self, const char *path, ingest_totals *totals, failure *why) MUST_USE;

#endif
