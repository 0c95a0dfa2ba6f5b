"""Memory with the real log: who may report, what is said again, and that nothing is forgotten or counted twice."""

import concurrent.futures
import os
import pathlib
import sys
import time
import unittest

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from installation import Installation, error_info, proto, sign, wait_for  # noqa: E402

OUTCOME = "application/vnd.interlock.outcome.v1+protobuf"
EMAIL = "service:prod/shop/email"
CODE = grpc.StatusCode


class Memory(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.it = Installation()
        cls.addClassCleanup(cls.it.close)
        cls.it.ingest_shop()
        cls.agent = cls.it.enroll("deployer")
        cls.executor = cls.it.seed("executor-local.key")
        cls.operator = cls.it.seed("operator.key")
        cls.memory, cls.stubs = proto("interlock.memory.v1.memory")
        cls.policy, _ = proto("interlock.policy.v1.policy")
        # The first statements of an installation are swept into the log, and views are on their way.
        wait_for("the executor's enrolment in the log", lambda: len(cls.it.json("audit", "list", "--verdict", "ENROLLED")["entries"]) == 2)
        wait_for("a first decision", lambda: cls.it.evaluate(cls.it.signed(cls.agent, cls.it.action(
            "deployer", f"warm-{time.monotonic_ns()}", EMAIL, verb="restart"))).decision.outcome == cls.policy.OUTCOME_ALLOW)

    def decided(self, action_id, verb="restart"):
        """The digest of a decided action."""
        answer = self.it.evaluate(self.it.signed(self.agent, self.it.action("deployer", action_id, EMAIL, verb=verb)))
        return answer.decision.action_digest

    def outcome(self, action_id, digest, seed=None, principal="executor/local", state=None, **fields):
        made = self.memory.ActionOutcome(action_id=action_id, action_digest=digest, actual_share=-1,
                                         state=self.memory.OUTCOME_STATE_HEALTHY if state is None else state, **fields)
        made.header.type = OUTCOME
        made.header.installation = self.it.name
        made.header.principal = principal
        made.header.issued_at_ms = int(time.time() * 1000)
        made.header.nonce = os.urandom(32)
        return sign(seed or self.executor, OUTCOME, made.SerializeToString(deterministic=True))

    def record(self, envelope, role="executor"):
        """Memory follows the log: what was decided just now may take it a moment."""
        stub = self.stubs.MemoryServiceStub(self.it.channel("memory", role))
        request = self.memory.RecordOutcomeRequest(outcome=envelope)
        for _ in range(50):
            try:
                return stub.RecordOutcome(request, timeout=10).receipt
            except grpc.RpcError as error:
                if error_info(error)[0] != "ACTION_UNKNOWN":
                    raise
                time.sleep(0.05)
        return stub.RecordOutcome(request, timeout=10).receipt

    def refused(self, envelope, code, reason, role="executor"):
        with self.assertRaises(grpc.RpcError) as caught:
            self.record(envelope, role)
        found, message = error_info(caught.exception)
        self.assertEqual((caught.exception.code(), found), (code, reason), message)

    def recall(self, **fields):
        stub = self.stubs.MemoryServiceStub(self.it.channel("memory", "agent"))
        return stub.Recall(self.memory.RecallRequest(**fields), timeout=10)

    def remembered(self, action_id):
        return next((m for m in self.recall(limit=100).memories if m.action_id == action_id), None)

    def test_the_same_statement_again_is_the_same_record(self):
        digest = self.decided("again")
        envelope = self.outcome("again", digest)
        first = self.record(envelope)
        self.assertEqual(self.record(envelope).index, first.index)
        wait_for("memory to follow", lambda: self.remembered("again").outcome_index == first.index)
        self.assertEqual(self.record(envelope).index, first.index)
        later = self.record(self.outcome("again", digest, state=self.memory.OUTCOME_STATE_REVERTED))
        wait_for("memory to follow", lambda: self.remembered("again").outcome_index == later.index)
        self.assertEqual(self.record(envelope).index, first.index, "also after a later outcome")
        self.assertEqual(self.remembered("again").state, self.memory.OUTCOME_STATE_REVERTED)
        self.it.cli("audit", "verify")

    def test_many_reporters_at_once(self):
        digest = self.decided("crowd")
        envelopes = [self.outcome("crowd", digest, note=f"reporter {n}") for n in range(8)]
        self.record(envelopes[0])

        def insist(envelope):
            for _ in range(20):
                try:
                    return self.record(envelope).index
                except grpc.RpcError as error:
                    if error.code() not in (CODE.ABORTED, CODE.UNAVAILABLE):
                        raise
            raise AssertionError("never recorded")

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            indices = list(pool.map(insist, envelopes))
        self.assertEqual(len(set(indices)), len(envelopes), "each statement has one record")
        entries = self.it.json("audit", "list", "--action", "crowd")["entries"]
        self.assertEqual(len(entries), 1 + len(envelopes))
        self.it.cli("audit", "verify")

    def test_the_proposer_may_not_report(self):
        digest = self.decided("own")
        self.refused(self.outcome("own", digest, seed=self.agent, principal="agent/deployer"), CODE.UNAUTHENTICATED, "SIGNER_UNKNOWN")
        self.refused(self.outcome("own", digest), CODE.PERMISSION_DENIED, "ROLE_NOT_ALLOWED", role="agent")

    def test_an_operator_may_report(self):
        receipt = self.record(self.outcome("by-hand", self.decided("by-hand"), seed=self.operator, principal="operator/local"), "operator")
        self.assertGreater(receipt.index, 0)

    def test_wrong_statements_are_refused(self):
        digest = self.decided("wrong")
        self.record(self.outcome("wrong", digest))
        self.refused(self.outcome("wrong", bytes(32)), CODE.INVALID_ARGUMENT, "DIGEST_MISMATCH")
        self.refused(self.outcome("wrong", digest, principal="executor/other"), CODE.UNAUTHENTICATED, "STATEMENT_PRINCIPAL")
        self.refused(self.outcome("wrong", digest, seed=os.urandom(32)), CODE.UNAUTHENTICATED, "SIGNER_UNKNOWN")
        self.refused(self.outcome("wrong", digest, state=0), CODE.INVALID_ARGUMENT, "BAD_STATE")
        envelope = self.outcome("wrong", digest)
        envelope.payload += b"\x32\x01x"
        self.refused(envelope, CODE.UNAUTHENTICATED, "SIGNATURE")
        self.refused(self.outcome("never-decided", digest), CODE.NOT_FOUND, "ACTION_UNKNOWN")

    def test_killed_and_rebuilt_it_knows_the_same(self):
        self.record(self.outcome("kept", self.decided("kept")))
        size = int(self.it.json("audit", "list")["entries"][-1]["index"])
        wait_for("memory to follow", lambda: self.recall(limit=1).applied_index >= size)
        before = self.recall(limit=100)
        self.it.kill("memory")
        self.it.start_one("memory")
        wait_for("memory to follow", lambda: self.recall(limit=1).applied_index >= size)
        self.assertEqual(self.recall(limit=100).memories, before.memories)
        self.assertEqual(self.it.stop("memory"), 0)
        for file in (self.it.data / "memory").iterdir():
            file.unlink()
        self.it.start_one("memory")
        wait_for("memory to be rebuilt", lambda: self.recall(limit=1).applied_index >= size)
        rebuilt = self.recall(limit=100)
        self.assertEqual(rebuilt.memories, before.memories)
        self.assertEqual((rebuilt.matching, rebuilt.denied, rebuilt.failed), (before.matching, before.denied, before.failed))


if __name__ == "__main__":
    unittest.main(verbosity=2)
