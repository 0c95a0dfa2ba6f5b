"""Telemetry over the wire: OpenTelemetry's exporters, streams that are cut by kill -9, and sources that flood."""

import json
import pathlib
import subprocess
import sys
import time
import unittest
import urllib.request

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from installation import Installation, proto  # noqa: E402

NODE = pathlib.Path(__file__).resolve().parent / "node"
ROLE = (("interlock-role", "telemetry"),)
ASK = (("interlock-role", "operator"),)
REQUESTS = 200

traces, trace_stubs = proto("opentelemetry.proto.collector.trace.v1.trace_service")
metrics, metric_stubs = proto("opentelemetry.proto.collector.metrics.v1.metrics_service")
logs, log_stubs = proto("opentelemetry.proto.collector.logs.v1.logs_service")
telemetry, telemetry_stubs = proto("interlock.graph.v1.telemetry")
graph, graph_stubs = proto("interlock.graph.v1.graph")


def identity(resource, service, **extra):
    for key, value in {"service.name": service, "service.namespace": "shop", "deployment.environment.name": "prod", **extra}.items():
        resource.attributes.add(key=key).value.string_value = value


def gauge(service, name, times_ms, values):
    request = metrics.ExportMetricsServiceRequest()
    made = request.resource_metrics.add()
    identity(made.resource, service)
    metric = made.scope_metrics.add().metrics.add(name=name)
    for at, value in zip(times_ms, values):
        metric.gauge.data_points.add(time_unix_nano=at * 1000000, as_double=value)
    return request


