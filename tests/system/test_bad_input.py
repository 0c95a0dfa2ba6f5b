"""Hostile input: the client gets the right code and a message that says what to do; the services stay up."""

import os
import pathlib
import random
import sys
import time
import unittest

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from installation import ACTION, Installation, error_info, proto, sign  # noqa: E402

EVALUATE = "/interlock.policy.v1.PolicyService/Evaluate"
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
CODE = grpc.StatusCode


def field(number, payload):
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def nested(depth):
    """An attribute value (AnyValue.array_value.values…) nested `depth` deep, as an export request."""
    wire = b""
    for _ in range(depth):
        wire = field(5, field(1, wire))
    return field(1, field(1, field(1, field(1, b"k") + field(2, wire))))


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.it = Installation()
        cls.addClassCleanup(cls.it.close)
        cls.it.ingest_shop()
        cls.seed = cls.it.enroll("deployer")
        cls.policy, _ = proto("interlock.policy.v1.policy")

    def tearDown(self):
        for service, process in self.it.processes.items():
            self.assertIsNone(process.poll(), f"{service} died:\n{self.it.log(service)[-3000:]}")

    def raw(self, service, role, method, wire, timeout=20):
        call = self.it.channel(service, role).unary_unary(method, request_serializer=None, response_deserializer=None)
        return call(wire, timeout=timeout)

    def refused(self, code, reason, call, *arguments, **named):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments, **named)
        found, message = error_info(caught.exception)
        self.assertEqual(caught.exception.code(), code, message)
        if reason is not None:
            self.assertEqual(found, reason, message)
        self.assertGreater(len(message), 10, "an error says what happened and what to do")
        return message

    def email(self, action_id, **fields):
        return self.it.action("deployer", action_id, "service:prod/shop/email", verb="restart", **fields)

    # ---- bytes -----------------------------------------------------------------------------------------------------
    def test_truncated_messages(self):
        wire = self.policy.EvaluateRequest(action=self.it.signed(self.seed, self.email("truncated"))).SerializeToString()
        for cut in (1, 2, 10, len(wire) // 2, len(wire) - 1):
            self.refused(CODE.INVALID_ARGUMENT, None, self.raw, "policy", "agent", EVALUATE, wire[:cut])

    def test_random_bytes(self):
        seed = int(time.time())
        print(f"\nrandom bytes from seed {seed}")
        draw = random.Random(seed)
        for _ in range(200):
            wire = draw.randbytes(draw.randrange(1, 400))
            for service, role, method in (("policy", "agent", EVALUATE), ("graph", "telemetry", EXPORT)):
                try:
                    self.raw(service, role, method, wire)
                except grpc.RpcError as error:
                    self.assertIn(error.code(), (CODE.INVALID_ARGUMENT, CODE.UNAUTHENTICATED, CODE.RESOURCE_EXHAUSTED))

    def test_nested_ten_thousand_deep(self):
        self.refused(CODE.INVALID_ARGUMENT, "MESSAGE_TOO_DEEP", self.raw, "graph", "telemetry", EXPORT, nested(10000))

    def test_five_megabytes(self):
        self.refused(CODE.RESOURCE_EXHAUSTED, None, self.raw, "policy", "agent", EVALUATE, field(1, b"\0" * (5 << 20)))

    def test_four_megabytes_of_empty_submessages(self):
        wire = field(1, b"") * ((4 << 20) // 2 - 1000)
        self.refused(CODE.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE", self.raw, "graph", "telemetry", EXPORT, wire)

    def test_invalid_utf8_and_embedded_nul(self):
        for text in (b"\xff\xfe", b"a\0b", b"\xed\xa0\x80"):
            wire = field(1, field(2, text))
            self.refused(CODE.INVALID_ARGUMENT, None, self.raw, "policy", "agent", EVALUATE, wire)

    def test_duplicate_singular_field_in_a_signed_payload(self):
        payload = self.email("duplicate").SerializeToString(deterministic=True)
        twice = sign(self.seed, ACTION, payload + field(9, b"deploy"))
        self.refused(CODE.INVALID_ARGUMENT, "NOT_CANONICAL", self.it.evaluate, twice)

    def test_unknown_field_in_a_signed_payload(self):
        payload = self.email("unknown-field").SerializeToString(deterministic=True)
        self.refused(CODE.INVALID_ARGUMENT, "NOT_CANONICAL", self.it.evaluate, sign(self.seed, ACTION, payload + field(900, b"x")))

    def test_unknown_method_does_not_hang_until_the_deadline(self):
        self.refused(CODE.UNIMPLEMENTED, None, self.raw, "policy", "agent", "/interlock.policy.v1.PolicyService/Nothing", b"", 20)

    # ---- actions ---------------------------------------------------------------------------------------------------
    def test_unknown_node_is_an_interval_and_refused(self):
        action = self.it.action("deployer", "unknown-node", "service:prod/shop/nobody-knows")
        decision = self.it.evaluate(self.it.signed(self.seed, action)).decision
        self.assertEqual(decision.outcome, self.policy.OUTCOME_DENY)
        self.assertEqual((decision.impact.entry_traffic.low, decision.impact.entry_traffic.high), (0, 1))

    def test_unsigned(self):
        envelope = self.it.signed(self.seed, self.email("unsigned"))
        del envelope.signatures[:]
        self.refused(CODE.UNAUTHENTICATED, None, self.it.evaluate, envelope)

    def test_two_signatures(self):
        envelope = self.it.signed(self.seed, self.email("two"))
        envelope.signatures.append(envelope.signatures[0])
        self.refused(CODE.UNAUTHENTICATED, None, self.it.evaluate, envelope)

    def test_wrongly_signed(self):
        envelope = self.it.signed(self.seed, self.email("wrong"))
        envelope.signatures[0].sig = bytes(64)
        self.refused(CODE.UNAUTHENTICATED, "SIGNATURE_INVALID", self.it.evaluate, envelope)
        envelope = self.it.signed(self.seed, self.email("wrong-2"))
        envelope.payload = envelope.payload.replace(b"restart", b"Restart")
        self.refused(CODE.UNAUTHENTICATED, "SIGNATURE_INVALID", self.it.evaluate, envelope)

    def test_unenrolled_agent(self):
        action = self.email("stranger")
        message = self.refused(CODE.UNAUTHENTICATED, "AGENT_NOT_ENROLLED", self.it.evaluate,
                               self.it.signed(os.urandom(32), action))
        self.assertIn("enroll", message)

    def test_another_agents_name(self):
        other = self.it.enroll("other")
        self.refused(CODE.UNAUTHENTICATED, None, self.it.evaluate, self.it.signed(other, self.email("borrowed")))

    def test_expired(self):
        issued = int(time.time() * 1000) - 600000
        action = self.email("expired", issued=issued, lifetime_ms=300000)
        self.refused(CODE.INVALID_ARGUMENT, "STATEMENT_EXPIRED", self.it.evaluate, self.it.signed(self.seed, action))

    def test_future_dated(self):
        action = self.email("future", issued=int(time.time() * 1000) + 120000)
        self.refused(CODE.INVALID_ARGUMENT, "STATEMENT_FROM_THE_FUTURE", self.it.evaluate, self.it.signed(self.seed, action))

    def test_lives_too_long(self):
        action = self.email("eternal", lifetime_ms=3600000)
        self.refused(CODE.INVALID_ARGUMENT, "STATEMENT_LIFETIME", self.it.evaluate, self.it.signed(self.seed, action))

    def test_another_installations_action(self):
        action = self.email("elsewhere")
        action.header.installation = "elsewhere"
        self.refused(CODE.INVALID_ARGUMENT, "STATEMENT_INSTALLATION", self.it.evaluate, self.it.signed(self.seed, action))

    def test_replay_under_the_same_id_gives_the_same_decision_and_no_second_record(self):
        envelope = self.it.signed(self.seed, self.email("replayed"))
        first = self.it.evaluate(envelope)
        for _ in range(3):
            again = self.it.evaluate(envelope)
            self.assertEqual((again.permit, again.receipt.index), (first.permit, first.receipt.index))
        records = self.it.json("audit", "list", "--action", "replayed")
        self.assertEqual(len(records["entries"]), 1)

    def test_same_id_for_another_action(self):
        self.it.evaluate(self.it.signed(self.seed, self.email("reused")))
        self.refused(CODE.ALREADY_EXISTS, "ACTION_ID_REUSED", self.it.evaluate, self.it.signed(self.seed, self.email("reused")))

    def test_fields_that_are_not_right_are_named(self):
        for change in ({"verb": ""}, {"targets": []}, {"targets": ["cart"]}, {"targets": ["service:prod/shop/x"] * 65},
                       {"action_id": "has space"}, {"action_id": ""}):
            action = self.email("fields")
            for name, value in change.items():
                action.ClearField(name)
                if isinstance(value, list):
                    getattr(action, name).extend(value)
                else:
                    setattr(action, name, value)
            self.refused(CODE.INVALID_ARGUMENT, "ACTION_INVALID", self.it.evaluate, self.it.signed(self.seed, action))

    def test_revoked_agent(self):
        seed = self.it.enroll("leaver")
        self.it.evaluate(self.it.signed(seed, self.it.action("leaver", "before", "service:prod/shop/email", verb="restart")))
        self.it.cli("agent", "revoke", "leaver")
        self.refused(CODE.UNAUTHENTICATED, "KEY_REVOKED", self.it.evaluate, self.it.signed(
            seed, self.it.action("leaver", "after", "service:prod/shop/email", verb="restart")))


if __name__ == "__main__":
    unittest.main(verbosity=2)
