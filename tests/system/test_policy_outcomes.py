"""What policies open, narrow, hold back and count, with the real log and the real signer."""
import base64
import hashlib
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from installation import Installation, proto  # noqa: E402

DOCUMENT = "---\napiVersion: interlock/v1\nkind: {}\nmetadata: {{name: {}}}\nspec:\n"


def document(kind, name, *lines):
    return DOCUMENT.format(kind, name) + "".join(f"  {line}\n" for line in lines)


def policy(name, verb, *lines):
    return document("Policy", name, f"match: {{verbs: [{verb}], targets: [\"*\"]}}", *lines)


POLICIES = (
    "apiVersion: interlock/v1\nkind: PolicySet\nmetadata: {name: outcomes, version: 1}\n"
    + document("Stage", "shop", "targets: [\"service:prod/shop/*\"]", "stage: constrained")
    + document("Quorum", "two", "groups: [{name: any, members: [\"approver/*\"], at_least: 2}]")
    + document("RateLimit", "restarts", "match: {verbs: [restart], targets: [\"*\"]}", "per: [target]", "most: 2", "window: 1h")
    + policy("restarts", "restart", "effect: permit")
    + policy("slowly", "traffic.shift", "effect: permit", "bounds: {percent: 10}")
    + policy("asked", "scale", "effect: review", "quorum: two")
    + policy("proven", "deploy", "effect: permit", "when: history.failed == 0")
    + policy("versioned", "config.set", "effect: permit", "when: action.arguments[\"version\"] != \"\"")
)
CART, MAIL = "service:prod/shop/cart", "service:prod/shop/email"


class Outcomes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(POLICIES)
            file.flush()
            cls.it = Installation(policy=file.name)
        cls.addClassCleanup(cls.it.close)
        cls.seed = cls.it.enroll("worker")
        cls.it.ingest_shop()
        cls.policy, _ = proto("interlock.policy.v1.policy")

    def propose(self, action_id, verb, target=CART, **fields):
        action = self.it.action("worker", action_id, target, verb=verb, **fields)
        return action, self.it.evaluate(self.it.signed(self.seed, action))

    def check(self, answer, outcome, reason):
        self.assertEqual(self.policy.Outcome.Name(answer.decision.outcome), f"OUTCOME_{outcome}", answer.decision.summary)
        self.assertIn(reason, [finding.reason for finding in answer.decision.findings])
        self.assertEqual(bool(answer.permit), outcome in ("ALLOW", "MODIFY"))
        self.assertEqual(answer.decision.policies[0].name, "outcomes")

    @staticmethod
    def claims(permit):
        payload = permit.split(".")[1]
        return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))

    def test_a_limit_holds_each_target_by_itself(self):
        first, answer = self.propose("limit-1", "restart")
        self.check(answer, "ALLOW", "COUNTED")
        again = self.it.evaluate(self.it.signed(self.seed, first))  # the same action is not counted again
        self.assertTrue(again.repeated)
        self.check(self.propose("limit-2", "restart")[1], "ALLOW", "COUNTED")
        used_up = self.propose("limit-3", "restart")[1]
        self.check(used_up, "DEFER", "COUNTER_EXHAUSTED")
        self.assertGreater(used_up.decision.retry_after_ms, 0)
        self.check(self.propose("limit-4", "restart", MAIL)[1], "ALLOW", "COUNTED")

    def test_narrowed(self):
        action, answer = self.propose("narrow-1", "traffic.shift")
        self.check(answer, "MODIFY", "NARROWED")
        self.assertEqual(answer.decision.bounds.percent, 10)
        action.reach.percent = 10
        effective = hashlib.sha256(action.SerializeToString(deterministic=True)).digest()
        self.assertEqual(answer.decision.permit.effective_digest, effective)
        self.assertNotEqual(answer.decision.permit.effective_digest, answer.decision.permit.action_digest)
        claims = self.claims(answer.permit)
        self.assertNotEqual(claims["act"], claims["eff"])
        self.check(self.propose("narrow-2", "traffic.shift", reach=self.policy.Reach(percent=10))[1], "ALLOW", "WITHIN_BOUND")

    def test_approval_opens_nothing_yet(self):
        answer = self.propose("review-1", "scale")[1]
        self.check(answer, "REVIEW", "NEEDS_APPROVAL")
        self.assertEqual(list(answer.decision.quorums), ["two"])

    def test_what_is_unknown_and_what_fails(self):
        answer = self.propose("unknown-1", "deploy")[1]
        self.check(answer, "DEFER", "FACT_UNKNOWN")
        self.assertIn("history.failed", answer.decision.summary)
        self.check(self.propose("failed-1", "config.set")[1], "DENY", "RULE_FAILED")
        versioned = [self.policy.Argument(name="version", value="2")]
        self.check(self.propose("failed-2", "config.set", arguments=versioned)[1], "ALLOW", "PERMITTED")
        self.check(self.propose("nothing-1", "exec")[1], "DENY", "NOTHING_PERMITTED")


if __name__ == "__main__":
    unittest.main()
