"""How well PredictImpact says who gets slower, on published incident sets: the bench behind `scripts/bench impact`.

Each set's normal periods go into a fresh graph through the public calls, moved to end now, and its published topology as a
declaration. Then the graph is asked for each labelled service and kind of fault. What is predicted is what a scorer can see: that
a node is slower in the incident's window, because of the fault or by itself, 1 - (1 - probability) * (1 - background).

Scoring is the scorer's, a program that knows the truth; without one the predictions are only written.
"""

import collections
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import incidents

FAULTS = {"network_delay": "FAULT_NETWORK_DELAY", "cpu_contention": "FAULT_PROCESSOR", "cpu_consumed": "FAULT_PROCESSOR",
          "latency": "FAULT_LATENCY"}
SETTLE_S = 16.5   # the graph waits 15 s for parents that come late
ROLE = (("interlock-role", "operator"),)


def ask(graph, targets, fault):
    request = graph.messages.PredictImpactRequest(targets=targets, verb="exec",
                                                  fault=graph.messages.Fault.Value(FAULTS[fault]))
    return graph.stub.PredictImpact(request, metadata=ROLE, timeout=30)


def fill(graph, one):
    """All normal periods, the newest of them moved to end just before now."""
    periods = one.baselines()
    shift_s = time.time() - 60 - max(period.end_s() for period in periods)
    sent = graph.feed(periods, shift_s, ("traces", "metrics"))
    if one.topology():
        graph.declare(one.topology())
    time.sleep(SETTLE_S)
    return sent


def nodes_of(one):
    """Every name that its normal periods or its topology speak of."""
    found = {name for edge in one.topology() for name in edge}
    for period in one.baselines():
        found |= {span.service for span in period.spans()} | {row[2] for row in period.metrics()}
    return sorted(found)


def predict(graph, one, callers):
    """[{"id", "service", "probability"}], and two baselines with the same keys: all upstream callers, direct callers."""
    services = nodes_of(one)
    background = {}
    for service in services:
        answer = ask(graph, [incidents.service_name(service, one.name)], "network_delay")
        if answer.unknown_targets:
            continue
        background[service] = answer.impact.affected[0].background
    rows, upstream, direct = [], [], []
    for label in one.labels():
        if label["fault"] not in FAULTS:
            continue
        answer = ask(graph, [incidents.service_name(label["root_cause"], one.name)], label["fault"])
        caused = {incidents.service_of(node.name): node.probability for node in answer.impact.affected}
        above = reach(callers, label["root_cause"])
        for service in services:
            if service == label["root_cause"]:
                continue
            seen = 1 - (1 - caused.get(service, 0)) * (1 - background.get(service, 0))
            rows.append({"id": label["id"], "service": service, "probability": round(seen, 6)})
            upstream.append({"id": label["id"], "service": service, "probability": int(service in above)})
            direct.append({"id": label["id"], "service": service,
                           "probability": int(service in callers.get(label["root_cause"], ()))})
    return rows, upstream, direct


def reach(callers, service):
    seen, waiting = set(), [service]
    while waiting:
        for caller in callers.get(waiting.pop(), ()):
            if caller not in seen:
                seen.add(caller)
                waiting.append(caller)
    return seen


def callers_of(graph, one):
    """callee -> callers, as the graph knows them."""
    callers = collections.defaultdict(set)
    answer = graph.stub.GetGraph(graph.messages.GetGraphRequest(), metadata=ROLE, timeout=30)
    for edge in answer.edges:
        if edge.kind == graph.messages.EDGE_KIND_CALLS:
            callers[incidents.service_of(edge.to)].add(incidents.service_of(getattr(edge, "from")))
    for caller, callee in one.topology():
        callers[callee].add(caller)
    return callers


def scored(scorer, truth, rows):
    """{(name of the figure, set): line} of the scorer."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
        file.flush()
        done = subprocess.run([sys.executable, str(scorer), "score", truth, file.name], capture_output=True, check=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {(line["name"], line["set"]): line for line in lines}


def run(options, emit, say):
    rows, upstream, direct = [], [], []
    for one in incidents.load(options.incidents).values():
        if not one.baselines() or not any(label["fault"] in FAULTS for label in one.labels()):
            say(f"{one.name}: no normal period, or no slowness: left out")
            continue
        with incidents.graph(one.name) as graph:
            sent = fill(graph, one)
            say(f"{one.name}: fed {', '.join(sorted(sent))}")
            for into, more in zip((rows, upstream, direct), predict(graph, one, callers_of(graph, one))):
                into += more
    if options.predictions:
        pathlib.Path(options.predictions).write_text("".join(json.dumps(row) + "\n" for row in rows))
    if not options.scorer:
        say("no --scorer FILE: nothing is scored")
        return
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as truth:
        subprocess.run([sys.executable, str(options.scorer), "truth", str(options.incidents)], stdout=truth, check=True)
        results = [scored(options.scorer, truth.name, some) for some in (rows, upstream, direct)]
    report(results, emit)


def report(results, emit):
    ours, upstream, direct = results
    for (name, set_name), line in sorted(ours.items()):
        if name == "impact.auroc":
            target = 0.85 if set_name == "online-boutique" else 0.75
            beside = {key: round(result[name, set_name]["value"], 3) for key, result in
                      (("all_upstream", upstream), ("direct_callers", direct))}
            emit(name, line["value"], "AUROC", target, line["value"] >= target and line["low"] > max(beside.values()), set=set_name,
                 low=round(line["low"], 3), high=round(line["high"], 3), incidents=line["n"], pairs=line["pairs"],
                 affected=line["affected"], **beside)
        else:
            emit(name, line["value"], "probability", 0.1, line["value"] <= 0.1, set=set_name)
