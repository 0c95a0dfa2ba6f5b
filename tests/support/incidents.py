"""Published incident sets as OTLP: read, moved in time, and sent to a graph service. Input for tests and benches; never part
of the project.

    sets = incidents.load(folder)                    every set of the folder; load(folder)["petshop-low-traffic"]
    with incidents.graph(namespace=one.name) as graph:
        graph.feed(one.baselines(), shift_s=…)       spans, metrics and logs of normal periods, moved by shift_s
        graph.feed([one.incident(id)])               the same of an incident
        graph.declare(one.topology())                its published edges
        graph.stub.PredictImpact(…)

What the labels say is never read here, except by Set.labels(), which is for scoring alone.
"""

import collections
import contextlib
import csv
import gzip
import json
import pathlib
import struct
import time
import urllib.parse

import grpc

from installation import Installation, error_info, proto

ENVIRONMENT = "prod"
BATCH_SPANS = 4000
BATCH_POINTS = 40000
BATCH_LOGS = 4000

_TIMES = struct.Struct("<BQBQ")  # start_time_unix_nano and end_time_unix_nano of a span on the wire

Span = collections.namedtuple("Span", "trace_id span_id parent_id pod service operation start_ns end_ns")


def load(folder):
    """{name: Set} of every set below a folder."""
    found = sorted(path.parent for path in pathlib.Path(folder).glob("*/incidents"))
    return {path.name: Set(path) for path in found}


def service_name(service, namespace):
    """The graph's name of a service, escaped as names.c does."""
    safe = "".join(chr(byte) if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "._-") else f"%{byte:02X}"
                   for byte in service.encode())
    return f"service:{ENVIRONMENT}/{namespace}/{safe}"


def service_of(name):
    """The other way round."""
    return urllib.parse.unquote(name.rsplit("/", 1)[1])


def _rows(path):
    if not path.exists():
        return
    with gzip.open(path, "rt", newline="") as file:
        rows = csv.reader(file)
        next(rows, None)  # the columns are always in the order of the format
        yield from rows


def _varint(value):
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)


class Period:
    """One folder with telemetry: a normal period or an incident."""

    def __init__(self, folder):
        self.folder, self.name = folder, folder.name
        self._packed = self._points = self._ends = None

    def spans(self):
        for row in _rows(self.folder / "traces.csv.gz"):
            yield Span(*row[:6], int(row[6]), int(row[7]))

    def packed_spans(self):
        """[(pod, service, bytes before the times, bytes after them, start_ns, end_ns)]: each a field of ScopeSpans on the wire.
        Kept, because a normal period is sent once an incident."""
        if self._packed is None:
            spans = list(self.spans())
            kinds = _span_kinds(spans)
            names = {}
            self._packed = []
            for span in spans:
                name = names.get(span.operation)
                if name is None:
                    text = span.operation.encode()
                    name = names[span.operation] = b"\x2a" + _varint(len(text)) + text
                parent = b"\x22\x08" + bytes.fromhex(span.parent_id) if span.parent_id else b""
                body = (b"\x0a\x10" + bytes.fromhex(span.trace_id) + b"\x12\x08" + bytes.fromhex(span.span_id) +
                        b"\x1a\x07ot=th:0" + parent + name + b"\x30" + bytes([kinds[span.span_id]]))
                self._packed.append((span.pod, span.service, b"\x12" + _varint(len(body) + 18) + body, b"", span.start_ns,
                                     span.end_ns))
        return self._packed

    def metrics(self):
        """(time_s, pod, service, metric, value)"""
        for row in _rows(self.folder / "metrics.csv.gz"):
            yield float(row[0]), row[1], row[2], row[3], float(row[4])

    def sorted_metrics(self):
        """The same as a list in time order, kept."""
        if self._points is None:
            self._points = sorted(self.metrics(), key=lambda row: row[0])
        return self._points

    def logs(self):
        """(time_ns, pod, service, trace_id, span_id, message)"""
        for row in _rows(self.folder / "logs.csv.gz"):
            yield int(row[0]), *row[1:6]

    def ends_s(self):
        """When its oldest and its newest telemetry are from, unix seconds; (0, 0) when it has none."""
        if self._ends is None:
            times = [at for span in self.packed_spans() for at in (span[4] / 1e9, span[5] / 1e9)]
            times += [row[0] for row in self.sorted_metrics()]
            self._ends = (min(times), max(times)) if times else (0.0, 0.0)
        return self._ends

    def end_s(self):
        return self.ends_s()[1]


