#!/usr/bin/env python3
"""What was changed in the sample shop during its six days, and its incident: CloudEvents, one a line.

    python3 examples/shop/events.py > events.jsonl
    interlock backtest events.jsonl --policy deploy/policy.yaml --html backtest.html

The same seed gives the same changes; only the clock moves, as in generate.py: give both the same --end.
"""
import argparse
import json
import random
import sys
import time

DAYS, DAY_SECONDS = 6, 86400
SERVICES = ["frontend", "catalog", "cart", "recommendation", "checkout", "payment", "shipping", "email"]
BUSY = {"catalog": 3, "recommendation": 3, "email": 3, "frontend": 2, "cart": 2}  # whose teams deploy often
CHANGES_A_DAY = 7
DEFAULTS = "config:prod/shop/client-defaults"


def node(service):
    return f"service:prod/shop/{service}"


def event(kind, number, at, subject, **data):
    return {"specversion": "1.0", "id": f"shop-{number}", "source": "//shop/pipeline", "type": f"interlock.{kind}",
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)), "subject": subject, "datacontenttype": "application/json",
            "data": data}


def story(seed, end):
    """All events, by time."""
    chance, begin = random.Random(seed), end - DAYS * DAY_SECONDS
    versions = {service: [1, chance.randrange(10, 90)] for service in SERVICES}
    events = []
    pool = [service for service in SERVICES for _ in range(BUSY.get(service, 1))]
    for day in range(DAYS):
        for _ in range(CHANGES_A_DAY):
            at = begin + day * DAY_SECONDS + chance.uniform(8, 18) * 3600
            service = chance.choice(pool)
            if chance.random() < 0.2:
                events.append(("config", at, node(service), {"name": f"config:prod/shop/{service}", "key": "log_level",
                                                             "value": chance.choice(["info", "debug"]), "services": [node(service)],
                                                             "title": f"log level of {service}"}))
                continue
            before = "{}.{}".format(*versions[service])
            versions[service][1] += 1
            events.append(("deploy", at, node(service), {"version": "{}.{}".format(*versions[service]), "previous_version": before,
                                                         "services": [node(service)], "title": f"{service}, as every week"}))
    # Day 2: a default of the platform, which is nobody's change in particular. It meets its fate three days later.
    cause = begin + 1 * DAY_SECONDS + 10 * 3600
    events.append(("config", cause, DEFAULTS, {"key": "timeout_ms", "value": "2000", "services": [node(s) for s in SERVICES],
                                               "title": "client timeouts from 250 ms to 2 s"}))
    opened = begin + 4 * DAY_SECONDS + 0.57 * DAY_SECONDS
    incident = "incident:prod/shop/sale-outage"
    events.append(("incident.opened", opened, incident, {"title": "checkout fails during the sale", "severity": "critical",
                                                         "affected": [node("cart"), node("checkout")]}))
    # The postmortem found the chain.
    events.append(("incident.updated", opened + 2 * DAY_SECONDS / 24, incident, {"caused_by": [DEFAULTS]}))
    events.append(("incident.resolved", begin + 4 * DAY_SECONDS + 0.75 * DAY_SECONDS, incident, {}))
    events.sort(key=lambda item: item[1])
    return [event(kind, number, at, subject, **data) for number, (kind, at, subject, data) in enumerate(events)]


def main():
    parser = argparse.ArgumentParser(description="Changes and the incident of the sample shop, as CloudEvents.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--end", type=float, default=None, help="unix seconds at which the six days end [now]")
    options = parser.parse_args()
    end = time.time() if options.end is None else options.end
    for item in story(options.seed, end):
        print(json.dumps(item))


if __name__ == "__main__":
    sys.exit(main())
