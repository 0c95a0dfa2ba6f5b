"""The command line as a person uses it: exit codes, set-up that is all or nothing, a development set-up that stops as a whole."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from installation import BUILD, SERVICES, Installation, proto, sign, wait_for  # noqa: E402

INTERLOCK = str(BUILD / "interlock")


def run(data, *arguments):
    return subprocess.run([INTERLOCK, "--data-dir", str(data), *arguments], capture_output=True, text=True, timeout=120,
                          stdin=subprocess.DEVNULL)


class SetUp(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="il-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.data = self.folder / "data"

    def test_init_is_private_and_never_over_another(self):
        self.assertEqual(run(self.data, "init").returncode, 0)
        for path in (self.data, self.data / "keys", self.data / "tls"):
            self.assertEqual(path.stat().st_mode & 0o077, 0, path)
        before = {path: path.read_bytes() for path in self.data.rglob("*") if path.is_file()}
        again = run(self.data, "init")
        self.assertEqual(again.returncode, 1)
        self.assertIn("not empty", again.stderr)
        self.assertEqual(before, {path: path.read_bytes() for path in self.data.rglob("*") if path.is_file()})
        self.assertEqual(run(self.data, "doctor").returncode, 0)

    def test_init_that_fails_leaves_nothing(self):
        for arguments in (["--name", "NOT a name"], ["--policy", str(self.folder / "absent.yaml")]):
            self.assertEqual(run(self.data, "init", *arguments).returncode, 1)
            self.assertEqual(list(self.folder.iterdir()), [])

    def test_init_takes_an_empty_folder(self):
        self.data.mkdir()
        self.assertEqual(run(self.data, "init", "--name", "here").returncode, 0)
        self.assertIn("here", (self.data / "installation.yaml").read_text())
        self.assertEqual([path.name for path in self.data.iterdir() if path.name.startswith(".")], [])

    def test_doctor_finds_an_exposed_key(self):
        run(self.data, "init")
        (self.data / "keys" / "operator.key").chmod(0o644)
        found = run(self.data, "doctor")
        self.assertEqual(found.returncode, 1)
        self.assertIn("operator.key", found.stdout)

    def test_usage(self):
        for arguments in (["nothing"], ["graph"], ["graph", "show", "--colour"], ["evaluate"], ["kill", "set"], ["outcome", "report", "a"]):
            done = run(self.data, *arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn("interlock:", done.stderr)
        for arguments in (["--help"], ["--version"], ["graph", "--help"], ["evaluate", "--help"]):
            self.assertEqual(run(self.data, *arguments).returncode, 0, arguments)

    def test_without_an_installation_it_says_what_to_do(self):
        for arguments in (["status"], ["graph", "show"], ["audit", "verify"], ["dev"]):
            done = run(self.data, *arguments)
            self.assertEqual(done.returncode, 1)
            self.assertIn("interlock init", done.stderr)

    # ---- dev -------------------------------------------------------------------------------------------------------
    def dev(self):
        output = open(self.folder / "dev.out", "wb")
        process = subprocess.Popen([INTERLOCK, "--data-dir", str(self.data), "dev", "--init", "--ports", "auto"], stdout=output,
                                   stderr=output, stdin=subprocess.DEVNULL)
        output.close()
        self.addCleanup(self.end, process)
        wait_for("dev to serve", lambda: "Ctrl-C stops" in self.output() or process.poll() is not None, 60)
        self.assertIsNone(process.poll(), self.output())
        return process

    def end(self, process):
        if process.poll() is None:
            process.terminate()
            process.wait(60)

    def output(self):
        return (self.folder / "dev.out").read_text()

    def pids(self):
        return [json.loads((self.data / "run" / f"{service}.json").read_text())["pid"] for service in SERVICES]

    def assert_all_gone(self, pids):
        for pid in pids:
            self.assertFalse(pathlib.Path(f"/proc/{pid}/exe").exists(), "a service is left behind")

    def test_dev_stops_as_a_whole_on_ctrl_c(self):
        process = self.dev()
        self.assertEqual(run(self.data, "status").returncode, 0)
        states = json.loads(run(self.data, "status", "-o", "json").stdout)["services"]
        self.assertEqual([state["name"] for state in states if state["serving"]], list(SERVICES))
        second = run(self.data, "dev", "--ports", "auto")
        self.assertEqual(second.returncode, 1, "two sets of services on one data folder")
        self.assertIn("already runs", second.stderr)
        self.assertEqual(run(self.data, "status").returncode, 0, "the first set is still served")
        pids = self.pids()
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), 0, self.output())
        self.assert_all_gone(pids)
        self.assertEqual(run(self.data, "status").returncode, 1)

    def test_dev_names_the_service_that_died(self):
        process = self.dev()
        pids = self.pids()
        os.kill(pids[SERVICES.index("graph")], signal.SIGKILL)
        self.assertEqual(process.wait(60), 1)
        self.assertIn("graph was ended by signal 9", self.output())
        self.assert_all_gone(pids)


class Answers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.it = Installation()
        cls.addClassCleanup(cls.it.close)
        cls.it.ingest_shop()
        cls.it.enroll("deployer")
        wait_for("a first decision", lambda: cls.it.cli(*cls.restart(), code=None)[0] == 0)

    @staticmethod
    def restart(*more):
        return ("evaluate", "--agent", "deployer", "--verb", "restart", "--target", "service:prod/shop/email", *more)

    def test_the_same_bytes_get_the_same_decision(self):
        file = self.it.folder / "kept.envelope"
        first = self.it.json(*self.restart("--save-envelope", str(file)))
        again = self.it.json("evaluate", "--envelope", str(file))
        self.assertTrue(again["repeated"])
        self.assertEqual(first["permit"], again["permit"])
        self.assertEqual(first["receipt"]["index"], again["receipt"]["index"])
        self.assertEqual(file.stat().st_mode & 0o077, 0)

    def test_an_action_from_a_file_and_from_flags(self):
        file = self.it.folder / "action.json"
        file.write_text(json.dumps({"actionId": "from-file", "verb": "restart", "intent": "it hangs",
                                    "targets": ["service:prod/shop/email"], "reversal": {"verb": "restart"}}))
        answer = self.it.json("evaluate", "--agent", "deployer", "--file", str(file), "--dry-run")
        self.assertEqual(answer["decision"]["mode"], "MODE_DRY_RUN")
        self.assertNotIn("permit", answer)
        diff = self.it.folder / "change.diff"
        diff.write_text("-timeout: 1\n+timeout: 2\n")
        self.it.cli(*self.restart("--arg", "zone=b", "--arg", "area=a", "--diff", str(diff), "--model", "acme/planner/1",
                                  "--percent", "10", "--reversal", "rollback", "--intent", "slower"))
        file.write_text('{"verb": "restart", "colour": "red"}')
        code, output = self.it.cli("evaluate", "--agent", "deployer", "--file", str(file), code=None)
        self.assertEqual(code, 2)
        self.assertIn("colour", output)

    def test_a_killed_scope_defers(self):
        self.it.cli("kill", "set", "--agent", "deployer", "--reason", "a test")
        self.addCleanup(self.it.cli, "kill", "clear", "--agent", "deployer", code=None)
        self.assertEqual(self.it.cli(*self.restart(), code=None)[0], 5)
        shown = self.it.cli("kill", "status")
        self.assertIn("agent/deployer", shown)
        self.it.cli("kill", "clear", "--agent", "deployer")
        self.it.cli("kill", "set", "--agent", "deployer", "--reason", "set again after a clear")
        self.it.cli("kill", "clear", "--agent", "deployer")
        wait_for("decisions again", lambda: self.it.cli(*self.restart(), code=None)[0] == 0)

    def test_a_version_from_a_clock_that_was_ahead_does_not_stop_the_kill_switch(self):
        control, stubs = proto("interlock.control.v1.control")
        kind = "application/vnd.interlock.kill.v1+protobuf"
        now = int(time.time() * 1000)
        kill = control.Kill(scope=control.Kill.SCOPE_VERB, subject="ahead", set=False, version=now + 40 * 86400000)
        kill.header.type, kill.header.installation, kill.header.principal = kind, self.it.name, "operator/local"
        kill.header.issued_at_ms, kill.header.nonce = now, os.urandom(32)
        statement = sign(self.it.seed("operator.key"), kind, kill.SerializeToString(deterministic=True))
        stub = stubs.ControlServiceStub(self.it.channel("policy", "operator"))
        stub.PutControl(control.PutControlRequest(statement=statement), timeout=10)
        self.it.cli("kill", "set", "--verb", "ahead", "--reason", "now")
        self.assertIn("ahead", self.it.cli("kill", "status"))
        self.it.cli("kill", "clear", "--verb", "ahead")

    def test_list_filters_and_show(self):
        self.it.cli("evaluate", "--agent", "deployer", "--verb", "deploy", "--target", "service:prod/shop/cart", "--action-id", "no-way",
                    code=3)
        self.it.cli(*self.restart("--action-id", "yes"))
        denied = self.it.cli("audit", "list", "--verdict", "DENY")
        self.assertIn("no-way", denied)
        self.assertNotIn(" yes", denied)
        self.assertEqual(self.it.json("audit", "list", "--action", "nobody")["entries"], [])
        self.assertEqual(len(self.it.json("audit", "list", "--limit", "2")["entries"]), 2)
        newest = int(self.it.json("audit", "list", "--limit", "1")["entries"][0]["index"])
        self.assertIn("ALLOW", self.it.cli("audit", "show", str(newest)))
        self.assertIn("GENESIS", self.it.cli("audit", "show", "0"))
        self.it.cli("audit", "show", "nobody", code=1)
        self.it.cli("audit", "show", str(newest + 1000), code=1)

    def test_verify_fails_against_another_root_of_trust(self):
        self.it.cli("audit", "verify")
        text = (self.it.data / "installation.yaml").read_text()
        for principal in ("service/audit", "service/policy", "operator/local"):
            with self.subTest(principal=principal):
                other = self.it.folder / f"other-{principal.replace('/', '-')}"
                other.mkdir()
                (other / "run").symlink_to(self.it.data / "run")
                changed = re.sub(rf'(principal: "?{principal}"?\s+purpose: \w+\s+public_key: ")(.)',
                                 lambda found: found[1] + ("A" if found[2] != "A" else "B"), text)
                self.assertNotEqual(changed, text)
                (other / "installation.yaml").write_text(changed)
                done = run(other, "audit", "verify")
                self.assertEqual(done.returncode, 6, done.stdout + done.stderr)

    def test_a_line_that_is_no_telemetry_is_named(self):
        code, output = self.it.cli("graph", "ingest", "-", text='{"resourceSpans":[]}\n\n{"resourceSpans":[{]}\n', code=None)
        self.assertEqual(code, 1)
        self.assertRegex(output, r"-:2: ")

    def test_revoked_agents_are_listed_and_refused(self):
        self.it.enroll("leaver")
        self.it.cli("agent", "revoke", "leaver")
        self.it.cli("agent", "revoke", "leaver", code=1)
        self.assertRegex(self.it.cli("agent", "list"), r"agent/leaver .* revoked")
        code, output = self.it.cli("evaluate", "--agent", "leaver", "--verb", "restart", "--target", "service:prod/shop/email", code=None)
        self.assertEqual(code, 1)
        self.assertIn("revoked", output)

    def test_a_policy_document_goes_up_only(self):
        shown = self.it.cli("policy", "show")
        version = int(re.search(r"Version +(\d+)", shown)[1])
        document = (pathlib.Path(__file__).resolve().parents[2] / "deploy" / "policy.yaml").read_text()
        file = self.it.folder / "policy.yaml"
        file.write_text(document.replace(f"version: {version}\n", f"version: {version + 1}\n"))
        self.it.cli("policy", "set", str(file))
        wait_for("the new version", lambda: f"Version  {version + 1}" in self.it.cli("policy", "show"))
        file.write_text(document)
        self.it.cli("policy", "set", str(file), code=1)
        file.write_text(document.replace("effect: permit", "effect: perhaps").replace(f"version: {version}\n", f"version: {version + 2}\n"))
        code, output = self.it.cli("policy", "set", str(file), code=None)
        self.assertEqual(code, 1)
        self.assertRegex(output, r"\d+:\d+")


if __name__ == "__main__":
    unittest.main(verbosity=2)
