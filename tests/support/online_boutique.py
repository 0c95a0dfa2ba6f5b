"""The spans of the Online Boutique incidents as OTLP, converted on the fly. Input for tests; never part of the project."""

import csv
import gzip

from installation import INCIDENTS, proto

FOLDER = INCIDENTS / "online-boutique"


def available():
    return (FOLDER / "topology.csv").exists()


def topology():
    """Published call edges between services, without those to bare addresses."""
    with open(FOLDER / "topology.csv", newline="") as file:
        rows = [(row["caller"], row["callee"]) for row in csv.DictReader(file)]
    return {(a, b) for a, b in rows if not b[0].isdigit()}, {(a, b) for a, b in rows if b[0].isdigit()}


def requests(batch=2000, limit=None):
    """Export requests with the spans of the baseline, `batch` spans each. The set keeps every span: tracestate says th:0."""
    path = next(iter(sorted(FOLDER.glob("baseline/*/traces.csv.gz"))))
    service_pb, _ = proto("opentelemetry.proto.collector.trace.v1.trace_service")
    spans = {}
    count = total = 0
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            spans.setdefault(row["service"], []).append(row)
            count, total = count + 1, total + 1
            if count == batch or total == limit:
                yield _request(service_pb, spans)
                spans, count = {}, 0
            if total == limit:
                return
    if spans:
        yield _request(service_pb, spans)


def _request(service_pb, spans):
    trace_pb, _ = proto("opentelemetry.proto.trace.v1.trace")
    request = service_pb.ExportTraceServiceRequest()
    for service, rows in spans.items():
        resource = request.resource_spans.add()
        for key, value in (("service.name", service), ("service.namespace", "boutique"),
                           ("deployment.environment.name", "prod")):
            attribute = resource.resource.attributes.add(key=key)
            attribute.value.string_value = value
        scope = resource.scope_spans.add()
        for row in rows:
            scope.spans.add(
                trace_id=bytes.fromhex(row["trace_id"]), span_id=bytes.fromhex(row["span_id"]),
                parent_span_id=bytes.fromhex(row["parent_id"]), name=row["operation"], trace_state="ot=th:0",
                kind=trace_pb.Span.SPAN_KIND_INTERNAL if row["parent_id"] else trace_pb.Span.SPAN_KIND_SERVER,
                start_time_unix_nano=int(row["start_unix_nano"]), end_time_unix_nano=int(row["end_unix_nano"]))
    return request
