"""Faults injected into normal periods: what the published sets do not have enough of, with causes and chains that are known
for sure. A part of the normal requests stays normal, the rest gets a fault and becomes the window of an incident.

kinds: silent return   a service returns at once and leaves out what it did
       wrong value     a service answers as always, and its caller crashes over the answer
       slow leaf       a service takes much longer itself
       lost packets    calls to a service wait for retransmissions
       exhausted pool  requests wait for a connection before they begin, and the pool's gauge is full
       bad config      a configuration change, then a silent return or a slow service; innocent changes elsewhere
       none            nothing is wrong: whoever names a cause is mistaken
"""

import collections
import random

import incidents
from incidents import Period, Span

KINDS = ("silent return", "wrong value", "slow leaf", "lost packets", "exhausted pool", "bad config", "none")
WINDOW_S = 240
ONSET_S = 40  # after the window's begin
LEAST_CALLS = 12
MS = 1000000


class Node:
    """A span in its trace, with children."""

    def __init__(self, span):
        self.span_id, self.parent_id, self.pod = span.span_id, span.parent_id, span.pod
        self.service, self.operation, self.start, self.end = span.service, span.operation, span.start_ns, span.end_ns
        self.parent, self.children = None, []

    def below(self):
        for child in self.children:
            yield child
            yield from child.below()

    def entry(self):
        """The span that entered the service."""
        at = self
        while at.parent is not None and at.parent.service == self.service:
            at = at.parent
        return at

    def path(self):
        """Services from here up to the front."""
        names, at = [], self
        while at is not None:
            if at.service not in names:
                names.append(at.service)
            at = at.parent
        return names


class Trace:
    def __init__(self, spans):
        self.trace_id = spans[0].trace_id
        self.nodes = [Node(span) for span in spans]
        by_id = {node.span_id: node for node in self.nodes}
        for node in self.nodes:
            node.parent = by_id.get(node.parent_id)
            if node.parent is not None and node.parent is not node:
                node.parent.children.append(node)
        self.logs = []  # (time_ns, pod, service, span_id, message)

    def entries(self):
        return [node for node in self.nodes if node.entry() is node]

    def stretch(self, at, by, besides=()):
        """Everything at or after an instant moves; what is under way then takes longer."""
        for node in self.nodes:
            if node in besides:
                continue
            if node.start >= at:
                node.start += by
            if node.end >= at:
                node.end = max(node.start, node.end + by)

    def move_to(self, start_ns):
        by = start_ns - min(node.start for node in self.nodes)
        for node in self.nodes:
            node.start += by
            node.end += by

    def remove(self, nodes):
        gone = set(map(id, nodes))
        self.nodes = [node for node in self.nodes if id(node) not in gone]
        for node in self.nodes:
            node.children = [child for child in node.children if id(child) not in gone]

    def spans(self, mark):
        for node in self.nodes:
            yield Span(mark + self.trace_id[len(mark):], node.span_id, node.parent_id, node.pod, node.service,
                       node.operation, int(node.start), int(node.end))


class Made(Period):
    """A period that was made, not read."""

    def __init__(self, name, spans, metrics, logs):
        super().__init__(_Named(name))
        self._made = spans, metrics, logs

    def spans(self):
        return iter(self._made[0])

    def metrics(self):
        return iter(self._made[1])

    def logs(self):
        return iter(self._made[2])


    def between(self, from_s, to_s):
        """What falls into [from_s, to_s); a request counts where it begins."""
        spans, metrics, logs = self._made
        begins = {}
        for span in spans:
            begins[span.trace_id] = min(span.start_ns, begins.get(span.trace_id, span.start_ns))
        return Made(self.name, [span for span in spans if from_s * 1e9 <= begins[span.trace_id] < to_s * 1e9],
                    [row for row in metrics if from_s <= row[0] < to_s],
                    [row for row in logs if from_s * 1e9 <= begins.get(row[3], 0) < to_s * 1e9])


class _Named:
    def __init__(self, name):
        self.name = name


# ---- what each fault does to one trace; returns the span it happened at, or None -------------------------------------

def silent_return(trace, entry, chance):
    below = list(entry.below())
    if not below:
        return None
    keep = int((entry.end - entry.start) * 0.1)
    cut, old_end = entry.end - entry.start - keep, entry.end
    trace.remove(below)
    entry.end = entry.start + keep
    trace.stretch(old_end, -cut, besides=(entry,))
    return entry


