"""The root cause bench: every incident of every set through the public RPCs into a fresh graph, asked, and scored.

Nothing here but score() reads labels. Baselines of other methods are computed beside it, from the same published metrics.
"""

import collections
import json
import math
import pathlib
import statistics
import sys
import time

import incidents
from installation import proto

OPERATOR = (("interlock-role", "operator"),)
KINDS = {"latency": 1, "availability": 2}
GAP_S = 60  # between two periods that are put one after the other
SETTLED_S = 0


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


# ---- asking -------------------------------------------------------------------------------------------------------

class Asked:
    """What came of one incident: names as the set has them, best first, with their scores."""

    def __init__(self, incident, ranked, abstained, question_ms, response):
        self.incident, self.ranked, self.abstained = incident, ranked, abstained
        self.question_ms, self.response = question_ms, response


def feed(graph, one, incident):
    """The normal periods, put just before the incident's own telemetry begins, and the incident."""
    begin = min(incident.about["metrics_from"], incident.ends_s()[0] or incident.about["metrics_from"])
    named = incident.about["baseline"]
    periods = sorted(one.baselines(), key=lambda period: (period.name != named, period.name))
    at = begin - GAP_S
    for period in periods:
        oldest, newest = period.ends_s()
        if newest == 0:
            continue
        # Requests of every normal period count, metrics of the one that the incident names: levels differ between days.
        what = ("traces", "logs", "metrics") if period.name == named else ("traces", "logs")
        graph.feed([period], at - newest, what)
        at -= newest - oldest + GAP_S
    graph.feed([incident])
    graph.declare(one.topology())


def symptom(pb, one, incident, namespace):
    alert = incident.about["alert"]
    node = "" if alert["node"] == "entry" else incidents.service_name(alert["node"], namespace)
    return pb.Symptom(node=node, kind=KINDS.get(alert["metric"], 0), from_ms=int(incident.window[0] * 1000),
                      to_ms=int(incident.window[1] * 1000))


def ask(graph, one, incident):
    pb, stubs = proto("interlock.graph.v1.root_cause")
    stub = stubs.RootCauseServiceStub(graph.channel)
    request = pb.RootCauseRequest(symptom=symptom(pb, one, incident, graph.namespace), limit=64)
    started = time.monotonic()
    response = stub.RootCause(request, timeout=60, metadata=OPERATOR)
    question_ms = (time.monotonic() - started) * 1000
    ranked = [(incidents.service_of(it.node), it.score) for it in response.hypotheses]
    return Asked(incident, ranked, response.abstained, question_ms, response)


def run_incident(one, incident):
    with incidents.graph(namespace=one.name) as graph:
        feed(graph, one, incident)
        return ask(graph, one, incident)


# ---- other methods ------------------------------------------------------------------------------------------------

class Levels:
    """Metrics of an incident, before and in its window, as the other methods look at them."""

    def __init__(self, one, incident):
        begin, end = incident.window
        before, after = collections.defaultdict(list), collections.defaultdict(list)
        for period in one.baselines():
            if period.name == incident.about["baseline"]:
                for _, _, service, metric, value in period.sorted_metrics():
                    before[service, metric].append(value)
        for at, _, service, metric, value in incident.sorted_metrics():
            if at < begin:
                before[service, metric].append(value)
            elif at <= end:
                after[service, metric].append(value)
        self.z = collections.defaultdict(float)
        for (service, metric), values in after.items():
            self.z[service] = max(self.z[service], self._deviation(before.get((service, metric), []), values))
        self.z.pop("entry", None)
        self.edges = [edge for edge in one.topology() if "entry" not in edge] or self._called(incident)

    @staticmethod
    def _deviation(before, after):
        if len(before) < 4:
            return 0.0
        quartiles = statistics.quantiles(before, n=4)
        noise = (quartiles[2] - quartiles[0]) / 1.349 + 0.01 * abs(quartiles[1]) + 1e-12
        return abs(statistics.median(after) - quartiles[1]) / noise

    @staticmethod
    def _called(incident):
        services = {span.span_id: span.service for span in incident.spans()}
        edges = {(services[span.parent_id], span.service) for span in incident.spans() if span.parent_id in services}
        return sorted(edge for edge in edges if edge[0] != edge[1])


def largest_z(levels):
    """Correlation: whose metric deviates most, as BARO ranks them."""
    return dict(levels.z)


