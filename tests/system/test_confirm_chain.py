"""A chain of causes, confirmed: signed by an operator or an agent, in the log, remembered, and caused in the graph."""

import json
import os
import pathlib
import sys
import time
import unittest

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import incidents  # noqa: E402
from installation import Installation, error_info, proto, sign, wait_for  # noqa: E402
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from test_root_cause import BEGIN_S, OPERATOR, period  # noqa: E402

CHAIN = "application/vnd.interlock.chain.v1+protobuf"
CODE = grpc.StatusCode
SLOW = "incident:prod/shop/slow"
MAIL, SHOP, FRONT = (f"service:prod/shop/{name}" for name in ("mail", "shop", "front"))


class ConfirmChain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.it = Installation()
        cls.addClassCleanup(cls.it.close)
        cls.agent = cls.it.enroll("diagnoser")
        cls.operator = cls.it.seed("operator.key")
        cls.executor = cls.it.seed("executor-local.key")
        cls.root_cause, _ = proto("interlock.graph.v1.root_cause")
        cls.graph, _ = proto("interlock.graph.v1.graph")
        cls.memory, cls.stubs = proto("interlock.memory.v1.memory")
        wait_for("the enrolments in the log", lambda: len(cls.it.json("audit", "list", "--verdict", "ENROLLED")["entries"]) == 2)
        cls.feed()

    @classmethod
    def feed(cls):
        feeder = incidents.Feeder(cls.it, "shop")
        feeder.feed([period(1, 150, BEGIN_S - 3600, 3400, 5), period(1000, 60, BEGIN_S + 20, 200, 300)])
        changes, stubs = proto("interlock.graph.v1.changes")
        events, _ = proto("cloudevents.v1.cloudevents")
        event = events.CloudEvent(id="opened", source="/test", spec_version="1.0", type="interlock.incident.opened",
                                  text_data=json.dumps({"name": SLOW, "affected": [FRONT]}))
        event.attributes["time"].ce_timestamp.FromMilliseconds((BEGIN_S + 200) * 1000)
        answer = stubs.ChangeServiceStub(feeder.channel).SendEvents(changes.SendEventsRequest(events=[event]), timeout=20, metadata=OPERATOR)
        assert answer.accepted == 1, answer.refused

    def chain(self, incident, seed=None, principal="agent/diagnoser", hops=(MAIL, SHOP, FRONT), kind=None, **fields):
        made = self.root_cause.CauseChain(incident=incident, kind=self.root_cause.CAUSE_KIND_CODE if kind is None else kind, **fields)
        for i, node in enumerate(hops):
            made.hops.add(node=node, edge=self.graph.EDGE_KIND_CALLS if i + 1 < len(hops) else 0, at_ms=(BEGIN_S + 20 + i) * 1000)
        made.header.type = CHAIN
        made.header.installation = self.it.name
        made.header.principal = principal
        made.header.issued_at_ms = int(time.time() * 1000)
        made.header.nonce = os.urandom(32)
        return sign(seed or self.agent, CHAIN, made.SerializeToString(deterministic=True))

    def confirm(self, envelope, role="agent"):
        """An enrolment may take memory a moment to hear of."""
        stub = self.stubs.MemoryServiceStub(self.it.channel("memory", role))
        return stub.ConfirmChain(self.memory.ConfirmChainRequest(chain=envelope), timeout=10).receipt

    def confirm_enrolled(self, envelope):
        def confirmed():
            try:
                return self.confirm(envelope)
            except grpc.RpcError as error:
                if error_info(error)[0] not in ("SIGNER_UNKNOWN", "CONTROL_STALE"):
                    raise
                return None
        wait_for("memory to know the agent", confirmed)
        return self.confirm(envelope)

    def refused(self, envelope, code, reason, role="agent"):
        with self.assertRaises(grpc.RpcError) as caught:
            self.confirm(envelope, role)
        found, message = error_info(caught.exception)
        self.assertEqual((caught.exception.code(), found), (code, reason), message)

    def remembered(self, node):
        stub = self.stubs.MemoryServiceStub(self.it.channel("memory", "agent"))
        return list(stub.Recall(self.memory.RecallRequest(node=node), timeout=10).chains)

    def caused(self, incident):
        """The edge that says what caused the incident, as `interlock graph` shows it; None while there is none."""
        return next((edge for edge in self.caused_edges() if edge["to"] == incident), None)

    def test_an_agent_confirms_a_chain_that_memory_recalls_and_the_graph_shows(self):
        incident = "incident:prod/shop/by-agent"
        envelope = self.chain(incident, note="the pool was too small")
        receipt = self.confirm_enrolled(envelope)
        wait_for("memory to follow", lambda: self.remembered(incident))
        told = self.remembered(incident)
        self.assertEqual(len(told), 1)
        self.assertEqual([hop.node for hop in told[0].hops], [MAIL, SHOP, FRONT])
        self.assertEqual((told[0].principal, told[0].note, told[0].log_index), ("agent/diagnoser", "the pool was too small", receipt.index))
        self.assertIn(told[0], self.remembered(SHOP))
        wait_for("the graph to follow", lambda: self.caused(incident))
        self.assertEqual(self.caused(incident)["from"], MAIL)
        self.assertIn("PROVENANCE_CONFIRMED", json.dumps(self.caused(incident)))
        for cause, effect in ((MAIL, SHOP), (SHOP, FRONT)):
            self.assertEqual(self.caused_between(cause, effect), 1)
        self.assertEqual(self.confirm(envelope).index, receipt.index, "the same statement again is the same record")
        self.assertEqual(len(self.remembered(incident)), 1)
        self.it.cli("audit", "verify")

    def caused_between(self, cause, effect):
        return sum(edge["from"] == cause and edge["to"] == effect for edge in self.caused_edges())

    def caused_edges(self):
        """Edges name nodes by their places; the first one's place is left out."""
        graph = self.it.json("graph", "at", "now")
        names = [node["name"] for node in graph["nodes"]]
        return [edge | {"from": names[edge.get("from", 0)], "to": names[edge.get("to", 0)]}
                for edge in graph.get("edges", []) if edge["kind"] == "EDGE_KIND_CAUSED"]

    def test_an_operator_confirms_what_why_says(self):
        told = self.it.cli("why", SLOW, "--confirm", "--note", "seen before")
        self.assertIn(MAIL, told)
        wait_for("memory to follow", lambda: self.remembered(SLOW))
        self.assertEqual(self.remembered(SLOW)[0].hops[0].edge, self.graph.EDGE_KIND_CALLS)
        self.assertTrue(self.remembered(SLOW)[0].principal.startswith("operator/"))
        self.assertIn(f"{SLOW} was caused by {MAIL}", self.it.cli("recall", "--node", SLOW))
        wait_for("the graph to follow", lambda: self.caused(SLOW))
        record = self.remembered(SLOW)[0].log_index
        self.assertIn("seen before", self.it.cli("audit", "show", record))
        self.it.stop("graph")
        self.it.start_one("graph")
        self.assertEqual(self.caused(SLOW)["from"], MAIL, "also after a restart")
        self.assertEqual(self.it.cli("why", SLOW, "--confirm", "--hypothesis", 60, code=None)[0], 1)

    def test_wrong_statements_are_refused(self):
        name = "incident:prod/shop/wrong"
        self.confirm_enrolled(self.chain("incident:prod/shop/known"))
        tampered = self.chain(name)
        tampered.payload += b"\x2a\x01x"
        self.refused(tampered, CODE.UNAUTHENTICATED, "SIGNATURE")
        self.refused(self.chain(name, seed=os.urandom(32)), CODE.UNAUTHENTICATED, "SIGNER_UNKNOWN")
        self.refused(self.chain(name, seed=self.executor, principal="executor/local"), CODE.UNAUTHENTICATED, "SIGNER_UNKNOWN")
        self.refused(self.chain(name, principal="agent/other"), CODE.UNAUTHENTICATED, "STATEMENT_PRINCIPAL")
        self.refused(self.chain(SHOP), CODE.INVALID_ARGUMENT, "BAD_NAME")
        self.refused(self.chain(name, hops=()), CODE.INVALID_ARGUMENT, "BAD_HOPS")
        self.refused(self.chain(name, hops=(MAIL, MAIL)), CODE.INVALID_ARGUMENT, "HOP_TWICE")
        self.refused(self.chain(name, hops=("mail",)), CODE.INVALID_ARGUMENT, "BAD_NAME")
        self.refused(self.chain(name, kind=0), CODE.INVALID_ARGUMENT, "BAD_KIND")
        self.refused(self.chain(name, note="x" * 2049), CODE.INVALID_ARGUMENT, "NOTE_TOO_LONG")
        self.refused(self.chain(name), CODE.PERMISSION_DENIED, "ROLE_NOT_ALLOWED", role="executor")
        self.assertEqual(self.remembered(name), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
