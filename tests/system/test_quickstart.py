"""scripts/quickstart as a new user runs it."""

import pathlib
import re
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from installation import ROOT  # noqa: E402


class Quickstart(unittest.TestCase):
    def test_exit(self):
        done = subprocess.run([ROOT / "scripts" / "quickstart", "--exit"], capture_output=True, text=True, timeout=600)
        self.assertEqual(done.returncode, 0, done.stdout[-4000:] + done.stderr[-2000:])
        for words in ("DENY", "ALLOW", "Permit", "verified", "Seen:"):
            self.assertIn(words, done.stdout)

    def test_ctrl_c_stops_everything(self):
        process = subprocess.Popen([ROOT / "scripts" / "quickstart"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   start_new_session=True,
                                   # As at a terminal: a test runner in the background has SIGINT ignored, and a shell cannot
                                   # trap what was ignored when it started.
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C stops the services and removes" in line:
                break
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, "".join(lines[-20:]) + rest)
        self.assertIn("have stopped", rest)
        folder = re.search(r"INTERLOCK_DATA_DIR=(\S+)", "".join(lines))[1]
        left = subprocess.run(["pgrep", "-f", folder], capture_output=True, text=True).stdout
        self.assertEqual(left.strip(), "")


if __name__ == "__main__":
    unittest.main(verbosity=2)
