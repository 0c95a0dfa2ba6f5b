"""What deploy/ ships: sample configurations that the programs accept, units that systemd rates as hardened."""

import pathlib
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from installation import BUILD, ROOT, SERVICES, Installation  # noqa: E402


class Deploy(unittest.TestCase):
    def test_sample_configurations_check_out(self):
        with Installation(start=False) as it:
            for service in SERVICES:
                sample = (ROOT / "deploy" / "config" / f"{service}.yaml").read_text()
                file = it.folder / f"{service}.yaml"
                file.write_text(sample.replace("/var/lib/interlock", str(it.data)))
                done = subprocess.run([BUILD / f"interlock-{service}", "--config", file, "-n"], capture_output=True, text=True, timeout=30)
                self.assertEqual(done.returncode, 0, f"{service}: {done.stdout}{done.stderr}")
                file.write_text(file.read_text() + "no_such_key: 1\n")
                done = subprocess.run([BUILD / f"interlock-{service}", "--config", file, "-n"], capture_output=True, text=True, timeout=30)
                self.assertEqual(done.returncode, 2, f"{service} must refuse an unknown key")
                self.assertIn("no_such_key", done.stderr + done.stdout)

    def test_help_and_version(self):
        for service in SERVICES:
            for flag, word in (("--help", "--data-dir"), ("--version", "interlock")):
                done = subprocess.run([BUILD / f"interlock-{service}", flag], capture_output=True, text=True, timeout=30)
                self.assertEqual(done.returncode, 0)
                self.assertIn(word, done.stdout)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not here")
    def test_units_are_hardened(self):
        for unit in sorted((ROOT / "deploy" / "systemd").glob("*.service")):
            done = subprocess.run(["systemd-analyze", "security", "--offline=true", unit], capture_output=True, text=True, timeout=60)
            level = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
            self.assertIsNotNone(level, done.stdout + done.stderr)
            self.assertLessEqual(float(level[1]), 2.0, unit.name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
