#!/usr/bin/env python3
"""A published incident set as the CloudEvents of a production: the input of a demonstration of `interlock backtest`.

    incident_events.py INCIDENTS SET > events.jsonl

The labels are read here, to say which change brought each fault in: that is what the set is about, and what a production's own
postmortems would say. Beside each stand changes of other services after which nothing happened. The same set and seed give the
same events.
"""

import argparse
import json
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from incidents import service_name  # noqa: E402

# Which change brings a fault in: a deploy brings new code, a setting brings other limits.
CODE = {"return", "exception", "availability"}
HARMLESS = 3  # changes of others beside each fault
MINUTE = 60


def event(kind, identifier, at, subject, **data):
    return {"specversion": "1.0", "id": identifier, "source": "//incidents", "type": f"interlock.{kind}",
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)), "subject": subject, "data": data}


def change(identifier, at, service, namespace, code, chance):
    target = service_name(service, namespace)
    if code:
        version = f"1.{identifier.removeprefix(namespace)}"  # says which
        return event("deploy", identifier, at, target, name=f"{target.replace('service:', 'deploy:', 1)}.{version}", version=version,
                     previous_version="1.0", services=[target],
                     title=f"{service} {version}")
    return event("config", identifier, at, target, name=target.replace("service:", "config:", 1), key="resources.limits",
                 value=f"{chance.randrange(1, 8)}00m", services=[target], title=f"limits of {service}")


def events(folder, seed=1):
    """All events of a set, by time."""
    folder = pathlib.Path(folder)
    name, chance, made = folder.name, random.Random(seed), []
    labels = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    services = sorted({label["root_cause"] for label in labels})
    for label in labels:
        about = json.loads((folder / "incidents" / label["id"] / "incident.json").read_text())
        begin, opened, cause = about["window"][0], about["opened_at"], label["root_cause"]
        alert = about["alert"]["node"]
        for number in range(HARMLESS):
            other = chance.choice([service for service in services if service != cause] or [cause])
            made.append(change(f"{label['id']}-other-{number}", begin - chance.randrange(5 * MINUTE, 18 * MINUTE), other, name,
                               chance.random() < 0.7, chance))
        made.append(change(f"{label['id']}-cause", begin, cause, name, label["fault"] in CODE, chance))
        caused_by = made[-1]["data"]["name"]
        made.append(event("incident.opened", f"{label['id']}-opened", opened, f"incident:prod/{name}/{label['id']}",
                          title=f"{label['fault']} of {cause}", severity="high", caused_by=[caused_by],
                          affected=[service_name(cause if alert == "entry" else alert, name)]))
    return sorted(made, key=lambda item: (item["time"], item["id"]))


def main():
    parser = argparse.ArgumentParser(description="CloudEvents of a published incident set.")
    parser.add_argument("incidents", help="the folder with the sets")
    parser.add_argument("set", help="one of them")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for item in events(pathlib.Path(options.incidents) / options.set, options.seed):
        print(json.dumps(item))


if __name__ == "__main__":
    sys.exit(main())