def exposed(it, name):
    """The value of a metric without labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{it.where('graph')['http_port']}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
    raise KeyError(name)


class Telemetry(unittest.TestCase):
    def setUp(self):
        self.it = Installation(start=False, name="telemetry")
        self.addCleanup(self.it.close)
        self.it.start_one("graph")
        self.connect()

    def connect(self):
        self.channel = self.it.unix_channel("graph")
        self.ask = telemetry_stubs.TelemetryServiceStub(self.channel)

    def signals(self, node, **window):
        return self.ask.GetSignals(telemetry.GetSignalsRequest(node=node, points=True, **window), timeout=20, metadata=ASK)

    def test_opentelemetry_exporters(self):
        certificate, key, authority = self.it.credentials("telemetry")
        options = {"target": f"localhost:{self.it.where('graph')['tcp_port']}", "authority": str(authority),
                   "certificate": str(certificate), "key": str(key), "requests": REQUESTS}
        done = subprocess.run(["node", "telemetry.mjs", json.dumps(options)], cwd=NODE, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        answer = graph_stubs.GraphServiceStub(self.channel).GetGraph(graph.GetGraphRequest(), timeout=20, metadata=ASK)
        edges = {(getattr(e, "from").split(":")[0] + ":" + getattr(e, "from").rsplit("/", 1)[1],
                  e.to.split(":")[0] + ":" + e.to.rsplit("/", 1)[1], graph.EdgeKind.Name(e.kind)[10:]) for e in answer.edges}
        self.assertLessEqual({("service:front", "service:orders", "CALLS"), ("service:orders", "datastore:db", "WRITES"),
                              ("service:orders", "queue:placed", "PUBLISHES"), ("service:mailer", "queue:placed", "CONSUMES")},
                             edges)
        self.assertNotIn(("service:orders", "service:mailer", "PUBLISHES"), edges)

        front = self.signals("service:test/node/front")
        operation = {o.name: o.traffic for o in front.operations}["POST /orders"]
        self.assertEqual(operation.count, 2 * REQUESTS)
        self.assertAlmostEqual(operation.error_ratio, 0.25)
        names = {s.name: s for s in front.signals}
        self.assertIn("http.requests{route=/orders}", names)
        self.assertIn("http.server.request.duration", names)
        self.assertEqual(names["http.server.request.duration"].pod, "front-0")
        orders = self.signals("service:test/node/orders")
        self.assertEqual([(t.text, t.count) for t in orders.templates], [("order 0 is placed", 2 * REQUESTS)])
        self.assertEqual({s.name: s.points[0].maximum for s in orders.signals}, {"queue.length": 7})
        call = next(c for c in orders.calls if c.to.endswith("/orders"))
        self.assertAlmostEqual(call.traffic.error_ratio, 0.25)
        self.assertEqual(call.propagated, REQUESTS / 2)

    def test_nothing_acknowledged_is_lost_by_kill_9(self):
        now = int(time.time() * 1000)
        acknowledged = 0

        def messages():
            for sequence in range(1, 100000):
                at = now - 3000000 + sequence * 25
                request = gauge("cart", "cpu", [at], [sequence])
                yield telemetry.StreamRequest(sequence=sequence, metrics=request.SerializeToString())

        answers = 0
        try:
            for answer in self.ask.Stream(messages(), timeout=30, metadata=ROLE):
                self.assertGreater(answer.durable_sequence, acknowledged)
                acknowledged, answers = answer.durable_sequence, answers + 1
                if acknowledged > 2000:
                    self.it.processes["graph"].kill()
        except grpc.RpcError as error:
            self.assertIn(error.code(), (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED))
        self.assertGreater(acknowledged, 2000)
        self.assertGreater(acknowledged / answers, 1.5)  # acknowledgements are sparse
        self.it.processes["graph"].wait(10)
        self.it.start_one("graph")
        self.connect()
        series = self.signals("service:prod/shop/cart", from_ms=now - 4000000, to_ms=now).signals[0]
        values = sum(p.count for p in series.points)
        self.assertGreaterEqual(values, acknowledged)
        self.assertGreaterEqual(max(p.maximum for p in series.points), acknowledged)
        # What is sent again after the crash is recognised.
        before = exposed(self.it, "interlock_graph_duplicate_requests_total")
        again = gauge("cart", "cpu", [now - 3000000 + acknowledged * 25], [acknowledged])
        metric_stubs.MetricsServiceStub(self.channel).Export(again, timeout=20, metadata=ROLE)
        self.assertEqual(exposed(self.it, "interlock_graph_duplicate_requests_total"), before + 1)

    def test_stream_says_what_was_refused(self):
        future = gauge("cart", "cpu", [int(time.time() * 1000) + 3600000], [1])
        empty = log_request("cart", ["fine", ""])
        requests = [telemetry.StreamRequest(sequence=4, metrics=future.SerializeToString()),
                    telemetry.StreamRequest(sequence=9, logs=empty.SerializeToString())]
        answers = list(self.ask.Stream(iter(requests), timeout=20, metadata=ROLE))
        self.assertEqual(answers[-1].durable_sequence, 9)
        self.assertEqual(sum(a.rejected_items for a in answers), 2)
        with self.assertRaises(grpc.RpcError) as caught:
            list(self.ask.Stream(iter([telemetry.StreamRequest(sequence=1)]), timeout=20, metadata=ROLE))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        with self.assertRaises(grpc.RpcError) as caught:
            list(self.ask.Stream(iter(requests), timeout=20, metadata=ASK))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.PERMISSION_DENIED)

    def test_flood_of_names_is_bounded_and_counted(self):
        export = trace_stubs.TraceServiceStub(self.channel).Export
        now = time.time_ns()
        for batch in range(10):
            request = traces.ExportTraceServiceRequest()
            made = request.resource_spans.add()
            identity(made.resource, "cart")
            scope = made.scope_spans.add()
            for number in range(2000):
                identifier = batch * 2000 + number + 1
                span = scope.spans.add(trace_id=identifier.to_bytes(16, "big"), span_id=identifier.to_bytes(8, "big"), kind=2,
                                       name=f"attack-{identifier}", start_time_unix_nano=now, end_time_unix_nano=now + 1000000)
                if number == 0:
                    span.attributes.add(key="huge").value.string_value = "x" * 1000000
            export(request, timeout=30, metadata=ROLE)
        self.assertEqual(exposed(self.it, "interlock_graph_operations_folded_total"), 20000 - 256)
        self.assertEqual(exposed(self.it, "interlock_graph_operations"), 257)
        operations = self.signals("service:prod/shop/cart").operations
        self.assertEqual(sum(o.traffic.count for o in operations), 20000)
        self.assertEqual({o.name: o.traffic.count for o in operations}["other"], 20000 - 256)
        before = exposed(self.it, "interlock_graph_log_records_folded_total")
        words = [f"{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)} happened" for i in range(3000)]
        log_stubs.LogsServiceStub(self.channel).Export(log_request("cart", words), timeout=30, metadata=ROLE)
        self.assertEqual(exposed(self.it, "interlock_graph_log_records_folded_total") - before, 3000 - 512)


def log_request(service, messages):
    request = logs.ExportLogsServiceRequest()
    made = request.resource_logs.add()
    identity(made.resource, service)
    scope = made.scope_logs.add()
    for message in messages:
        record = scope.log_records.add(time_unix_nano=time.time_ns(), observed_time_unix_nano=time.time_ns(), severity_number=9)
        if message:
            record.body.string_value = message
    return request


if __name__ == "__main__":
    unittest.main()