def wrong_value(trace, entry, chance):
    caller = entry.parent.entry() if entry.parent is not None else None
    if caller is None:
        return None
    later = [node for node in caller.below() if node.start >= entry.end]
    old_end, stop = caller.end, max(node.end for node in [entry, entry.parent])
    gone = [node for node in later if not _is_above(node, entry)]
    trace.remove(gone)
    for node in [caller, *caller.below()]:
        if node.service == caller.service:
            node.end = min(node.end, max(stop + MS, node.start + MS // 10))
    trace.stretch(old_end, min(0, caller.end - old_end), besides=(caller,))
    trace.logs.append((caller.end, caller.pod, caller.service, caller.span_id,
                       "ERROR request failed: ValueError: unexpected field in the answer"))
    return entry


def _is_above(node, other):
    while other is not None:
        if other is node:
            return True
        other = other.parent
    return False


def slow_leaf(trace, entry, chance):
    trace.stretch(entry.end - 1, int(chance.uniform(0.6, 1.4) * 250 * MS))
    return entry


def lost_packets(trace, entry, chance):
    if entry.parent is None or entry.parent.service == entry.service:
        return None
    if chance.random() < 0.7:
        wait = int(chance.choice((200, 400, 800)) * MS)
        old_start = entry.start
        trace.stretch(old_start, wait)
    return entry


def exhausted_pool(trace, entry, chance):
    wait = int(chance.uniform(0.5, 1.5) * 200 * MS)
    first = min((child.start for child in entry.children), default=entry.end - 1)
    trace.stretch(max(entry.start + 1, first), wait)
    return entry


DOES = {"silent return": silent_return, "wrong value": wrong_value, "slow leaf": slow_leaf, "lost packets": lost_packets,
        "exhausted pool": exhausted_pool}


# ---- making one incident --------------------------------------------------------------------------------------------

class Fault:
    """kind, service, operation, window (seconds), normal and incident periods, paths (service tuples, how often),
    changes [(kind, service, time_s)] with the guilty one first where there is one."""


def traces_of(period):
    by_id = collections.OrderedDict()
    for span in period.spans():
        by_id.setdefault(span.trace_id, []).append(span)
    return [spans for spans in by_id.values() if any(not span.parent_id for span in spans)]


def places(pool, kind):
    """(service, operation) with enough invocations that the fault can happen at."""
    count = collections.Counter()
    for spans in pool:
        trace = Trace(spans)
        for node in trace.entries():
            if kind in ("wrong value", "lost packets") and (node.parent is None or node.parent.service == node.service):
                continue
            if kind in ("silent return",) and not node.children:
                continue
            if kind == "wrong value":
                caller = node.parent.entry()
                if not any(other.start >= node.end for other in caller.below() if other.service != node.service):
                    continue
            count[node.service, node.operation] += 1
    return sorted(place for place, times in count.items() if times >= LEAST_CALLS)


def split_metrics(period, services):
    """The last WINDOW_S seconds of a normal period's metrics are the window's."""
    rows = [row for row in period.sorted_metrics() if row[2] in services]
    if not rows:
        return [], []
    edge = rows[-1][0] - WINDOW_S
    return [row for row in rows if row[0] < edge][-60000:], [row for row in rows if row[0] >= edge]


def make(periods, kind, seed):
    """None where the normal periods have no place for such a fault."""
    chance = random.Random(seed)
    pool = [spans for period in periods for spans in traces_of(period)]
    chance.shuffle(pool)
    half = len(pool) * 11 // 20
    normal, hit = pool[:half], pool[half:]
    effect = chance.choice(("silent return", "slow leaf")) if kind == "bad config" else kind
    candidates = places(hit, effect) if kind != "none" else [(None, None)]
    if not candidates:
        return None
    fault = Fault()
    fault.kind = kind
    fault.service, fault.operation = chance.choice(candidates)
    begin = 1700000000
    fault.window = (begin, begin + WINDOW_S)
    fault.paths = collections.Counter()
    normal_spans, hit_spans, logs = [], [], []
    for number, spans in enumerate(normal):
        trace = Trace(spans)
        trace.move_to(int((begin - 3600 + 3400 * number / len(normal)) * 1e9))
        normal_spans += trace.spans("aa")
    for number, spans in enumerate(hit):
        trace = Trace(spans)
        at = WINDOW_S * number / len(hit)
        trace.move_to(int((begin + at) * 1e9))
        if at >= ONSET_S and kind != "none":
            _inject(trace, fault, effect, chance)
        hit_spans += trace.spans("bb")
        logs += [(at_ns, pod, service, "bb" + trace.trace_id[2:], span_id, message)
                 for at_ns, pod, service, span_id, message in trace.logs]
    services = {span.service for span in normal_spans}
    before, after = split_metrics(periods[-1], services)
    before, after = _moved(before, begin - WINDOW_S), _moved(after, begin)
    if effect == "exhausted pool":
        before += [(begin - 3600 + 15 * i, "", fault.service, "db.client.connections.usage", 0.4 + 0.05 * chance.random()) for i in range(230)]
        after += [(begin + 15 * i, "", fault.service, "db.client.connections.usage", 0.42 if 15 * i < ONSET_S else 1.0) for i in range(16)]
    fault.normal, fault.incident = Made("normal", normal_spans, before, []), Made("incident", hit_spans, after, logs)
    fault.changes = _changes(fault, services, begin, chance) if kind == "bad config" else []
    return fault if kind == "none" or sum(fault.paths.values()) >= 5 else None


def _moved(rows, end):
    if not rows:
        return []
    newest = rows[-1][0]
    by = end - newest if end < 1700000000 else end - rows[0][0]
    return [(at + by, *rest) for at, *rest in rows]


def _inject(trace, fault, effect, chance):
    for entry in trace.entries():
        if (entry.service, entry.operation) != (fault.service, fault.operation):
            continue
        if not any(node is entry for node in trace.nodes):
            continue  # an earlier injection removed it
        path = tuple(entry.path())
        if DOES[effect](trace, entry, chance) is not None:
            fault.paths[path] += 1


def _changes(fault, services, begin, chance):
    """The guilty one, one on another service just before, and one on the same service long before and after."""
    others = sorted(services - {fault.service})
    onset = begin + ONSET_S
    return [("config", fault.service, onset - 20), ("deploy", chance.choice(others), onset - chance.randint(30, 900)),
            ("config", chance.choice(others), onset - chance.randint(30, 900)), ("deploy", fault.service, onset + 120)]
