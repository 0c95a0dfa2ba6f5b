"""Starting: nothing is decided before the log holds what decisions rest on, and a process that waits says so."""

import pathlib
import sys
import unittest
import urllib.error
import urllib.request

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from installation import Installation, error_info, wait_for  # noqa: E402

SERVING = {200: True, 503: False}


class Start(unittest.TestCase):
    def is_serving(self, it):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{it.where('policy')['http_port']}/healthz", timeout=10) as answer:
                return SERVING[answer.status]
        except urllib.error.HTTPError as error:
            return SERVING[error.code]

    def test_policy_waits_for_the_log_and_the_log_begins_with_the_control_data(self):
        with Installation(start=False) as it:
            it.start(("signer", "graph", "policy"))  # it is announced, and does not serve
            self.assertFalse(self.is_serving(it))
            envelope = it.signed(bytes(32), it.action("nobody", "early", "service:prod/shop/email"))
            with self.assertRaises(grpc.RpcError) as caught:
                it.evaluate(envelope)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
            self.assertEqual(error_info(caught.exception)[0], "STARTING")
            it.start_one("audit")
            wait_for("policy to serve", lambda: self.is_serving(it))
            self.assertEqual(len(it.json("audit", "list")["entries"]), 3, "the log's beginning, an enrolment, a policy set")
            listed = it.cli("audit", "list")
            self.assertIn("ENROLLED", listed)
            self.assertIn("POLICY_SET", listed)
            self.assertEqual(it.stop("policy"), 0)

    def test_a_first_decision_stands_behind_the_control_data(self):
        with Installation(start=False) as it:
            it.start()
            self.assertTrue(self.is_serving(it), "what is announced serves")
            seed = it.enroll("deployer")
            answer = it.evaluate(it.signed(seed, it.action("deployer", "first", "service:prod/shop/email", verb="restart")))
            self.assertEqual(answer.receipt.index, 4, "behind the log's beginning, two enrolments and the policy set")

    def test_a_process_that_waits_stops_when_asked(self):
        with Installation(start=False) as it:
            it.start(("signer", "graph", "policy"))
            self.assertEqual(it.stop("policy"), 0)
            self.assertFalse((it.data / "run" / "policy.json").exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
