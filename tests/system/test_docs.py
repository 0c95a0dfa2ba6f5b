"""Every command that the documents show is run. A block marked ```console holds lines `$ command`; they run in order, in one
installation with the sample shop, and must end as the page says: with 0, or with N where the line ends in `# exit N`.
Commands that install, build or stay in the foreground are tested by name elsewhere and listed here."""

import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from installation import BUILD, ROOT, Installation  # noqa: E402

ELSEWHERE = {
    "scripts/quickstart": "test_quickstart.py",
    "scripts/quickstart --exit": "test_quickstart.py",
    "scripts/test": "this very run",
    "scripts/bootstrap": "every run starts with it",
    "scripts/bootstrap --tests": "every run starts with it",
    "scripts/check": "part of scripts/test",
    "scripts/check --fast": "part of scripts/test",
    "scripts/bench": "test_bench.py",
    "scripts/bench --quick": "test_bench.py",
    "interlock dev": "test_quickstart.py",
    "interlock dev --init": "test_quickstart.py",
    "interlock --data-dir /var/lib/interlock init --name acme --etcd http://10.0.0.1:2379,http://10.0.0.2:2379": "test_etcd.py",
    "deploy/container/build": "needs buildah and the network",
}


def pages():
    return sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.md"),
                   *(ROOT / "services").rglob("README.md")])


def commands(page):
    for block in re.findall(r"^```console\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                command, _, wanted = line[2:].partition("# exit ")
                yield command.strip(), int(wanted or 0)


class Docs(unittest.TestCase):
    def test_no_command_hides_from_this_test(self):
        for page in pages():
            for fence in re.findall(r"^```(\w+)$", page.read_text(), re.MULTILINE):
                self.assertNotIn(fence, ("sh", "bash", "shell"), f"{page.name}: use ```console so that it is run")

    def test_every_command_shown_runs(self):
        with Installation() as it:
            it.ingest_shop()
            (it.folder / "shop.jsonl").write_text(subprocess.run(
                ["/usr/bin/python3", ROOT / "examples" / "shop" / "generate.py"], capture_output=True, text=True, check=True).stdout)
            environment = {**os.environ, "PATH": f"{BUILD}:{os.environ['PATH']}", "INTERLOCK_DATA_DIR": str(it.data),
                           "SHOP": str(it.folder / "shop.jsonl"), "TMP": str(it.folder)}
            ran = 0
            for page in pages():
                for command, wanted in commands(page):
                    if command in ELSEWHERE:
                        continue
                    with self.subTest(page=str(page.relative_to(ROOT)), command=command):
                        done = subprocess.run(["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True,
                                              stdin=subprocess.DEVNULL, timeout=120)
                        self.assertEqual(done.returncode, wanted, done.stdout[-1500:] + done.stderr[-1500:])
                    ran += 1
            self.assertGreater(ran, 5)


if __name__ == "__main__":
    unittest.main(verbosity=2)
