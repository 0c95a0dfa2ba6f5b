"""docs/policy.schema.json against the documents that the loader takes and refuses: whatever the loader takes, the schema takes; what the
schema can tell, it refuses too. tests/unit/policies/documents/bad.txt says which refusals it can tell."""
import json
import pathlib
import unittest

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = ROOT / "tests" / "unit" / "policies" / "documents"
SCHEMA = json.loads((ROOT / "docs" / "policy.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def problems(path):
    documents = list(yaml.safe_load_all(path.read_text()))
    return [f"{path.name}: {error.message}" for document in documents for error in VALIDATOR.iter_errors(document)]


def rows():
    for line in (DOCUMENTS / "bad.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, _, _, schema = (field.strip() for field in line.split(";"))
            yield name, schema == "schema"


class PolicySchema(unittest.TestCase):
    def test_schema_is_one(self):
        jsonschema.Draft202012Validator.check_schema(SCHEMA)

    def test_what_is_taken_is_valid(self):
        files = sorted(DOCUMENTS.glob("good-*.yaml")) + [ROOT / "deploy" / "policy.yaml"]
        files += sorted(ROOT.glob("examples/**/*polic*.yaml")) + sorted(ROOT.glob("examples/policies/**/*.yaml"))
        taken = [path for path in files if "kind: PolicySet" in path.read_text()]
        self.assertGreaterEqual(len(taken), 4)
        for path in taken:
            with self.subTest(path=path.name):
                self.assertEqual(problems(path), [])

    def test_what_it_can_tell_is_refused(self):
        told = 0
        for name, schema in rows():
            if not schema:
                continue
            with self.subTest(name=name):
                try:
                    found = problems(DOCUMENTS / f"bad-{name}.yaml")
                except yaml.YAMLError as error:
                    found = [str(error)]
                self.assertNotEqual(found, [])
                told += 1
        self.assertGreaterEqual(told, 25)


if __name__ == "__main__":
    unittest.main()
