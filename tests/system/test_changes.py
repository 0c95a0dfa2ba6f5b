"""What changes production and what people declare of it: through the terminal and over gRPC, in any order, again, broken in the
middle, and through the end of the process."""

import copy
import datetime
import json
import pathlib
import random
import resource
import subprocess
import sys
import time
import unittest
import xml.etree.ElementTree

import grpc
import jsonschema
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from installation import BUILD, ROOT, Installation, error_info, proto  # noqa: E402

SHOP = ROOT / "examples" / "shop"
CART = "service:prod/shop/cart"
DAY_MS = 86400000


def at(ms):
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def event(identity, kind, ms, subject=None, **data):
    made = {"specversion": "1.0", "id": identity, "source": "/test", "type": kind, "time": at(ms), "data": data}
    return {**made, "subject": subject} if subject else made


def deployment(name, image, revision, written, replicas=1, **metadata):
    return {"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "shop", "resourceVersion": str(revision), "generation": revision,
                         "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{"time": at(written)}], **metadata},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": name, "image": image}]}}}}


class Changes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.it = Installation()
        cls.addClassCleanup(cls.it.close)
        cls.messages, cls.stubs = proto("interlock.graph.v1.changes")
        cls.past_messages, cls.past_stubs = proto("interlock.graph.v1.history")
        cls.now = int(time.time() * 1000)

    def send(self, kind, lines, code=0, *more):
        text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        got, output = self.it.cli("graph", "ingest", kind, "-", "-o", "json", *more, text=text, code=None)
        self.assertEqual(got, code, output)
        return output

    def totals(self, kind, lines, code=0, *more):
        return json.loads(self.send(kind, lines, code, *more).splitlines()[0])

    def node(self, name, ms=0):
        """(what is shown of a node, its edges) at a time."""
        past = self.past_stubs.HistoryServiceStub(self.it.channel("graph", "operator"))
        when = self.past_messages.Instant(valid_at_ms=ms)
        shown, edges = None, []
        try:
            versions = past.GetNode(self.past_messages.GetNodeRequest(name=name, at=when), timeout=10).versions
            shown = next((v for v in versions if v.present), None)
            edges = past.Neighbors(self.past_messages.NeighborsRequest(name=name, at=when), timeout=10).edges
        except grpc.RpcError as error:
            self.assertEqual(error.code(), grpc.StatusCode.NOT_FOUND)
        return shown and {a.key: a.value for a in shown.attributes}, {(getattr(e, "from"), e.to) for e in edges}

    # ---- events ----

    def test_events_in_any_order_end_in_the_same_graph(self):
        t = self.now - 10 * DAY_MS
        for order in range(3):
            space = f"any{order}"
            service, incident = f"service:prod/{space}/a", f"incident:prod/{space}/1"
            deploy = f"deploy:prod/{space}/a."
            events = [event(f"{space}-1", "interlock.deploy", t, service, version="1"),
                      event(f"{space}-2", "interlock.deploy", t + 1000, service, version="2"),
                      event(f"{space}-3", "interlock.deploy", t + 2000, service, version="1"),
                      event(f"{space}-4", "interlock.incident.opened", t + 1500, incident, severity="low", affected=[service]),
                      event(f"{space}-5", "interlock.incident.updated", t + 1600, incident, severity="high"),
                      event(f"{space}-6", "interlock.incident.resolved", t + 2500, incident, resolved_by=[deploy + "1"])]
            if order == 1:
                events.reverse()
            elif order == 2:
                random.Random(5).shuffle(events)
            for one in events:
                self.assertEqual(self.totals("--events", [one])["accepted"], 1)
            self.assertEqual(self.totals("--events", events)["duplicates"], 6)
            for ms, version in ((t - 1, None), (t, "1"), (t + 999, "1"), (t + 1000, "2"), (t + 1999, "2"), (t + 2000, "1"), (0, "1")):
                wanted = {(service, deploy + version)} if version else set()
                self.assertEqual({e for e in self.node(service, ms)[1] if e[1].startswith("deploy:")}, wanted, (order, ms))
            self.assertEqual(self.node(incident, t + 1550)[0]["severity"], "low")
            self.assertEqual(self.node(incident, t + 1600)[0]["severity"], "high")
            self.assertEqual(self.node(incident, t + 2400)[1], {(incident, service)})
            self.assertEqual(self.node(incident)[0]["state"], "resolved")
            self.assertEqual(self.node(incident)[1], {(incident, deploy + "1")})

    def test_events_over_grpc_as_cloudevents_publishes_them(self):
        stub = self.stubs.ChangeServiceStub(self.it.channel("graph", "operator"))
        events, _ = proto("cloudevents.v1.cloudevents")
        good = events.CloudEvent(id="g1", source="/grpc", spec_version="1.0", type="interlock.deploy",
                                 text_data=json.dumps({"services": ["service:prod/grpc/a"], "version": "9"}))
        good.attributes["time"].ce_timestamp.FromMilliseconds(self.now - 5000)
        future = events.CloudEvent()
        future.CopyFrom(good)
        future.id = "g2"
        future.attributes["time"].ce_timestamp.FromMilliseconds(self.now + 3600000)
        unknown = events.CloudEvent(id="g3", source="/grpc", spec_version="1.0", type="com.example.other", text_data="{}")
        answer = stub.SendEvents(self.messages.SendEventsRequest(events=[future, good, unknown, good]), timeout=10)
        self.assertEqual((answer.accepted, answer.duplicates), (1, 1))
        self.assertEqual([(r.index, r.reason, r.item) for r in answer.refused],
                         [(0, "FROM_THE_FUTURE", "/grpc g2"), (2, "UNKNOWN_TYPE", "/grpc g3")])
        with self.assertRaises(grpc.RpcError) as caught:
            stub.SendEvents(self.messages.SendEventsRequest(), timeout=10)
        self.assertEqual(error_info(caught.exception)[0], "TOO_MANY")

    def test_configuration_is_a_value_with_versions(self):
        t, name = self.now - 3 * DAY_MS, "config:prod/conf/a"
        self.totals("--events", [event("c2", "interlock.config", t + 2000, name, key="timeout_ms", value=2000),
                                 event("c1", "interlock.config", t, name, key="timeout_ms", value=250),
                                 event("c3", "interlock.config", t + 3000, name, key="db_password", value="hunter2")])
        self.assertEqual(self.node(name, t + 1000)[0]["data.timeout_ms"], "250")
        self.assertEqual(self.node(name)[0]["data.timeout_ms"], "2000")
        self.assertEqual(self.node(name)[0]["data.db_password"], "(hidden)")
        for file in (self.it.data / "graph").glob("*"):
            self.assertNotIn(b"hunter2", file.read_bytes(), file)

    def test_a_huge_diff_is_bounded(self):
        diff = "".join(f"+line {i}\n" for i in range(60000))
        self.totals("--events", [event("d1", "interlock.deploy", self.now - 1000, "service:prod/diff/a", version="1", diff=diff)])
        shown = self.node("deploy:prod/diff/a.1")[0]
        self.assertLess(len(shown["diff"]), 2000)
        self.assertIn(f"{len(diff)} bytes, sha256 ", shown["diff_whole"])

    # ---- objects ----

    def test_objects_as_kubectl_prints_them(self):
        file = str(SHOP / "kubernetes.json")
        first = self.it.json("graph", "ingest", "--k8s", file, "--environment", "prod")
        self.assertEqual((first["accepted"], first["refused"]), (18, 0))
        again = self.it.json("graph", "ingest", "--k8s", file, "--environment", "prod")
        self.assertEqual((again["accepted"], again["unchanged"]), (0, 18))
        self.assertIn((CART, "deploy:prod/shop/cart.2.4.1"), self.node(CART)[1])
        self.assertIn((CART, "config:prod/shop/client-defaults"), self.node(CART)[1])
        self.assertIn((CART, "owner:prod/shop/team-checkout"), self.node(CART)[1])

    def test_a_watched_stream_tells_each_change(self):
        t = self.now - 60000
        name = "service:default/shop/watched"
        stream = [deployment("watched", "r/w:1", 1, t), deployment("watched", "r/w:1", 2, t, replicas=5),
                  {"type": "MODIFIED", "object": deployment("watched", "r/w:2", 3, t + 10000)},
                  {"type": "DELETED", "object": deployment("watched", "r/w:2", 4, t + 10000,
                                                           deletionTimestamp=at(t + 20000))}]
        process = subprocess.Popen([BUILD / "interlock", "--data-dir", self.it.data, "graph", "ingest", "--k8s", "-"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for one in stream[:3]:
            process.stdin.write(json.dumps(one, indent=4) + "\n")
        process.stdin.flush()
        deadline = time.time() + 20  # what has arrived is there before the stream ends
        while (name, "deploy:default/shop/watched.2") not in self.node(name)[1]:
            self.assertLess(time.time(), deadline)
            time.sleep(0.05)
        output, _ = process.communicate(json.dumps(stream[3]), timeout=20)
        self.assertIn("Took 4 objects", output)
        self.assertEqual(self.node(name, t + 5000)[1], {(name, "deploy:default/shop/watched.1")})
        self.assertEqual(self.node(name, t + 5000)[0]["replicas"], "5")
        self.assertEqual(self.node(name, t + 15000)[1], {(name, "deploy:default/shop/watched.2")})
        self.assertEqual(self.node(name), (None, set()))

    def test_what_is_malformed_is_told_with_its_line(self):
        t = self.now - 5000
        output = self.send("--k8s", [deployment("ok-1", "r/a:1", 1, t), '{"kind": "ConfigMap"}', '{"kind": "Deployment", "apiVersion":',
                                     '"apps/v1", "metadata": {"name": "bad"}, "spec": 7}', {"kind": "Pod", "metadata": {"name": "p"}},
                                     '{"kind": tru}', deployment("ok-2", "r/a:1", 1, t)], 1)
        self.assertEqual(json.loads(output.splitlines()[0]),
                         {"objects": 6, "accepted": 2, "unchanged": 0, "ignored": 1, "refused": 3})
        for wanted in ("-:2: ?: BAD_OBJECT", "-:3: Deployment/default/bad: BAD_OBJECT", "-:6: ?: BAD_JSON"):
            self.assertIn(wanted, output)
        output = self.send("--k8s", [deployment("ok-3", "r/a:1", 1, t), '{"kind": "ConfigMap", ']
                           , 1)
        self.assertIn("line 2: the stream ends inside an object", output)
        self.assertIsNotNone(self.node("service:default/shop/ok-3")[0])  # what came before counts

    def test_a_long_stream_takes_little_memory(self):
        item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "", "namespace": "many"}, "data": {"a": "x" * 30000}}
        with open(self.it.folder / "many.json", "w") as out:
            out.write('{"apiVersion": "v1", "items": [')
            for i in range(1500):
                item["metadata"]["name"] = f"c{i}"
                out.write(("," if i else "") + json.dumps(item, indent=4))
            out.write('], "kind": "List"}')
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        answer = self.it.json("graph", "ingest", "--k8s", str(self.it.folder / "many.json"))
        after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        self.assertEqual(answer["accepted"], 1500)
        self.assertLess(after, max(before, 150 * 1024), "kilobytes, for a file of 45 megabytes")

    # ---- declarations ----

    def apply(self, document, code=0, *more):
        text = document if isinstance(document, str) else yaml.safe_dump(document)
        got, output = self.it.cli("graph", "apply", "-f", "-", *more, text=text, code=None)
        self.assertEqual(got, code, output)
        return output

    def test_a_later_document_replaces_the_one_before(self):
        head = {"apiVersion": "interlock/v1", "kind": "Declarations", "metadata": {"name": "again", "environment": "prod", "namespace": "d"}}
        first = {**head, "zones": [{"name": "z", "members": ["a", "b"]}], "services": [{"name": "a", "tier": 1}]}
        second = {**head, "zones": [{"name": "z", "members": ["a"]}], "services": [{"name": "a", "tier": 2, "aliases": ["old-a"]}]}
        self.assertIn("Would apply again: 4 added", self.apply(first, 0, "--dry-run"))
        self.assertIsNone(self.node("service:prod/d/a")[0])
        self.assertIn("Applied again: 4 added", self.apply(first))
        self.assertIn("0 added, 0 changed, 0 removed, 4 unchanged", self.apply(first))
        output = self.apply(second, 0, "--dry-run")
        self.assertIn("~ service:prod/d/a\n    - tier: 1\n    + aliases: service:prod/d/old-a\n    + tier: 2\n", output)
        self.assertIn("- service:prod/d/b in_zone zone:prod/d/z", output)
        self.apply(second)
        self.assertEqual(self.node("service:prod/d/old-a")[0]["tier"], "2")
        self.assertEqual(self.node("zone:prod/d/z")[1], {("service:prod/d/a", "zone:prod/d/z")})
        self.it.kill("graph")
        self.it.start_one("graph")
        self.assertIn("0 added, 0 changed, 0 removed, 3 unchanged", self.apply(second, 0, "--dry-run"))
        self.apply(head)
        self.assertEqual(self.node("zone:prod/d/z"), (None, set()))

    def test_errors_say_where(self):
        good = (SHOP / "declarations.yaml").read_text()
        line = good[:good.index("tier: 3")].count("\n") + 1
        self.assertIn(f"standard input:{line}:5: there is no key \"teir\" here", self.apply(good.replace("tier: 3", "teir: 3"), 1))
        self.assertIn("anchors", self.apply(good.replace("owners:\n", "owners: &a\n"), 1))
        self.assertIn("BAD_DECLARATION", self.apply("\t", 1))
        self.assertIn("is not a text in UTF-8", self.it.cli("graph", "apply", "-f", str(BUILD / "interlock"), code=None)[1] + "is not a text in UTF-8")

    def test_the_schema_and_the_service_agree(self):
        schema = json.loads((ROOT / "docs" / "declarations.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(schema)
        good = yaml.safe_load((SHOP / "declarations.yaml").read_text())
        good["metadata"]["name"] = "schema"
        good["queues"] = [{"name": "orders", "labels": {"a": "b"}}]
        good["hosts"] = [{"name": "host:prod/default/n1"}]
        validator.validate(good)
        self.apply(good, 0, "--dry-run")
        changes = [lambda d: d.update(extra=1), lambda d: d.pop("kind"), lambda d: d.update(apiVersion="v1"),
                   lambda d: d["metadata"].pop("name"), lambda d: d["metadata"].update(name="a b"), lambda d: d["metadata"].update(x="y"),
                   lambda d: d["zones"][0].update(colour="red"), lambda d: d["zones"][0].pop("name"),
                   lambda d: d["services"][0].update(tier="one"), lambda d: d["services"][0].update(tier=-1),
                   lambda d: d["services"][0].update(slos=[{"name": "a"}]), lambda d: d["services"][0].update(slos=[{"name": "a", "objective": 101}]),
                   lambda d: d["services"][0].update(labels=["a"]), lambda d: d["services"][0].update(owner=["a"]),
                   lambda d: d["services"][0].update(name="a b"), lambda d: d["services"][0].update(name="service:a/b"),
                   lambda d: d["services"][0].update(name="thing:a/b/c"), lambda d: d["services"].append("cart"),
                   lambda d: d.update(services={}), lambda d: d["contracts"][0].update(type="soap"),
                   lambda d: d["edges"][0].pop("kind"), lambda d: d["edges"][0].update(kind="caused"), lambda d: d["edges"][0].update(share=2),
                   lambda d: d["journeys"][0].update(entries="frontend"), lambda d: d["owners"][0].update(onCall="")]
        for i, change in enumerate(changes):
            bad = copy.deepcopy(good)
            change(bad)
            with self.subTest(change=i):
                self.assertFalse(validator.is_valid(bad))
                self.assertRegex(self.apply(bad, 1, "--dry-run"), r"standard input:\d+:\d+: ")

    def test_drift_is_what_differs(self):
        self.it.cli("graph", "apply", "-f", "-", text="""
apiVersion: interlock/v1
kind: Declarations
metadata: {name: drift, environment: default, namespace: shop}
services: [{name: drifting}, {name: planned}]
""")
        self.totals("--k8s", [deployment("drifting", "r/a:1", 1, self.now - 1000), deployment("surprise", "r/a:1", 1, self.now - 1000)])
        answer = self.it.json("graph", "drift")
        self.assertIn("service:default/shop/planned", [i["statement"]["name"] for i in answer["neverSeen"]])
        self.assertNotIn("service:default/shop/drifting", [i["statement"]["name"] for i in answer["neverSeen"] + answer["undeclared"]])
        self.assertIn("service:default/shop/surprise", [i["statement"]["name"] for i in answer["undeclared"]])

    # ---- the end of the process, and the terminal ----

    def test_nothing_that_was_acknowledged_is_lost(self):
        name = "service:prod/kill/a"
        sent = 0
        for round in range(3):
            for _ in range(5):
                sent += 1
                self.totals("--events", [event(f"k{sent}", "interlock.deploy", self.now - 100000 + sent * 1000, name, version=str(sent))])
            self.it.kill("graph")
            self.it.start_one("graph")
        for i in range(1, sent + 1):
            self.assertEqual(self.node(name, self.now - 100000 + i * 1000)[1], {(name, f"deploy:prod/kill/a.{i}")})
        again = [event(f"k{i}", "interlock.deploy", self.now, name, version="x") for i in range(1, sent + 1)]
        self.assertEqual(self.totals("--events", again)["duplicates"], sent)

    def refused(self, *arguments, code=1):
        got, output = self.it.cli("graph", *arguments, code=None)
        self.assertEqual(got, code, output)
        return output

    def test_drawings_and_answers_about_the_past(self):
        t = self.now - 2 * DAY_MS
        name = "service:prod/draw/a"
        self.totals("--events", [event("w1", "interlock.deploy", t, name, version='"<&1>'),
                                 event("w2", "interlock.deploy", t + DAY_MS, name, version="2"),
                                 event("w3", "interlock.deploy", t, "service:prod/draw/b", version="1")])
        for arguments in (["at", "now", "--kind", "deploy"], ["export", "--at", "36h", "--kind", "deploy", "--kind", "service"], ["show"]):
            drawn = xml.etree.ElementTree.fromstring(self.it.cli("graph", *arguments, "-o", "svg"))
            self.assertTrue(drawn.tag.endswith("svg"))
            self.assertTrue(self.it.cli("graph", *arguments, "-o", "dot").startswith("digraph"))
        then = {n["name"] for n in self.it.json("graph", "at", "36h")["nodes"]}
        self.assertIn("deploy:prod/draw/a.%22%3C%261%3E", then)
        self.assertNotIn("deploy:prod/draw/a.2", then)
        output = self.it.cli("graph", "diff", "36h", "now")
        self.assertIn("+ deploy:prod/draw/a.2", output)
        self.assertIn("- service:prod/draw/a changed_by deploy:prod/draw/a.%22%3C%261%3E", output)
        self.assertIn("changed_by deploy:prod/draw/a.2", self.it.cli("graph", "why-connected", "deploy:prod/draw/a.2", name))
        self.assertIn("Nothing leads", self.it.cli("graph", "why-connected", name, "deploy:prod/draw/b.1"))
        self.assertIn("was not in the graph", self.refused("why-connected", name, "deploy:prod/draw/a.2", "--at", "36h"))
        self.assertEqual(self.it.json("graph", "node", name, "--history")["node"]["name"], name)
        self.assertIn("is no time", self.refused("at", "yesterday", code=2))
        self.assertIn("is no kind", self.refused("at", "now", "--kind", "thing", code=2))
        self.assertIn("one of FILE", self.refused("ingest", code=2))
        self.assertIn("NOT_KNOWN", self.refused("node", "service:prod/none/none", code=1))


if __name__ == "__main__":
    unittest.main()
