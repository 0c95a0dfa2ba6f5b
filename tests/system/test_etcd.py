"""The whole on a real etcd, with two replicas of policy: one action is decided once, whoever is asked; a kill switch reaches both;
without etcd nothing is permitted; what somebody changes in etcd by hand counts for nothing."""

import contextlib
import pathlib
import signal
import subprocess
import sys
import threading
import time
import unittest

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from installation import BUILD, Etcd, Installation, Replica, proto, wait_for  # noqa: E402

ROUNDS = 40


class Etcded(unittest.TestCase):
    def setUp(self):
        self.policy, _ = proto("interlock.policy.v1.policy")
        self.it = Installation(etcd=True, signer_listens=True)
        self.addCleanup(self.it.close)
        self.it.ingest_shop()
        self.seed = self.it.enroll("deployer")
        self.other = Replica(self.it)
        self.addCleanup(self.other.close)
        self.both = (self.it, self.other)
        self.count = 0
        for replica in self.both:
            self.eventually_allowed(replica)

    def envelope(self, name=None):
        self.count += 1
        return self.it.signed(self.seed, self.it.action("deployer", name or f"action-{self.count}", "service:prod/shop/email", verb="restart"))

    def eventually_allowed(self, replica):
        def allowed():
            with contextlib.suppress(grpc.RpcError):
                return bool(replica.evaluate(self.envelope()).permit)
            return False

        wait_for("a permit", allowed, 30)

    def deferral(self, replica):
        """The reason and the message of the deferral of a new action; None when it was not deferred."""
        with contextlib.suppress(grpc.RpcError):
            answer = replica.evaluate(self.envelope())
            if answer.decision.outcome == self.policy.OUTCOME_DEFER:
                self.assertEqual(answer.permit, "")
                unknown = [f for f in answer.decision.findings if f.primitive == self.policy.PRIMITIVE_KILL_SWITCH]
                return unknown[0].reason, unknown[0].message
        return None

    def eventually_closed(self, replica):
        """Waits until new actions are deferred because control data are not fresh; then asks some more. Returns the message."""
        found = []

        def closed():
            found.append(self.deferral(replica))
            return found[-1] is not None and found[-1][0] == "CONTROL_NOT_FRESH"

        wait_for("CONTROL_NOT_FRESH", closed, 30)
        message = found[-1][1]
        for _ in range(5):
            self.assertEqual((self.deferral(replica) or [None])[0], "CONTROL_NOT_FRESH")
        return message

    def assertNotPermitted(self, replica):
        """Deferred, or refused as not known now: it may know nobody yet."""
        try:
            answer = replica.evaluate(self.envelope())
        except grpc.RpcError as error:
            self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE, error.details())
        else:
            self.assertEqual((answer.decision.outcome, answer.permit), (self.policy.OUTCOME_DEFER, ""))

    def replicas(self, asked):
        """{id: state} as a replica tells it."""
        listed = asked.json("kill", "status").get("replicas", [])
        return {one["id"]: one["state"].removeprefix("REPLICA_STATE_") for one in listed}

    def test_one_action_sent_to_both_at_once_is_decided_once(self):
        def ask(replica, envelope, barrier, answers):
            barrier.wait(10)
            answers.append(replica.evaluate(envelope))

        for number in range(ROUNDS):
            envelope, barrier, answers = self.envelope(f"race-{number}"), threading.Barrier(2), []
            callers = [threading.Thread(target=ask, args=(replica, envelope, barrier, answers)) for replica in self.both]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join(30)
            self.assertEqual(len(answers), 2, "both answer")
            first, second = answers
            self.assertEqual(first.decision.outcome, self.policy.OUTCOME_ALLOW, first.decision.summary)
            self.assertTrue(first.permit)
            self.assertEqual(first.permit, second.permit)
            self.assertEqual(first.receipt.index, second.receipt.index)
            self.assertEqual(first.decision, second.decision)
            records = self.it.json("audit", "list", "--action", f"race-{number}")["entries"]
            self.assertEqual([int(entry["index"]) for entry in records], [first.receipt.index])
        self.it.cli("audit", "verify")

    def test_a_kill_switch_set_through_one_is_obeyed_by_both(self):
        self.other.cli("kill", "set", "--reason", "a test")
        for replica in (self.it, self.other, self.it):
            # No wait: the fence stands in the log before `kill set` returns, so nobody gets a permit from here on.
            with contextlib.suppress(grpc.RpcError):
                answer = replica.evaluate(self.envelope())
                self.assertEqual((answer.decision.outcome, answer.permit), (self.policy.OUTCOME_DEFER, ""))
        for replica in self.both:
            wait_for("the kill switch", lambda: (self.deferral(replica) or [None])[0] == "KILL_SWITCH_SET")
            wait_for("both to confirm", lambda: self.replicas(replica) == {"policy-1": "CONFIRMED", "policy-2": "CONFIRMED"})
            text = replica.cli("kill", "status")
            self.assertIn("FENCED", text)
            self.assertEqual(text.count("CONFIRMED"), 2, text)
        self.it.cli("kill", "clear")
        for replica in self.both:
            self.eventually_allowed(replica)

    def test_a_stopped_etcd_closes_both_until_it_goes_on(self):
        self.it.etcd.signal(signal.SIGSTOP)
        for replica, own in zip(self.both, ("policy-1", "policy-2")):
            self.eventually_closed(replica)
            self.assertEqual(self.replicas(replica), {own: "SELF_CLOSED", "*": "UNKNOWN"})
            text = replica.cli("kill", "status")
            self.assertIn("SELF-CLOSED", text)
            self.assertIn("NOT FRESH", text)
        self.assertIn("NOT FRESH", self.it.cli("status"))
        code, text = self.it.cli("doctor", code=None)
        self.assertEqual(code, 1)
        self.assertRegex(text, r"PROBLEM +etcd")
        self.it.etcd.signal(signal.SIGCONT)
        for replica in self.both:
            self.eventually_allowed(replica)
        wait_for("both to confirm", lambda: self.replicas(self.it) == {"policy-1": "CONFIRMED", "policy-2": "CONFIRMED"})
        self.assertRegex(self.it.cli("doctor"), r"ok +etcd")

    def test_an_etcd_killed_and_restarted_on_its_data(self):
        self.it.etcd.kill()
        for replica in self.both:
            self.eventually_closed(replica)
        code, text = self.it.cli("kill", "set", "--reason", "nobody can write this", code=None)
        self.assertEqual(code, 1, text)
        self.other.kill("policy")
        with self.assertRaises(AssertionError) as caught:  # who knows nothing does not start
            self.other.start()
        self.assertIn("could not be read", str(caught.exception))
        self.it.etcd.start()
        self.other.start()
        for replica in self.both:
            self.eventually_allowed(replica)
        self.it.enroll("second")
        self.other.cli("kill", "set", "--verb", "restart", "--reason", "a test")
        for replica in self.both:
            wait_for("the kill switch", lambda: (self.deferral(replica) or [None])[0] == "KILL_SWITCH_SET")

    def test_what_is_changed_in_etcd_by_hand_never_counts(self):
        self.it.cli("kill", "set", "--verb", "scale", "--reason", "a test")
        etcd, base = self.it.etcd, f"interlock/{self.it.name}/control/"
        control = etcd.get(base, prefix=True)
        enrolment = next(key for key, value in control.items() if key.startswith(base + "enrolment/") and b"agent/deployer" in value)
        kill = next(key for key in control if key.startswith(base + "kill/"))
        flipped = bytearray(control[enrolment])
        flipped[len(flipped) // 2] ^= 1
        cases = {
            "a byte of an enrolment": (enrolment, bytes(flipped), "control/enrolment/"),
            "another key's statement": (enrolment, control[base + "policy"], "control/enrolment/"),
            "no kill switch": (kill, None, "disappeared"),
            "a lower sequence": (base + "seq", b"1", "control/seq"),
            "no sequence": (base + "seq", None, "control/seq"),
            "what nobody knows": (base + "surprise", b"x", "control/surprise"),
        }
        for name, (key, value, word) in cases.items():
            with self.subTest(name):
                try:
                    etcd.delete(key) if value is None else etcd.put(key, value)
                    self.check_closed_by(word)
                finally:
                    etcd.put(key, control[key]) if key in control else etcd.delete(key)
                for replica in self.both:
                    self.eventually_allowed(replica)

    def check_closed_by(self, word):
        for replica in self.both:
            self.assertIn(word, self.eventually_closed(replica))
            self.assertIn(word, replica.cli("kill", "status"))
        # Nor does a new process take it: the log tells it what was there.
        self.other.kill("policy")
        self.other.start()
        for _ in range(20):
            self.assertNotPermitted(self.other)
        wait_for("the reason", lambda: word in self.other.cli("kill", "status"))

    def test_an_etcd_restored_from_an_older_snapshot_is_repaired_as_the_document_says(self):
        etcd, snapshot = self.it.etcd, self.it.folder / "snapshot"
        etcd.snapshot(snapshot)
        self.it.cli("kill", "set", "--verb", "scale", "--reason", "after the snapshot")
        highest = self.it.json("kill", "status")["controlSeq"]
        etcd.restore(snapshot)
        for replica in self.both:
            self.eventually_closed(replica)
            wait_for("what is missing", lambda: "disappeared" in replica.cli("kill", "status"))
        code, text = self.it.cli("kill", "set", "--verb", "scale", "--reason", "too early", code=None)
        self.assertEqual(code, 1)
        self.assertIn("restore coordination first", text)
        etcd.put(f"interlock/{self.it.name}/control/seq", highest.encode())
        self.it.cli("kill", "set", "--verb", "scale", "--reason", "put back")
        for replica in self.both:
            self.eventually_allowed(replica)
            self.assertIn("put back", replica.cli("kill", "status"))

    def test_a_replica_that_died_leaves_the_list(self):
        wait_for("both to be listed", lambda: set(self.replicas(self.it)) == {"policy-1", "policy-2"})
        self.other.kill("policy")
        self.it.cli("kill", "set", "--verb", "scale", "--reason", "a test")
        self.assertNotEqual(self.replicas(self.it).get("policy-2"), "CONFIRMED", "it cannot have applied this")
        wait_for("its lease to end", lambda: self.replicas(self.it) == {"policy-1": "CONFIRMED"}, 40)
        self.other.start()
        wait_for("its return", lambda: self.replicas(self.it) == {"policy-1": "CONFIRMED", "policy-2": "CONFIRMED"})

    def test_a_replica_that_stops_leaves_the_list_at_once(self):
        wait_for("both to be listed", lambda: set(self.replicas(self.it)) == {"policy-1", "policy-2"})
        self.assertEqual(self.other.stop("policy"), 0)
        self.assertEqual(set(self.replicas(self.it)), {"policy-1"})


class Shared(unittest.TestCase):
    def test_two_installations_share_an_etcd_without_seeing_each_other(self):
        etcd = Etcd()
        self.addCleanup(etcd.close)
        services = ("signer", "audit", "policy")
        made = []
        for name in ("acme", "acme-2"):
            it = Installation(start=False, etcd=etcd, name=name)
            self.addCleanup(it.close)
            it.start(services)
            made.append(it)
        one, two = made
        one.enroll("only-of-one")
        one.cli("kill", "set", "--reason", "a test")
        self.assertEqual(len(one.json("kill", "status")["kills"]), 1)
        self.assertEqual(two.json("kill", "status").get("kills", []), [])
        self.assertEqual(len(two.json("kill", "status")["replicas"]), 1)
        self.assertNotIn("only-of-one", two.cli("agent", "list"))
        for it in made:
            self.assertTrue(it.json("kill", "status")["fresh"])
        keys = list(etcd.get("", prefix=True))
        self.assertEqual([key for key in keys if not key.startswith(("interlock/acme/", "interlock/acme-2/"))], [])
        self.assertTrue(any("~op/" in key for key in keys), "what coordination keeps for itself is there too")

    def test_init_takes_a_name_in_etcd_once(self):
        etcd = Etcd()
        self.addCleanup(etcd.close)
        first = Installation(start=False, etcd=etcd)
        self.addCleanup(first.close)
        before = etcd.get("interlock/", prefix=True)
        again = first.folder / "again"
        done = subprocess.run([BUILD / "interlock", "--data-dir", again, "init", "--name", first.name, "--etcd", etcd.url],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("holds an installation under interlock/test/ already", done.stderr)
        self.assertFalse(again.exists(), "nothing half-made stays")
        self.assertEqual({key: value for key, value in etcd.get("interlock/", prefix=True).items() if "~op/" not in key},
                         {key: value for key, value in before.items() if "~op/" not in key})
        etcd.kill()
        done = subprocess.run([BUILD / "interlock", "--data-dir", again, "init", "--name", "else", "--etcd", etcd.url],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn(etcd.url, done.stderr)
        self.assertFalse(again.exists())

    def test_dev_runs_on_what_init_recorded(self):
        it = Installation(start=False, etcd=True)
        self.addCleanup(it.close)
        with subprocess.Popen([BUILD / "interlock", "--data-dir", it.data, "dev", "--ports", "auto"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as dev:
            try:
                wait_for("policy to serve", lambda: (it.data / "run" / "policy.json").exists() or dev.poll() is not None, 60)
                it.cli("status")
                it.cli("kill", "set", "--reason", "a test")
                self.assertTrue(any("/control/kill/" in key for key in it.etcd.get("interlock/test/", prefix=True)))
                self.assertFalse((it.data / "coord" / "coord.db").exists(), "the embedded file is not used")
            finally:
                dev.send_signal(signal.SIGTERM)
                dev.wait(60)
        self.assertEqual(dev.returncode, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
