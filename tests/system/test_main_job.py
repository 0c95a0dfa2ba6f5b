"""The main job: a signed action gets a decision from the real graph, a durable record, and a permit; from four kinds of client."""

import base64
import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from installation import ROOT, Installation, proto  # noqa: E402

NODE = ROOT / "tests" / "system" / "node"


def claims_of(permit):
    middle = permit.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))


class MainJob(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.it = Installation()
        cls.addClassCleanup(cls.it.close)
        cls.it.ingest_shop()
        cls.seed = cls.it.enroll("deployer")
        cls.policy, _ = proto("interlock.policy.v1.policy")

    def test_python_client_is_refused_where_the_blast_radius_is_too_large(self):
        action = self.it.action("deployer", "py-cart", "service:prod/shop/cart")
        answer = self.it.evaluate(self.it.signed(self.seed, action))
        decision = answer.decision
        self.assertEqual(decision.outcome, self.policy.OUTCOME_DENY)
        self.assertEqual(decision.mode, self.policy.MODE_ENFORCED)
        self.assertGreater(decision.impact.entry_traffic.expected, 0.05)
        self.assertTrue(any(node.path[-1] == "service:prod/shop/cart" for node in decision.impact.affected))
        blast = [f for f in decision.findings if f.primitive == self.policy.PRIMITIVE_BLAST_RADIUS]
        self.assertEqual([f.result for f in blast], [self.policy.Finding.RESULT_FAIL])
        self.assertEqual(answer.permit, "")
        self.assertGreater(answer.receipt.index, 0)

    def test_python_client_is_allowed_and_gets_its_permit(self):
        action = self.it.action("deployer", "py-email", "service:prod/shop/email", verb="restart")
        envelope = self.it.signed(self.seed, action)
        answer = self.it.evaluate(envelope)
        self.assertEqual(answer.decision.outcome, self.policy.OUTCOME_ALLOW, answer.decision.summary)
        claims = claims_of(answer.permit)
        self.assertEqual(claims["jti"], answer.decision.permit.permit_id)
        self.assertLessEqual(claims["exp"] - claims["iat"], 60)
        again = self.it.evaluate(envelope)
        self.assertTrue(again.repeated)
        self.assertEqual(again.permit, answer.permit)
        self.assertEqual(again.receipt.index, answer.receipt.index)

    def test_node_client(self):
        certificate, key, authority = self.it.credentials("agent")
        options = {
            "target": f"localhost:{self.it.where('policy')['tcp_port']}", "proto": str(ROOT / "proto"),
            "authority": str(authority), "certificate": str(certificate), "key": str(key),
            "seed": base64.b64encode(self.seed).decode(), "installation": self.it.name, "principal": "agent/deployer",
            "action": {"actionId": "node-cart", "actorKind": 1, "intent": "roll out the new timeout", "verb": "deploy",
                       "targets": ["service:prod/shop/cart"]},
        }
        done = subprocess.run(["node", "client.mjs", json.dumps(options)], cwd=NODE, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        answer = json.loads(done.stdout)
        self.assertEqual(answer["decision"]["outcome"], "OUTCOME_DENY")
        self.assertEqual(answer["decision"]["action_id"], "node-cart")

    def test_buf_curl_over_reflection(self):
        action = self.it.action("deployer", "buf-email", "service:prod/shop/email", verb="restart")
        envelope = self.it.signed(self.seed, action)
        body = {"action": {"payload": base64.b64encode(envelope.payload).decode(), "payloadType": envelope.payload_type,
                           "signatures": [{"sig": base64.b64encode(s.sig).decode(), "keyid": s.keyid}
                                          for s in envelope.signatures]}}
        certificate, key, authority = self.it.credentials("agent")
        port = self.it.where("policy")["tcp_port"]
        buf = [str(NODE / "node_modules" / ".bin" / "buf"), "curl", "--protocol", "grpc", "--cert", str(certificate),
               "--key", str(key), "--cacert", str(authority)]
        done = subprocess.run([*buf, "-d", json.dumps(body), f"https://localhost:{port}/interlock.policy.v1.PolicyService/Evaluate"],
                              capture_output=True, text=True, timeout=60, env={**os.environ, "BUF_CACHE_DIR": str(self.it.folder)})
        self.assertEqual(done.returncode, 0, done.stderr)
        answer = json.loads(done.stdout)
        self.assertEqual(answer["decision"]["outcome"], "OUTCOME_ALLOW")
        self.assertEqual(answer["permit"].count("."), 2)
        done = subprocess.run([*buf, "--list-services", f"https://localhost:{port}"], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "BUF_CACHE_DIR": str(self.it.folder)})
        self.assertIn("interlock.policy.v1.PolicyService", done.stdout)

    def test_cli_tells_outcomes_apart_by_exit_code(self):
        refused = self.it.cli("evaluate", "--agent", "deployer", "--verb", "deploy", "--target", "service:prod/shop/cart", code=3)
        self.assertIn("DENY", refused)
        self.assertIn("%", refused)
        allowed = self.it.cli("evaluate", "--agent", "deployer", "--verb", "restart", "--target", "service:prod/shop/email")
        self.assertIn("ALLOW", allowed)

    def test_what_nobody_promoted_is_advisory_and_has_no_permit(self):
        action = self.it.action("deployer", "advisory", "service:staging/shop/email", verb="restart")
        answer = self.it.evaluate(self.it.signed(self.seed, action))
        self.assertEqual(answer.decision.mode, self.policy.MODE_ADVISORY)
        self.assertEqual(answer.permit, "")

    def test_dry_run_has_no_permit(self):
        action = self.it.action("deployer", "dry", "service:prod/shop/email", verb="restart", dry_run=True)
        answer = self.it.evaluate(self.it.signed(self.seed, action))
        self.assertEqual(answer.decision.mode, self.policy.MODE_DRY_RUN)
        self.assertEqual(answer.permit, "")

    def test_outcome_flows_back_to_memory(self):
        self.it.cli("evaluate", "--agent", "deployer", "--verb", "restart", "--target", "service:prod/shop/email",
                    "--action-id", "remembered")
        self.it.cli("outcome", "report", "remembered", "--state", "healthy", "--share", "0.01")
        memory, stubs = proto("interlock.memory.v1.memory")
        stub = stubs.MemoryServiceStub(self.it.channel("memory", "agent"))

        def recalled():
            answer = stub.Recall(memory.RecallRequest(node="service:prod/shop/email", verb="restart", limit=100), timeout=10)
            return [m for m in answer.memories if m.action_id == "remembered" and m.state == memory.OUTCOME_STATE_HEALTHY]

        from installation import wait_for
        wait_for("memory to follow the log", recalled)
        self.assertEqual(recalled()[0].outcome, "ALLOW")

    def test_kill_switch_stops_and_clearing_lets_go_on(self):
        from installation import wait_for
        self.it.cli("kill", "set", "--verb", "drain", "--reason", "a test")
        self.assertIn("FENCED", self.it.cli("kill", "status"))
        action = self.it.action("deployer", "killed", "service:prod/shop/email", verb="drain")
        answer = self.it.evaluate(self.it.signed(self.seed, action))
        self.assertEqual(answer.decision.outcome, self.policy.OUTCOME_DEFER)
        self.assertTrue(any(f.primitive == self.policy.PRIMITIVE_KILL_SWITCH and f.result == self.policy.Finding.RESULT_FAIL
                            for f in answer.decision.findings))
        self.it.cli("kill", "clear", "--verb", "drain")
        wait_for("the kill switch to be cleared", lambda: "drain" not in self.it.cli("kill", "status"))

    def test_log_verifies_offline(self):
        self.it.cli("evaluate", "--agent", "deployer", "--verb", "restart", "--target", "service:prod/shop/email",
                    "--action-id", "evidence")
        self.assertIn("verified", self.it.cli("audit", "verify").lower())
        shown = self.it.cli("audit", "show", "evidence")
        self.assertIn("ALLOW", shown)


if __name__ == "__main__":
    unittest.main()