def deepest_anomalous(levels):
    """Plain traversal: of the anomalous nodes those first that have no anomalous callee."""
    anomalous = {service for service, z in levels.z.items() if z >= 3}
    hit = {caller for caller, callee in levels.edges if callee in anomalous}
    return {service: levels.z[service] + (1e6 if service not in hit else 0) for service in anomalous}


def personalised_pagerank(levels):
    """A walk from the symptom towards callees that deviate (MicroRCA's kind)."""
    nodes = sorted(set(levels.z) | {node for edge in levels.edges for node in edge})
    out = collections.defaultdict(list)
    for caller, callee in levels.edges:
        out[caller].append(callee)
    called = {callee for _, callee in levels.edges}
    start = {node: 1.0 for node in nodes if node not in called and out[node]} or {node: 1.0 for node in nodes}
    start = {node: value / sum(start.values()) for node, value in start.items()}
    rank = dict(start)
    for _ in range(50):
        following = {node: 0.15 * start.get(node, 0.0) for node in nodes}
        for node in nodes:
            weights = [(callee, math.log1p(levels.z.get(callee, 0.0))) for callee in out[node]]
            weights.append((node, math.log1p(levels.z.get(node, 0.0)) + 1e-9))
            total = sum(weight for _, weight in weights)
            for callee, weight in weights:
                following[callee] += 0.85 * rank.get(node, 0.0) * weight / total
        rank = following
    return rank


METHODS = {"robust z": largest_z, "deepest anomalous": deepest_anomalous, "pagerank": personalised_pagerank}


# ---- scoring ------------------------------------------------------------------------------------------------------

def wilson(hits, count):
    """Wilson's 95 % interval, in percent."""
    if count == 0:
        return 0.0, 100.0
    z, share = 1.96, hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)


def rank_of(cause, scores):
    """A tie counts as the worst rank; a score of nothing is no rank."""
    score = scores.get(cause, 0.0)
    return sum(other >= score for other in scores.values()) if score > 0 else math.inf


class Table:
    """Ranks by (method, set, fault)."""

    def __init__(self):
        self.ranks = collections.defaultdict(list)
        self.expected = collections.defaultdict(list)  # of the random method: how many candidates there are
        self.times, self.abstained = collections.defaultdict(list), collections.Counter()
        self.reliability = []  # (probability of the first, it was right)

    def add(self, one, fault, method, rank):
        self.ranks[method, one, fault].append(rank)
        self.ranks[method, one, None].append(rank)

    def hits(self, method, one, fault, k):
        if method == "random":
            return sum(min(1.0, k / count) for count in self.expected[one, fault])
        return sum(rank <= k for rank in self.ranks[method, one, fault])

    def count(self, one, fault):
        return len(self.expected[one, fault])


def application(one):
    """Sets of one application are one line: its traffic patterns do not make another application."""
    name = one.name
    return name.split("-")[0] if name.startswith("petshop") else name


def calibration_error(pairs, bins=5):
    """Expected calibration error over equal bins."""
    error = 0.0
    for at in range(bins):
        some = [pair for pair in pairs if at / bins <= pair[0] < (at + 1) / bins or (at == bins - 1 and pair[0] >= 1)]
        if some:
            mean = sum(probability for probability, _ in some) / len(some)
            right = sum(correct for _, correct in some) / len(some)
            error += len(some) / len(pairs) * abs(mean - right)
    return error


def labels_of(one):
    try:
        return {row["id"]: row for row in one.labels()}
    except (OSError, ValueError, KeyError):
        return {}


def score(table, one, asked, label, levels):
    cause, fault, name = label["root_cause"], label.get("fault"), application(one)
    scores = dict(asked.ranked)
    table.add(name, fault, "interlock", rank_of(cause, scores))
    for method, rank in METHODS.items():
        table.add(name, fault, method, rank_of(cause, rank(levels)))
    for key in ((name, fault), (name, None)):
        table.expected[key].append(max(1, len(levels.z)))
        table.abstained[key] += asked.abstained
        table.times[key].append(asked.question_ms)
    if asked.response.hypotheses:
        first = asked.response.hypotheses[0]
        table.reliability.append((first.probability, incidents.service_of(first.node) == cause))


