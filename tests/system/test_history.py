"""The graph with time through its public methods: what was, what was known, what changed, and what a kill -9 leaves."""

import pathlib
import queue
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import grpc  # noqa: E402
from installation import Installation, error_info, proto, wait_for  # noqa: E402

MINUTE = 60 * 1000
CART, FRONT, REDIS = "service:prod/shop/cart", "service:prod/shop/front", "datastore:prod/shop/redis"
HEAD = "apiVersion: interlock/v1\nkind: Declarations\nmetadata: {name: d, environment: prod, namespace: shop}\n"


class History(unittest.TestCase):
    def setUp(self):
        self.it = Installation(start=False)
        self.addCleanup(self.it.close)
        self.messages, self.stubs = proto("interlock.graph.v1.history")
        self.graph, _ = proto("interlock.graph.v1.graph")
        self.changes, self.change_stubs = proto("interlock.graph.v1.changes")
        self.start()

    def start(self):
        self.it.start_one("graph")
        self.stub = self.stubs.HistoryServiceStub(self.it.channel("graph", "agent"))
        self.change = self.change_stubs.ChangeServiceStub(self.it.channel("graph", "operator"))
        self.channel = self.it.unix_channel("graph")

    # ---- what the tests say ------------------------------------------------------------------------------------------
    def declare(self, body):
        return self.change.ApplyDeclarations(self.changes.ApplyDeclarationsRequest(file="d.yaml", document=HEAD + body), timeout=10)

    def call(self, at_ms, caller="front", callee="cart"):
        """A trace in which one service calls another."""
        trace, stubs = proto("opentelemetry.proto.collector.trace.v1.trace_service")
        request = trace.ExportTraceServiceRequest()
        for service, span, parent, kind in ((caller, b"parent00", b"", 3), (callee, b"child000", b"parent00", 2)):
            resource = request.resource_spans.add()
            for key, value in (("service.name", service), ("service.namespace", "shop"), ("deployment.environment.name", "prod")):
                attribute = resource.resource.attributes.add()
                attribute.key, attribute.value.string_value = key, value
            one = resource.scope_spans.add().spans.add()
            one.trace_id, one.span_id, one.parent_span_id, one.kind = at_ms.to_bytes(16, "big"), span, parent, kind
            one.trace_state, one.name = "ot=th:0", "x"
            one.start_time_unix_nano = one.end_time_unix_nano = at_ms * 1000000
        stubs.TraceServiceStub(self.channel).Export(request, timeout=10, metadata=(("interlock-role", "telemetry"),))

    def at(self, **fields):
        return self.messages.Instant(**fields)

    def node(self, name, **at):
        return self.stub.GetNode(self.messages.GetNodeRequest(name=name, at=self.at(**at)), timeout=10)

    def snapshot(self, **at):
        parts = list(self.stub.Snapshot(self.messages.SnapshotRequest(at=self.at(**at)), timeout=10))
        nodes = [node for part in parts for node in part.nodes]
        edges = {(nodes[getattr(edge, "from")].name, nodes[edge.to].name, edge.kind) for part in parts for edge in part.edges}
        self.assertTrue(parts[-1].complete)
        return {node.name: node for node in nodes}, edges, parts[0]

    def refused(self, code, reason, call):
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        self.assertEqual(caught.exception.code(), code)
        self.assertEqual(error_info(caught.exception)[0], reason)

    # ---- the tests ---------------------------------------------------------------------------------------------------
    def test_a_declaration_comes_and_goes(self):
        start = int(time.time() * 1000)
        self.declare("services:\n- {name: cart, tier: 1}\nedges:\n- {from: cart, to: redis, kind: reads}\n")
        before = self.snapshot()[2].revision
        time.sleep(0.05)
        middle = int(time.time() * 1000)
        time.sleep(0.05)
        self.declare("services:\n- {name: cart, tier: 2}\n")
        now = self.node(CART)
        self.assertEqual([(v.present, v.provenance, v.attributes[0].value) for v in now.versions],
                         [(True, self.graph.PROVENANCE_DECLARED, "2")])
        self.assertEqual(self.node(CART, valid_at_ms=middle).versions[0].attributes[0].value, "1")
        # What a decision read can be read again by its revision.
        self.assertEqual(self.node(CART, at_revision=before).versions[0].attributes[0].value, "1")
        self.assertEqual(list(self.node(CART, valid_at_ms=start - MINUTE).versions), [])
        reads = (CART, REDIS, self.graph.EDGE_KIND_READS)
        self.assertIn(reads, self.snapshot(valid_at_ms=middle)[1])
        self.assertNotIn(reads, self.snapshot()[1])
        diff = self.stub.Diff(self.messages.DiffRequest(**{"from": self.at(valid_at_ms=middle)}), timeout=10)
        self.assertEqual([(d.name, d.before.attributes[0].value, d.after.attributes[0].value) for d in diff.nodes if d.name == CART],
                         [(CART, "1", "2")])
        self.assertEqual([(getattr(d, "from"), d.to, d.HasField("after")) for d in diff.edges], [(CART, REDIS, False)])
        past = self.stub.History(self.messages.HistoryRequest(name=CART), timeout=10)
        self.assertEqual([v.recorded_to_ms == 0 for v in past.versions], [True, False, True])
        pages, token = [], ""
        while not pages or token:
            page = self.stub.History(self.messages.HistoryRequest(name=CART, page_size=1, page_token=token), timeout=10)
            pages += page.versions
            token = page.next_page_token
        self.assertEqual(pages, list(past.versions))

    def test_spans_state_what_they_show_when_it_was(self):
        now = int(time.time() * 1000)
        self.call(now - 10 * MINUTE)
        edge = (FRONT, CART, self.graph.EDGE_KIND_CALLS)
        wait_for("the edge", lambda: edge in self.snapshot()[1])
        self.assertIn(edge, self.snapshot(valid_at_ms=now - 5 * MINUTE)[1])
        self.assertNotIn(edge, self.snapshot(valid_at_ms=now - 15 * MINUTE)[1])
        # Nobody knew then.
        self.assertNotIn(edge, self.snapshot(valid_at_ms=now - 5 * MINUTE, recorded_at_ms=now - 5 * MINUTE)[1])
        version = self.node(FRONT).versions[0]
        self.assertEqual((version.origin, version.provenance), ("otlp", self.graph.PROVENANCE_OBSERVED))

    def test_neighbors_and_paths(self):
        self.declare("edges:\n" + "".join(f"- {{from: {a}, to: {b}, kind: calls}}\n" for a, b in
                                          (("front", "cart"), ("cart", "db"), ("front", "db"), ("db", "front"))))
        def neighbors(**fields):
            answer = self.stub.Neighbors(self.messages.NeighborsRequest(name=CART, **fields), timeout=10)
            return [(getattr(e, "from").rsplit("/")[-1], e.to.rsplit("/")[-1]) for e in answer.edges], answer.edge_count
        self.assertEqual(neighbors(), ([("cart", "db"), ("front", "cart")], 2))
        self.assertEqual(neighbors(direction=self.messages.DIRECTION_IN), ([("front", "cart")], 1))
        self.assertEqual(neighbors(limit=1), ([("cart", "db")], 2))
        self.assertEqual(neighbors(edge_kinds=[self.graph.EDGE_KIND_READS]), ([], 0))
        found = self.stub.FindPaths(self.messages.FindPathsRequest(**{"from": FRONT}, to="service:prod/shop/db"), timeout=10)
        self.assertEqual([[e.to.rsplit("/")[-1] for e in path.edges] for path in found.paths], [["db"], ["cart", "db"]])
        self.assertFalse(found.more)

    def watch(self, after):
        """Messages of WatchChanges as they come."""
        got = queue.Queue()
        stream = self.stub.WatchChanges(self.messages.WatchChangesRequest(after_revision=after))
        self.addCleanup(stream.cancel)
        def read():
            try:
                for message in stream:
                    got.put(message)
            except grpc.RpcError as error:
                got.put(error)
        threading.Thread(target=read, daemon=True).start()
        return got

    def changes_of(self, got):
        """All changes up to the next complete message that brings one."""
        changes = []
        while True:
            message = got.get(timeout=10)
            changes += message.changes
            if message.complete and changes:
                return changes, message.revision

    def test_changes_are_watched_and_resumed(self):
        got = self.watch(0)
        self.assertTrue(got.get(timeout=10).complete)
        self.declare("services:\n- {name: cart, tier: 1}\n")
        changes, revision = self.changes_of(got)
        self.assertEqual([(c.name, c.node, c.version.present) for c in changes], [(CART, self.graph.NODE_KIND_SERVICE, True)])
        self.declare("services:\n- {name: cart, tier: 2}\n")
        self.it.kill("graph")
        self.start()
        changes, _ = self.changes_of(self.watch(revision))
        self.assertEqual([(c.name, c.version.attributes[0].value) for c in changes], [(CART, "2")])

    def test_kill_9_loses_nothing_that_was_acknowledged(self):
        acknowledged, ended = [], threading.Event()
        def state():
            for i in range(100000):
                names = ", ".join(f"{{name: s{j}}}" for j in range(i + 1))
                try:
                    self.declare(f"services: [{names}]\n")
                except grpc.RpcError:
                    break
                acknowledged.append(i)
                if ended.is_set():
                    break
        writer = threading.Thread(target=state)
        writer.start()
        wait_for("thirty answers", lambda: len(acknowledged) > 30)
        self.it.kill("graph")
        ended.set()
        writer.join(20)
        self.start()
        nodes = self.snapshot()[0]
        for i in acknowledged:
            self.assertIn(f"service:prod/shop/s{i}", nodes)

    def test_other_names(self):
        self.declare("services:\n- {name: cart, aliases: [basket]}\n")
        node = self.node("service:prod/shop/basket")
        self.assertEqual((node.name, list(node.aliases)), (CART, ["service:prod/shop/basket"]))
        # What is sent under the other name is the same node's.
        self.call(int(time.time() * 1000), caller="front", callee="basket")
        wait_for("the edge", lambda: (FRONT, CART, self.graph.EDGE_KIND_CALLS) in self.snapshot()[1])
        self.assertNotIn("service:prod/shop/basket", self.snapshot()[0])

    def test_bad_questions(self):
        code = grpc.StatusCode
        self.refused(code.NOT_FOUND, "NOT_KNOWN", lambda: self.node("service:prod/shop/nobody"))
        self.refused(code.INVALID_ARGUMENT, "BAD_NAME", lambda: self.node("no name"))
        self.refused(code.INVALID_ARGUMENT, "BAD_INSTANT", lambda: self.node(CART, recorded_at_ms=1, at_revision=1))
        self.refused(code.INVALID_ARGUMENT, "BAD_INSTANT", lambda: self.snapshot(valid_at_ms=-1))
        self.refused(code.INVALID_ARGUMENT, "BAD_PAGE_TOKEN", lambda: self.stub.History(
            self.messages.HistoryRequest(name=CART, page_token="x"), timeout=10))


if __name__ == "__main__":
    unittest.main()
