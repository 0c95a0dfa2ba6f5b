"""Root causes end to end: telemetry through the public RPCs, a question, a restart, the same answer, and `interlock why`."""

import json
import pathlib
import sqlite3
import sys
import unittest

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import incidents  # noqa: E402
from incidents import Period, Span  # noqa: E402
from installation import Installation, error_info, proto, wait_for  # noqa: E402

BEGIN_S = 1700000000
MS = 1000000
OPERATOR = (("interlock-role", "operator"),)


class _Named:
    name = "made"


class Made(Period):
    def __init__(self, spans, metrics=(), logs=()):
        super().__init__(_Named)
        self._made = list(spans), list(metrics), list(logs)

    def spans(self):
        return iter(self._made[0])

    def metrics(self):
        return iter(self._made[1])

    def logs(self):
        return iter(self._made[2])


def request(number, at_s, mail_ms):
    """A front that calls a shop, which calls a mail service."""
    trace, start = f"{number:032x}", int(at_s * 1e9)
    ids = [f"{number * 8 + i:016x}" for i in range(1, 5)]
    wait = mail_ms + number % 3
    yield Span(trace, ids[0], "", "front-0", "front", "GET /buy", start, start + (20 + wait) * MS)
    yield Span(trace, ids[1], ids[0], "shop-0", "shop", "buy", start + MS, start + (15 + wait) * MS)
    yield Span(trace, ids[2], ids[1], "shop-0", "shop", "call mail", start + 2 * MS, start + (3 + wait) * MS)
    yield Span(trace, ids[3], ids[2], "mail-0", "mail", "send", start + 2 * MS, start + (2 + wait) * MS)


def period(first, count, begin_s, seconds, mail_ms):
    return Made(span for i in range(count) for span in request(first + i, begin_s + seconds * i / count, mail_ms))