def show(table):
    """The table for people, on standard error."""
    methods = ["interlock", *METHODS, "random"]
    say(f"{'application':18} {'fault':16} {'n':>3} {'method':18} {'Top-1':>7} {'(95 %)':>14} {'Top-3':>7} {'Top-5':>7} {'abst.':>5} {'ms':>6}")
    for name, fault in sorted(table.expected, key=lambda key: (key[0], key[1] is not None, key[1] or "")):
        count = table.count(name, fault)
        for method in methods if fault is None else ("interlock",):
            top = [100 * table.hits(method, name, fault, k) / count for k in (1, 3, 5)]
            low, high = wilson(table.hits(method, name, fault, 1), count)
            own = method == "interlock"
            say(f"{name:18} {fault or 'all':16} {count:3} {method:18} {top[0]:7.1f} ({low:5.1f}-{high:5.1f}) {top[1]:7.1f} {top[2]:7.1f} "
                + (f"{table.abstained[name, fault]:5} {statistics.mean(table.times[name, fault]):6.1f}" if own else ""))
    if table.reliability:
        say(f"probability of the first hypothesis: expected calibration error {calibration_error(table.reliability):.3f} "
            f"over {len(table.reliability)}")


TARGETS = {"online-boutique": 96.0, "train-ticket": 90.0, "petshop": 95.0, "sock-shop": 95.0}


def emit_all(table, emit):
    for name in sorted({key[0] for key in table.expected}):
        count = table.count(name, None)
        for method in ("interlock", *METHODS, "random"):
            for k in (1, 3, 5):
                hits = table.hits(method, name, None, k)
                low, high = wilson(hits, count)
                target = TARGETS.get(name) if method == "interlock" and k == 1 else None
                value = 100 * hits / count
                emit(f"rca.top{k}", value, "percent", target, None if target is None else value >= target, set=name,
                     method=method, n=count, low=round(low, 1), high=round(high, 1))
        emit("rca.question_ms", statistics.mean(table.times[name, None]), "ms", 200,
             statistics.mean(table.times[name, None]) <= 200, set=name, n=count,
             most=round(max(table.times[name, None]), 1), abstained=table.abstained[name, None])
    if table.reliability:
        emit("rca.calibration_error", calibration_error(table.reliability), "share", None, None, n=len(table.reliability))


# ---- injected faults -------------------------------------------------------------------------------------------------

def send_changes(graph, fault):
    """The changes of an injected fault as CloudEvents."""
    changes, stubs = proto("interlock.graph.v1.changes")
    events, _ = proto("cloudevents.v1.cloudevents")
    request = changes.SendEventsRequest()
    for number, (kind, service, at_s) in enumerate(fault.changes):
        event = events.CloudEvent(id=f"change-{number}", source="/bench", spec_version="1.0", type=f"interlock.{kind}")
        event.attributes["time"].ce_timestamp.FromMilliseconds(int(at_s * 1000))
        name = incidents.service_name(service, graph.namespace)
        data = {"services": [name]}
        if kind == "deploy":
            data["version"] = f"v{number}"
        else:
            data |= {"name": name.replace("service:", "config:") + f"-{number}", "key": "limit", "value": "1"}
        event.text_data = json.dumps(data)
        request.events.append(event)
    answer = stubs.ChangeServiceStub(graph.channel).SendEvents(request, timeout=60, metadata=OPERATOR)
    for refusal in answer.refused:
        raise SystemExit(f"bench: the graph refused a change: {refusal.reason}: {refusal.message}")


STEP_S = 40  # between two looks at an incident as it goes on


def ask_fault(one, fault):
    """The answer at the end of the window, and how long after the onset the cause was first named first (None: never). Telemetry
    arrives as it would: a part, a question, the next part."""
    import faults
    pb, stubs = proto("interlock.graph.v1.root_cause")
    begin, end = fault.window
    named_s = None
    with incidents.graph(namespace=one.name) as graph:
        graph.feed([fault.normal])
        if fault.changes:
            send_changes(graph, fault)
        stub = stubs.RootCauseServiceStub(graph.channel)
        for at in range(begin + STEP_S, end + 1, STEP_S):
            graph.feed([fault.incident.between(at - STEP_S, at)])
            question = pb.Symptom(from_ms=int(begin * 1000), to_ms=int(at * 1000))
            answer = stub.RootCause(pb.RootCauseRequest(symptom=question, limit=64), timeout=60, metadata=OPERATOR)
            right = answer.hypotheses and incidents.service_of(answer.hypotheses[0].node) == fault.service
            if right and named_s is None:
                named_s = at - begin - faults.ONSET_S
            elif not right:
                named_s = None  # it must have stayed so
    return answer, named_s


