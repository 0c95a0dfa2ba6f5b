"""Real telemetry: the spans of Online Boutique through a Python OTLP client, the discovered edges against the published ones."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import online_boutique  # noqa: E402
from installation import Installation, proto  # noqa: E402

# Published in topology.csv but in no span of the normal period, each with its reason.
NOT_IN_SPANS = {
    ("frontend", "adservice"): "adservice sends no spans of its own in this set",
    ("frontend", "shippingservice"): None,
    ("loadgenerator", "frontend"): "the load generator is not instrumented",
}


@unittest.skipUnless(online_boutique.available(), "the incident sets are not here")
class RealSpans(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.it = Installation()
        cls.addClassCleanup(cls.it.close)
        service, stubs = proto("opentelemetry.proto.collector.trace.v1.trace_service")
        stub = stubs.TraceServiceStub(cls.it.channel("graph", "telemetry"))
        cls.rejected = 0
        cls.seen_edges = set()
        for request in online_boutique.requests():
            cls.rejected += stub.Export(request, timeout=60).partial_success.rejected_spans
        graph, graph_stubs = proto("interlock.graph.v1.graph")
        cls.graph = graph
        cls.stub = graph_stubs.GraphServiceStub(cls.it.channel("graph", "agent"))
        cls.answer = cls.stub.GetGraph(graph.GetGraphRequest(), timeout=20)

    def short(self, name):
        self.assertTrue(name.startswith("service:prod/boutique/"), name)
        return name.rsplit("/", 1)[1]

    def test_every_span_is_taken(self):
        self.assertEqual(self.rejected, 0)

    def test_edges_are_the_published_ones(self):
        published, to_addresses = online_boutique.topology()
        found = {(self.short(e.from_ if hasattr(e, "from_") else getattr(e, "from")), self.short(e.to)) for e in self.answer.edges
                 if e.kind == self.graph.EDGE_KIND_CALLS}
        in_spans = self.edges_in_spans()
        print(f"\n{len(published)} published edges between services, {len(found)} discovered, {len(published & found)} in both")
        for edge in sorted(published - found):
            print("  published only: %s -> %s (no span of the normal period shows this call)" % edge)
        for edge in sorted(found - published):
            print("  discovered only: %s -> %s (spans show it)" % edge)
        print(f"  {len(to_addresses)} published edges lead to bare addresses and name no service")
        # What we discover is exactly what the spans show, no more and no less.
        self.assertEqual(found, in_spans)
        self.assertGreaterEqual(len(published & found), 0.8 * len(published))

    def edges_in_spans(self):
        """The same question answered by brute force from the converted spans."""
        service_of, parents = {}, []
        for request in online_boutique.requests():
            for resource in request.resource_spans:
                name = resource.resource.attributes[0].value.string_value
                for span in resource.scope_spans[0].spans:
                    service_of[span.trace_id, span.span_id] = name
                    if span.parent_span_id:
                        parents.append(((span.trace_id, span.parent_span_id), name))
        return {(service_of[parent], name) for parent, name in parents
                if parent in service_of and service_of[parent] != name}

    def test_impact_of_real_services_is_ordered_as_the_traffic_is(self):
        def share(service):
            answer = self.stub.PredictImpact(self.graph.PredictImpactRequest(
                targets=[f"service:prod/boutique/{service}"], verb="deploy"), timeout=10)
            return answer.impact.entry_traffic

        frontend, checkout, catalog = share("frontend"), share("checkoutservice"), share("productcatalogservice")
        self.assertGreater(frontend.expected, 0.99)
        self.assertGreater(catalog.expected, checkout.expected)
        for value in (frontend, checkout, catalog):
            self.assertLessEqual(value.low, value.expected)
            self.assertLessEqual(value.expected, value.high)

    def test_a_signed_action_on_a_real_service_is_decided(self):
        policy, _ = proto("interlock.policy.v1.policy")
        seed = self.it.enroll("boutique")
        for service in ("frontend", "productcatalogservice"):
            action = self.it.action("boutique", f"real-{service}", f"service:prod/boutique/{service}")
            decision = self.it.evaluate(self.it.signed(seed, action)).decision
            self.assertEqual(decision.outcome, policy.OUTCOME_DENY, decision.summary)
            self.assertGreater(decision.impact.observed_requests, 100)


if __name__ == "__main__":
    unittest.main(verbosity=2)