class Incident(Period):
    """about: its incident.json: opened_at, window, metrics_from (unix seconds), baseline, alert."""

    def __init__(self, folder):
        super().__init__(folder)
        self.about = json.loads((folder / "incident.json").read_text())
        self.id = self.about["id"]
        self.window = tuple(self.about["window"])


class Set:
    def __init__(self, folder):
        self.folder, self.name = pathlib.Path(folder), pathlib.Path(folder).name

    def baselines(self):
        """Its normal periods; may be none."""
        return [Period(path) for path in sorted((self.folder / "baseline").glob("*")) if path.is_dir()]

    def incidents(self):
        return [Incident(path) for path in sorted((self.folder / "incidents").glob("*")) if path.is_dir()]

    def incident(self, identifier):
        return Incident(self.folder / "incidents" / identifier)

    def topology(self):
        """[(caller, callee)] where the set publishes one."""
        path = self.folder / "topology.csv"
        if not path.exists():
            return []
        with open(path, newline="") as file:
            return [(row["caller"], row["callee"]) for row in csv.DictReader(file)]

    def labels(self):
        """For scoring alone: [{"id", "root_cause", "fault"}]."""
        return [json.loads(line) for line in (self.folder / "labels.jsonl").read_text().splitlines()]


@contextlib.contextmanager
def graph(namespace, program_arguments=()):
    """A fresh interlock-graph of its own, nothing else running, in a folder that is removed. Yields a Feeder."""
    with Installation(start=False, name="incidents") as it:
        it.start_one("graph", program_arguments)
        yield Feeder(it, namespace)


