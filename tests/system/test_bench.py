"""scripts/bench runs and prints what it promises. What the figures are is not tested: speed has no place in a test."""

import json
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from installation import ROOT  # noqa: E402

PROMISED = {"rpc.echo_cpu_ratio", "evaluate.cpu_ratio", "evaluate.per_second_core", "evaluate.p99_us_c1"}


class Bench(unittest.TestCase):
    def test_quick(self):
        done = subprocess.run([ROOT / "scripts" / "bench", "rpc", "evaluate", "--quick"], capture_output=True, text=True, timeout=600)
        self.assertEqual(done.returncode, 0, done.stderr[-3000:])
        figures = {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}
        self.assertLessEqual(PROMISED, set(figures))
        for line in figures.values():
            self.assertLessEqual({"name", "value", "unit", "target", "ok"}, set(line), line)
        self.assertEqual(figures["evaluate.cpu_ratio"]["errors"], 0)
        print(done.stdout)

    def test_unknown_name(self):
        done = subprocess.run([ROOT / "scripts" / "bench", "nothing"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