class RootCauseTest(unittest.TestCase):
    def setUp(self):
        self.it = Installation(start=False, name="incidents")
        self.addCleanup(self.it.close)
        self.it.start_one("graph", ())
        self.connect()

    def connect(self):
        self.feeder = incidents.Feeder(self.it, "shop")
        self.pb, stubs = proto("interlock.graph.v1.root_cause")
        self.stub = stubs.RootCauseServiceStub(self.feeder.channel)

    def ask(self, **fields):
        symptom = self.pb.Symptom(from_ms=BEGIN_S * 1000, to_ms=(BEGIN_S + 240) * 1000, **fields)
        return self.stub.RootCause(self.pb.RootCauseRequest(symptom=symptom), timeout=20, metadata=OPERATOR, wait_for_ready=True)

    def test_a_slow_service_is_found_also_after_a_restart(self):
        self.feeder.feed([period(1, 150, BEGIN_S - 3600, 3400, 5)])
        nothing = self.ask()
        self.assertTrue(nothing.abstained)
        self.assertIn("traces within the window", nothing.missing)

        self.feeder.feed([period(1000, 60, BEGIN_S + 20, 200, 300)])
        answer = self.ask()
        first = answer.hypotheses[0]
        self.assertEqual(incidents.service_of(first.node), "mail")
        self.assertEqual([incidents.service_of(hop.node) for hop in first.chain], ["mail", "shop", "front"])
        self.assertGreater(first.probability, 0.5)
        self.assertGreater(first.chain[0].at_ms, BEGIN_S * 1000)
        self.assertEqual((answer.window_requests, answer.normal_requests), (60, 150))
        self.assertEqual(self.ask(), answer)

        told = self.it.cli("why", "--until-ms", (BEGIN_S + 240) * 1000, "--minutes", 4)
        self.assertIn("Probably mail", told.stdout if hasattr(told, "stdout") else told)
        self.settled()
        self.feeder.channel.close()
        self.it.stop("graph")
        self.it.start_one("graph", ())
        self.connect()
        again = self.ask()
        self.assertEqual(incidents.service_of(again.hypotheses[0].node), "mail")
        self.assertEqual((again.window_requests, again.normal_requests), (60, 150))

    def settled(self):
        """Requests are kept 15 s after their last span."""
        def stored():
            with sqlite3.connect(f"file:{self.it.data}/graph.db?mode=ro", uri=True) as database:
                return sum(len(row[0]) for row in database.execute("SELECT traces FROM evidence_chunk")) >= 210 * 24
        wait_for("the requests to be kept", stored, 30)

    def test_an_answer_is_revised_as_telemetry_arrives(self):
        self.feeder.feed([period(1, 150, BEGIN_S - 3600, 3400, 5)])
        symptom = self.pb.Symptom(from_ms=BEGIN_S * 1000, to_ms=(BEGIN_S + 240) * 1000)
        watch = self.stub.WatchRootCause(self.pb.WatchRootCauseRequest(
            question=self.pb.RootCauseRequest(symptom=symptom), period_ms=200), timeout=20, metadata=OPERATOR)
        first = next(watch)
        self.assertEqual(first.version, 1)
        self.assertTrue(first.answer.abstained)
        self.feeder.feed([period(1000, 60, BEGIN_S + 20, 200, 300)])
        for revised in watch:
            if not revised.answer.abstained:
                break
        self.assertEqual(incidents.service_of(revised.answer.hypotheses[0].node), "mail")
        self.assertGreater(revised.version, 1)
        watch.cancel()

    def event(self, kind, at_s, data):
        changes, stubs = proto("interlock.graph.v1.changes")
        events, _ = proto("cloudevents.v1.cloudevents")
        event = events.CloudEvent(id=f"{kind}-{at_s}", source="/test", spec_version="1.0", type=f"interlock.{kind}",
                                  text_data=json.dumps(data))
        event.attributes["time"].ce_timestamp.FromMilliseconds(int(at_s * 1000))
        answer = stubs.ChangeServiceStub(self.feeder.channel).SendEvents(changes.SendEventsRequest(events=[event]),
                                                                         timeout=20, metadata=OPERATOR)
        self.assertEqual(answer.accepted, 1, answer.refused)

    def test_an_incident_is_asked_for_by_name_and_a_change_before_it_named(self):
        self.feeder.feed([period(1, 150, BEGIN_S - 3600, 3400, 5), period(1000, 60, BEGIN_S + 20, 200, 300)])
        self.event("deploy", BEGIN_S + 5, {"services": ["service:prod/shop/mail"], "version": "v7"})
        self.event("deploy", BEGIN_S + 6, {"services": ["service:prod/shop/shop"], "version": "v3"})
        self.event("incident.opened", BEGIN_S + 200, {"name": "incident:prod/shop/slow", "affected": ["service:prod/shop/front"]})
        answer = self.stub.RootCause(self.pb.RootCauseRequest(incident="incident:prod/shop/slow"), timeout=20, metadata=OPERATOR)
        self.assertEqual(answer.symptom.node, "service:prod/shop/front")
        first = answer.hypotheses[0]
        self.assertEqual((incidents.service_of(first.node), first.change), ("mail", "deploy:prod/shop/mail.v7"))
        self.assertEqual(first.kind, self.pb.CAUSE_KIND_DEPLOY)
        self.assertNotIn("shop", [incidents.service_of(it.node) for it in answer.hypotheses])

    def refusal(self, request):
        with self.assertRaises(grpc.RpcError) as raised:
            self.stub.RootCause(request, timeout=20, metadata=OPERATOR)
        return error_info(raised.exception)[0]

    def test_bad_questions_are_refused(self):
        for fields, reason in (({"from_ms": 5, "to_ms": 4}, "BAD_WINDOW"), ({"from_ms": 1, "to_ms": 9, "kind": 9}, "BAD_KIND"),
                               ({"from_ms": 1, "to_ms": 9, "node": "service:prod/shop/nobody"}, "UNKNOWN_SYMPTOM")):
            self.assertEqual(self.refusal(self.pb.RootCauseRequest(symptom=self.pb.Symptom(**fields))), reason)
        self.assertEqual(self.refusal(self.pb.RootCauseRequest(incident="incident:prod/shop/none")), "UNKNOWN_INCIDENT")
        self.assertEqual(self.refusal(self.pb.RootCauseRequest()), "NO_SYMPTOM")
        self.assertEqual(self.refusal(self.pb.RootCauseRequest(symptom=self.pb.Symptom(from_ms=1, to_ms=9), limit=65)), "BAD_LIMIT")


if __name__ == "__main__":
    unittest.main()
