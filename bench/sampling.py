"""How far shares from sampled traces are from the truth: a shop whose every request is known, of which a collector keeps
one in a hundred (head sampling, as tracestate says), sent to a fresh graph through its RPC."""

import random
import time

import incidents
from installation import proto

REQUESTS = 300_000
SAMPLED = 0.01
# 2^56 - 2^56 / 100: what OpenTelemetry's consistent probability sampler states for one in a hundred.
THRESHOLD = "fd70a3d70a3d71"
NAMESPACE = "sampled"

# Of requests that reach the first, the share that goes on to the second.
CALLS = [("front", "cart", 0.6), ("front", "catalog", 0.9), ("front", "ads", 0.3), ("cart", "stock", 0.8), ("cart", "prices", 0.5),
         ("catalog", "prices", 0.7), ("catalog", "images", 0.4), ("ads", "images", 0.2), ("prices", "rates", 0.3),
         ("stock", "rates", 0.05), ("rates", "bank", 0.1)]


def request_draw(dice):
    """[(caller, callee)] of one request, in order."""
    made, reached, waiting = [], {"front"}, ["front"]
    while waiting:
        at = waiting.pop()
        for caller, callee, share in CALLS:
            if caller == at and dice.random() < share:
                made.append((caller, callee))
                if callee not in reached:
                    reached.add(callee)
                    waiting.append(callee)
    return made, reached


def trace_put(resources, number, calls, now_ns):
    trace, spans = number.to_bytes(16, "big"), {}

    def span(service, kind, parent):
        identifier = (number << 8 | len(spans) + 1).to_bytes(8, "big")
        spans[identifier] = service
        resources[service].spans.add(trace_id=trace, span_id=identifier, parent_span_id=parent, kind=kind, name="do",
                                     trace_state=f"ot=th:{THRESHOLD}", start_time_unix_nano=now_ns - 2_000_000,
                                     end_time_unix_nano=now_ns)
        return identifier

    server = {"front": span("front", 2, b"")}
    for caller, callee in calls:
        client = span(caller, 3, server[caller])
        served = span(callee, 2, client)
        server.setdefault(callee, served)


def measure(quick):
    """{service: (true share, predicted, low, high)} and the number of sampled requests."""
    dice, truth, sampled = random.Random(20261122), {}, []
    requests = REQUESTS // 4 if quick else REQUESTS
    for number in range(1, requests + 1):
        calls, reached = request_draw(dice)
        for service in reached:
            truth[service] = truth.get(service, 0) + 1
        if dice.random() < SAMPLED:
            sampled.append((number, calls))
    with incidents.graph(NAMESPACE) as graph:
        pb, stubs = proto("opentelemetry.proto.collector.trace.v1.trace_service")
        export = stubs.TraceServiceStub(graph.channel).Export
        now_ns = time.time_ns() - 60_000_000_000  # so that none of them may reach more yet
        for first in range(0, len(sampled), 300):
            request, resources = pb.ExportTraceServiceRequest(), {}
            for service in truth:
                made = request.resource_spans.add()
                graph._resource(made.resource, "", service)
                resources[service] = made.scope_spans.add()
            for number, calls in sampled[first:first + 300]:
                trace_put(resources, number, calls, now_ns)
            export(request, timeout=60, metadata=graph.role)
        return {service: (count / requests, *share_of(graph, service)) for service, count in truth.items()}, len(sampled)


def share_of(graph, service):
    request = graph.messages.PredictImpactRequest(targets=[incidents.service_name(service, NAMESPACE)], verb="deploy")
    for _ in range(50):
        answer = graph.stub.PredictImpact(request, timeout=20, metadata=(("interlock-role", "operator"),))
        if not answer.unknown_targets:
            break
        time.sleep(0.1)
    share = answer.impact.entry_traffic
    return share.expected, share.low, share.high
