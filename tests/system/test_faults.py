"""Crashes, a full disk, silent and missing services: nothing acknowledged is lost, nothing is decided that is not in the log."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from installation import Installation, error_info, proto, wait_for  # noqa: E402

CODE = grpc.StatusCode


class Faults(unittest.TestCase):
    def setUp(self):
        self.policy, _ = proto("interlock.policy.v1.policy")

    def installation(self, **named):
        it = Installation(**named)
        self.addCleanup(it.close)
        it.ingest_shop()
        self.seed = it.enroll("deployer")
        self.wait_until_decided(it)
        return it

    def wait_until_decided(self, it):
        """Views and control data are there once an action on the shop is decided for good."""
        counter = iter(range(1000))

        def decided():
            try:
                answer = it.evaluate(self.envelope(it, f"warm-{time.monotonic_ns()}-{next(counter)}"))
                return answer.decision.outcome == self.policy.OUTCOME_ALLOW
            except grpc.RpcError:
                return False

        wait_for("a first decision", decided, 30)

    def envelope(self, it, action_id):
        return it.signed(self.seed, it.action("deployer", action_id, "service:prod/shop/email", verb="restart"))

    def decisions(self, it, action_id):
        return it.json("audit", "list", "--action", action_id)["entries"]

    def refused(self, it, envelope, *codes, timeout=5, unix=False):
        with self.assertRaises(grpc.RpcError) as caught:
            it.evaluate(envelope, timeout=timeout, unix=unix)
        self.assertIn(caught.exception.code(), codes, caught.exception.details())
        return error_info(caught.exception)

    def eventually_allowed(self, it, envelope):
        found = []

        def allowed():
            try:
                found.append(it.evaluate(envelope))
                return found[-1].decision.outcome == self.policy.OUTCOME_ALLOW
            except grpc.RpcError:
                return False

        wait_for("the decision after the fault", allowed, 30)
        return found[-1]

    def test_policy_killed_between_append_and_answer(self):
        it = self.installation()
        envelope = self.envelope(it, "torn")
        # The signer stands still: the decision is recorded, the permit is not signed, nobody is answered.
        it.signal("signer", signal.SIGSTOP)
        answers = []
        caller = threading.Thread(target=lambda: answers.append(self.outcome_of(it, envelope)))
        caller.start()
        wait_for("the record", lambda: len(self.decisions(it, "torn")) == 1)
        it.kill("policy")
        caller.join(20)
        self.assertEqual(answers, [None], "the call must have failed")
        it.signal("signer", signal.SIGCONT)
        it.start_one("policy")
        first = self.eventually_allowed(it, envelope)
        again = it.evaluate(envelope)
        self.assertTrue(first.permit)
        self.assertEqual((first.permit, first.receipt.index), (again.permit, again.receipt.index))
        records = self.decisions(it, "torn")
        self.assertEqual(len(records), 1, "one action, one decision")
        self.assertEqual(int(records[0]["index"]), first.receipt.index)
        it.cli("audit", "verify")

    def outcome_of(self, it, envelope):
        try:
            return it.evaluate(envelope).decision.outcome
        except grpc.RpcError:
            return None

    def test_audit_down_then_back(self):
        it = self.installation()
        it.kill("audit")
        reason, message = self.refused(it, self.envelope(it, "down"), CODE.UNAVAILABLE, CODE.DEADLINE_EXCEEDED)
        self.assertTrue(message)
        it.start_one("audit")
        answer = self.eventually_allowed(it, self.envelope(it, "down-again"))
        self.assertGreater(answer.receipt.index, 0)
        for entry in self.decisions(it, "down"):
            self.assertTrue(entry["record"], "what is in the log is whole")
        it.cli("audit", "verify")

    def test_audit_stopped_is_noticed_and_a_retry_gets_the_one_decision(self):
        it = self.installation()
        it.signal("audit", signal.SIGSTOP)
        envelope = self.envelope(it, "silent")
        self.refused(it, envelope, CODE.UNAVAILABLE, CODE.DEADLINE_EXCEEDED, timeout=3)
        it.signal("audit", signal.SIGCONT)
        first = self.eventually_allowed(it, envelope)
        self.assertEqual(it.evaluate(envelope).permit, first.permit)
        self.assertEqual(len(self.decisions(it, "silent")), 1)

    def test_graph_down_defers(self):
        it = self.installation()
        it.kill("graph")

        def deferred():
            answer = it.evaluate(self.envelope(it, f"stale-{time.monotonic_ns()}"))
            return answer.decision.outcome == self.policy.OUTCOME_DEFER and answer.decision.retry_after_ms > 0

        wait_for("the view to be too old", deferred, 30)
        it.start_one("graph")
        self.eventually_allowed(it, self.envelope(it, "fresh-again"))

    def test_memory_down_changes_nothing_for_decisions(self):
        it = self.installation()
        it.kill("memory")
        self.eventually_allowed(it, self.envelope(it, "without-memory"))

    def test_deferred_action_is_decided_anew(self):
        it = self.installation()
        it.cli("kill", "set", "--verb", "restart", "--reason", "a test")
        envelope = self.envelope(it, "deferred")
        wait_for("the kill switch", lambda: it.evaluate(envelope).decision.outcome == self.policy.OUTCOME_DEFER)
        it.cli("kill", "clear", "--verb", "restart")
        answer = self.eventually_allowed(it, envelope)
        self.assertTrue(answer.permit)
        verdicts = [entry for entry in self.decisions(it, "deferred")]
        self.assertGreaterEqual(len(verdicts), 2)

    def test_everything_killed_at_once_and_started_again(self):
        it = self.installation()
        kept = {name: it.evaluate(self.envelope(it, name)) for name in ("a", "b", "c")}
        envelope = self.envelope(it, "d")
        kept_d = it.evaluate(envelope)
        for service in list(it.processes):
            it.kill(service)
        it.start()
        self.assertEqual(self.eventually_allowed(it, envelope).permit, kept_d.permit)
        for name, answer in kept.items():
            entries = self.decisions(it, name)
            self.assertEqual([int(entry["index"]) for entry in entries], [answer.receipt.index])
        it.cli("audit", "verify")

    def test_services_stop_cleanly(self):
        it = self.installation()
        for service in ("policy", "memory", "graph", "audit", "signer"):
            self.assertEqual(it.stop(service), 0, it.log(service)[-2000:])

    def test_a_clock_that_steps(self):
        library = next(iter(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
        if library is None:
            self.skipTest("libfaketime is not installed")
        it = self.installation()
        steps = it.folder / "clock"
        steps.write_text("+0\n")
        it.stop("policy")
        it.start_one("policy", environment={"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(steps), "FAKETIME_NO_CACHE": "1",
                                            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"})
        self.eventually_allowed(it, self.envelope(it, "before-the-step"))
        known = self.envelope(it, "known")
        first = it.evaluate(known)
        steps.write_text("+2h\n")
        time.sleep(0.2)
        # Two hours ahead, fresh statements look expired: refused with the reason, while what is known is repeated.
        reason, message = self.refused(it, self.envelope(it, "ahead"), CODE.INVALID_ARGUMENT, unix=True)
        self.assertEqual(reason, "STATEMENT_EXPIRED")
        self.assertIn("clock", message)
        self.assertEqual(it.evaluate(known, unix=True).permit, first.permit)
        # (Certificates made today are not valid two hours ago, so the rest goes over the unix socket.)
        steps.write_text("-2h\n")
        time.sleep(0.2)
        reason, message = self.refused(it, self.envelope(it, "behind"), CODE.INVALID_ARGUMENT, unix=True)
        self.assertEqual(reason, "STATEMENT_FROM_THE_FUTURE")
        steps.write_text("+0\n")
        time.sleep(0.2)
        self.eventually_allowed(it, self.envelope(it, "after-the-step"))

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("mount"), "needs root to mount a small disk")
    def test_full_disk_at_audit(self):
        it = Installation(start=False)
        self.addCleanup(it.close)
        disk = it.data / "audit"
        disk.mkdir(exist_ok=True, mode=0o700)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", str(disk)], capture_output=True).returncode:
            self.skipTest("mounting is not allowed here")
        self.addCleanup(subprocess.run, ["umount", "-l", str(disk)], capture_output=True)
        it.start()
        it.ingest_shop()
        self.seed = it.enroll("deployer")
        self.wait_until_decided(it)
        filler = disk / "filler"
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)
        refusals = 0
        decided = []
        for number in range(400):
            try:
                name = f"full-{number}"
                decided.append((name, it.evaluate(self.envelope(it, name), timeout=5).receipt.index))
            except grpc.RpcError as error:
                self.assertIn(error.code(), (CODE.UNAVAILABLE, CODE.DEADLINE_EXCEEDED, CODE.RESOURCE_EXHAUSTED), error.details())
                refusals += 1
                if refusals == 3:
                    break
        self.assertEqual(refusals, 3, "the disk never became full")
        filler.unlink()
        if it.processes["audit"].poll() is not None:
            it.start_one("audit")
        self.eventually_allowed(it, self.envelope(it, "space-again"))
        for name, index in decided:
            self.assertEqual([int(entry["index"]) for entry in self.decisions(it, name)], [index])
        it.cli("audit", "verify")
        it.stop("audit")


if __name__ == "__main__":
    unittest.main(verbosity=2)