class FaultTable:
    def __init__(self):
        self.named_s = []
        self.rows = collections.defaultdict(list)  # (set, kind) -> (rank, chain right or None, abstained, change right or None)
        self.reliability = []

    def add(self, one, fault, asked):
        answer, named_s = asked
        if named_s is not None:
            self.named_s.append(named_s)
        ranked = {incidents.service_of(it.node): it.score for it in answer.hypotheses}
        rank = rank_of(fault.service, ranked) if fault.service else math.inf
        chain = change = None
        for it in answer.hypotheses:
            if incidents.service_of(it.node) == fault.service:
                chain = tuple(incidents.service_of(hop.node) for hop in it.chain) in fault.paths
                if fault.changes:
                    change = it.change.endswith("-0")
        if answer.hypotheses:
            first = answer.hypotheses[0]
            self.reliability.append((first.probability, incidents.service_of(first.node) == fault.service))
        self.rows[one.name, fault.kind].append((rank, chain, answer.abstained, change))
        return rank, chain

    def show(self, emit):
        say(f"{'injected into':18} {'fault':16} {'n':>3} {'Top-1':>7} {'Top-3':>7} {'chain right':>12} {'change named':>13} {'abstained':>10}")
        for (name, kind), rows in sorted(self.rows.items()):
            chains = [row[1] for row in rows if row[1] is not None]
            changes = [row[3] for row in rows if row[3] is not None]
            top = [sum(row[0] <= k for row in rows) for k in (1, 3)]
            say(f"{name:18} {kind:16} {len(rows):3} {top[0]:7} {top[1]:7} {sum(chains):8} of {len(chains)} "
                f"{sum(changes):8} of {len(changes)} {sum(row[2] for row in rows):10}")
        faulty = [row for (_, kind), rows in self.rows.items() if kind != "none" for row in rows]
        quiet = [row for (_, kind), rows in self.rows.items() if kind == "none" for row in rows]
        for k in (1, 3):
            hits = sum(row[0] <= k for row in faulty)
            low, high = wilson(hits, len(faulty))
            emit(f"rca.injected_top{k}", 100 * hits / max(1, len(faulty)), "percent", None, None, n=len(faulty), low=round(low, 1),
                 high=round(high, 1))
        chains = [row[1] for row in faulty if row[1] is not None]
        if chains:
            share = 100 * sum(chains) / len(chains)
            emit("rca.injected_chains", share, "percent", 80, share >= 80, n=len(chains))
        if self.named_s:
            emit("rca.first_correct_s", statistics.median(self.named_s), "s", None, None, n=len(self.named_s), step=STEP_S)
        if quiet:
            emit("rca.quiet_abstained", 100 * sum(row[2] for row in quiet) / len(quiet), "percent", None, None, n=len(quiet))
        if self.reliability:
            emit("rca.injected_calibration_error", calibration_error(self.reliability), "share", None, None, n=len(self.reliability))


def run_faults(options, emit, sets):
    import faults
    table = FaultTable()
    for one in sets:
        periods = [period for period in one.baselines() if any(True for _ in period.spans())]
        if not periods or (options.sets and not any(one.name.startswith(name) for name in options.sets)):
            continue
        for number in range(options.faults):
            for kind in faults.KINDS:
                fault = faults.make(periods, kind, f"{one.name}/{kind}/{number}")
                if fault is None:
                    continue
                rank, chain = table.add(one, fault, ask_fault(one, fault))
                say(f"{one.name} {kind} at {fault.service} {fault.operation}: rank {rank}, chain {chain}")
    table.show(emit)


def run(options, emit):
    sets = incidents.load(pathlib.Path(options.incidents))
    if not sets:
        raise SystemExit(f"bench: no incident sets in {options.incidents}")
    if options.faults:
        run_faults(options, emit, sets.values())
        return
    table = Table()
    out = open(options.hypotheses, "w") if options.hypotheses else None
    for one in sets.values():
        if options.sets and not any(one.name.startswith(name) for name in options.sets):
            continue
        labels = labels_of(one)
        chosen = one.incidents()[:2] if options.quick else one.incidents()
        for incident in chosen:
            asked = run_incident(one, incident)
            if out:
                out.write(json.dumps({"id": incident.id, "ranked": [name for name, _ in asked.ranked]}) + "\n")
                out.flush()
            if incident.id in labels:
                score(table, one, asked, labels[incident.id], Levels(one, incident))
                rank = rank_of(labels[incident.id]["root_cause"], dict(asked.ranked))
                say(f"{incident.id}: rank {rank}, {asked.question_ms:.0f} ms, first {asked.ranked[:1]}")
    if out:
        out.close()
    if table.expected:
        show(table)
        emit_all(table, emit)