class Feeder:
    """Sends telemetry to a graph service through its public RPCs alone, as a collector would."""

    def __init__(self, installation, namespace):
        self.installation, self.namespace = installation, namespace
        self.channel = installation.unix_channel("graph")
        self.messages, stubs = proto("interlock.graph.v1.graph")
        self.stub = stubs.GraphServiceStub(self.channel)
        self.refused = collections.Counter()  # what partial_success said: reason -> items
        self.role = (("interlock-role", "telemetry"),)

    def feed(self, periods, shift_s=0, what=("traces", "metrics", "logs")):
        """Everything of these periods, moved by shift_s seconds. A signal that the service does not take is left out; returns
        the set of signals that were sent."""
        sent = set()
        for period in periods:
            for signal in what:
                if getattr(self, f"feed_{signal}")(period, shift_s):
                    sent.add(signal)
        return sent

    # ---- traces ------------------------------------------------------------------------------------------------
    def feed_traces(self, period, shift_s=0):
        """Packed by hand, because the sets have millions of spans."""
        pb, stubs = proto("opentelemetry.proto.collector.trace.v1.trace_service")
        export = stubs.TraceServiceStub(self.channel).Export
        shift_ns = int(shift_s * 1e9)
        packed = period.packed_spans()
        for first in range(0, len(packed), BATCH_SPANS):
            request = pb.ExportTraceServiceRequest()
            by_pod = collections.defaultdict(list)
            for pod, service, head, tail, start_ns, end_ns in packed[first:first + BATCH_SPANS]:
                by_pod[pod, service].append(head + _TIMES.pack(0x39, start_ns + shift_ns, 0x41, end_ns + shift_ns) + tail)
            for (pod, service), some in by_pod.items():
                made = request.resource_spans.add()
                self._resource(made.resource, pod, service)
                made.scope_spans.add().MergeFromString(b"".join(some))
            self._send(export, request, "rejected_spans")
        return bool(packed)

    # ---- metrics -----------------------------------------------------------------------------------------------
    def feed_metrics(self, period, shift_s=0):
        """Each metric as a gauge of its own name, in time order."""
        try:
            pb, stubs = proto("opentelemetry.proto.collector.metrics.v1.metrics_service")
        except ImportError:
            return False
        export = stubs.MetricsServiceStub(self.channel).Export
        point = struct.Struct("<BBBQBd")  # a NumberDataPoint on the wire: time_unix_nano and as_double, 18 bytes
        rows = period.sorted_metrics()
        for first in range(0, len(rows), BATCH_POINTS):
            series = collections.defaultdict(list)
            for at, pod, service, metric, value in rows[first:first + BATCH_POINTS]:
                series[pod, service, metric].append(point.pack(0x0A, 18, 0x19, int((at + shift_s) * 1e9), 0x21, value))
            request, resources = pb.ExportMetricsServiceRequest(), {}
            for (pod, service, metric), points in series.items():
                if (pod, service) not in resources:
                    made = request.resource_metrics.add()
                    self._resource(made.resource, pod, service)
                    resources[pod, service] = made.scope_metrics.add()
                made = resources[pod, service].metrics.add(name=metric)
                made.gauge.MergeFromString(b"".join(points))
            if not self._send(export, request, "rejected_data_points"):
                return False
        return bool(rows)

    # ---- logs --------------------------------------------------------------------------------------------------
    def feed_logs(self, period, shift_s=0):
        try:
            pb, stubs = proto("opentelemetry.proto.collector.logs.v1.logs_service")
        except ImportError:
            return False
        export = stubs.LogsServiceStub(self.channel).Export
        rows = sorted(period.logs(), key=lambda row: row[0])
        for first in range(0, len(rows), BATCH_LOGS):
            request, resources = pb.ExportLogsServiceRequest(), {}
            for at, pod, service, trace_id, span_id, message in rows[first:first + BATCH_LOGS]:
                if (pod, service) not in resources:
                    made = request.resource_logs.add()
                    self._resource(made.resource, pod, service)
                    resources[pod, service] = made.scope_logs.add()
                record = resources[pod, service].log_records.add(time_unix_nano=max(0, at + int(shift_s * 1e9)),
                                                                 trace_id=_identifier(trace_id, 32),
                                                                 span_id=_identifier(span_id, 16))
                record.body.string_value = message
            if not self._send(export, request, "rejected_log_records"):
                return False
        return bool(rows)

    # ---- topology ----------------------------------------------------------------------------------------------
    def declare(self, edges):
        """Published call edges as declarations; False where the service takes none yet."""
        try:
            pb, stubs = proto("interlock.graph.v1.changes")
            document = {"apiVersion": "interlock/v1", "kind": "Declarations", "metadata": {"name": "topology"},
                        "edges": [{"from": service_name(a, self.namespace), "to": service_name(b, self.namespace),
                                   "kind": "calls"} for a, b in edges]}
            # YAML is a superset of JSON.
            stubs.ChangeServiceStub(self.channel).ApplyDeclarations(
                pb.ApplyDeclarationsRequest(file="topology.yaml", document=json.dumps(document)), timeout=60,
                metadata=(("interlock-role", "operator"),))
        except (ImportError, AttributeError):
            return False
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                return False
            raise
        return True

    def _resource(self, resource, pod, service):
        for key, value in (("service.name", service), ("service.namespace", self.namespace),
                           ("deployment.environment.name", ENVIRONMENT), ("k8s.pod.name", pod)):
            if value:
                resource.attributes.add(key=key).value.string_value = value

    def _send(self, export, request, rejected):
        """False where the service does not know the method. A full queue is waited for, as exporters do."""
        end = time.monotonic() + 60
        while True:
            try:
                answer = export(request, timeout=60, metadata=self.role)
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                    return False
                if error_info(error)[0] != "QUEUE_FULL":
                    raise
                time.sleep(0.05)
                continue
            count = getattr(answer.partial_success, rejected)
            if count:
                self.refused[answer.partial_success.error_message] += count
            return True


def _span_kinds(spans):
    """The sets publish no kind: a span whose parent is in another service (or absent) serves, one with such a child calls."""
    services = {span.span_id: span.service for span in spans}
    kinds = {}
    for span in spans:
        parent = services.get(span.parent_id)
        if parent == span.service:
            kinds.setdefault(span.span_id, 1)  # internal, unless a child says otherwise
        else:
            kinds[span.span_id] = 2
            if parent is not None and kinds.get(span.parent_id, 1) == 1:
                kinds[span.parent_id] = 3
    return kinds


def _identifier(text, digits):
    """Bytes of a hexadecimal identifier; empty where the set has none or another form."""
    try:
        return bytes.fromhex(text) if len(text) == digits else b""
    except ValueError:
        return b""
