#!/usr/bin/env python3
"""Telemetry of the sample shop: OTLP/JSON, one ExportTraceServiceRequest a line.

The same seed gives the same shop, request for request; only the clock moves: the story ends at --end (now, unless
stated), so that what reads it finds it fresh. README.md tells the story.
"""
import argparse
import json
import random
import sys
import time

DAYS = 6
DEPLOY_DAY = 2  # the platform's default timeout goes from 250 ms to 2 s
SPIKE_DAY = 5  # a sale: three times the traffic, and a slow Redis
DAY_SECONDS = 86400
SPIKE = (0.55, 0.75)  # of that day
SERVER, CLIENT, INTERNAL = 2, 3, 1
OK, ERROR = 1, 2
OLD_TIMEOUT_MS, NEW_TIMEOUT_MS = 250, 2000
RETRIES_MAX = 3
RETRY_BUDGET = 0.2  # retries for each request that cart answers, when there is no spike

# What a visitor does, and how often.
VISITS = [("GET /product/{id}", 0.36), ("GET /", 0.26), ("GET /search", 0.19), ("GET /assets", 0.09), ("POST /cart", 0.07),
          ("POST /checkout", 0.03)]


class Trace:
    """One visit: spans by service, in the order in which they end."""

    def __init__(self, shop, start):
        self.shop, self.start = shop, start
        self.id = f"{shop.random.getrandbits(128) | 1:032x}"
        self.ended = []  # (service, span)

    def span(self, service, name, kind, parent, begin, end, error=None, attributes=()):
        item = {"traceId": self.id, "spanId": f"{self.shop.random.getrandbits(64) | 1:016x}", "traceState": "ot=th:0"}
        if parent is not None:
            item["parentSpanId"] = parent
        item.update({"name": name, "kind": kind, "startTimeUnixNano": str(int(begin * 1000) * 1000000),
                     "endTimeUnixNano": str(int(end * 1000) * 1000000)})
        if attributes:
            item["attributes"] = [{"key": key, "value": {"stringValue": value}} for key, value in attributes]
        item["status"] = {"code": ERROR, "message": error} if error else {"code": OK}
        self.ended.append((service, item))
        return item


class Shop:
    def __init__(self, seed, end, requests_per_day):
        self.random = random.Random(seed)
        self.begin = end - DAYS * DAY_SECONDS
        self.requests_per_day = requests_per_day
        self.budget = 5.0  # retries that cart may still make

    # ---- the clock of the story ----
    def day_of(self, at):
        return int((at - self.begin) // DAY_SECONDS) + 1

    def in_spike(self, at):
        day = self.day_of(at)
        part = (at - self.begin) % DAY_SECONDS / DAY_SECONDS
        return day == SPIKE_DAY and SPIKE[0] <= part < SPIKE[1]

    def timeout_ms(self, at):
        return NEW_TIMEOUT_MS if self.day_of(at) >= DEPLOY_DAY else OLD_TIMEOUT_MS

    def starts(self, day):
        """When the visits of a day begin."""
        first = self.begin + (day - 1) * DAY_SECONDS
        times = [first + self.random.random() * DAY_SECONDS for _ in range(self.requests_per_day)]
        if day == SPIKE_DAY:
            low, high = (first + part * DAY_SECONDS for part in SPIKE)
            times += [low + self.random.random() * (high - low) for _ in range(self.requests_per_day // 2)]
        return sorted(times)

    # ---- calls: each returns the time at which it ended and what went wrong ----
    def call(self, trace, parent, caller, callee, name, at, work):
        """A client's span in the caller around a server's span in the callee."""
        client = f"{self.random.getrandbits(64) | 1:016x}"
        begin = at + 0.001
        server = f"{self.random.getrandbits(64) | 1:016x}"
        end, error = work(trace, server, begin + 0.001)
        item = trace.span(callee, name, SERVER, client, begin, end, error)
        item["spanId"] = server
        item = trace.span(caller, f"{callee} {name}", CLIENT, parent, at, end + 0.001, error,
                          [("server.address", f"{callee}.shop.svc"), ("rpc.system", "grpc")])
        item["spanId"] = client
        return end + 0.001, error

    def simple(self, low_ms, high_ms):
        return lambda trace, span, at: (at + self.random.uniform(low_ms, high_ms) / 1000, None)

    def catalog(self, trace, span, at):
        end = at + self.random.uniform(2, 9) / 1000
        trace.span("catalog", "SELECT products", CLIENT, span, at, end, None,
                   [("db.system.name", "postgresql"), ("server.address", "catalog-db"), ("db.namespace", "catalog")])
        return end + 0.001, None

    def recommendation(self, trace, span, at):
        return self.call(trace, span, "recommendation", "catalog", "ListProducts", at + 0.002, self.catalog)

    def redis(self, trace, span, at):
        """One attempt. Under the spike Redis is slow; the old timeout cut that short and cart fell back to a cached
        answer, the new one waits and holds a connection."""
        took_ms = self.random.uniform(600, 2600) if self.in_spike(at) else self.random.uniform(0.4, 3)
        timeout_ms = self.timeout_ms(at)
        error = "timeout" if took_ms > timeout_ms else None
        end = at + min(took_ms, timeout_ms) / 1000
        trace.span("cart", "HGETALL", CLIENT, span, at, end, error,
                   [("db.system.name", "redis"), ("server.address", "redis-cart"), ("db.operation.name", "HGETALL")])
        return end, error

    def cart(self, trace, span, at):
        """Retries while the budget lasts; then the cart answers 503."""
        end, error = self.redis(trace, span, at)
        for _ in range(RETRIES_MAX):
            if error is None or self.budget < 1:
                break
            self.budget -= 1
            end, error = self.redis(trace, span, end + 0.01)
        if not self.in_spike(at):
            self.budget = min(5.0, self.budget + RETRY_BUDGET)
        return end + 0.001, "503 retry budget exhausted" if error else None

    def checkout(self, trace, span, at):
        at, error = self.call(trace, span, "checkout", "cart", "GetCart", at, self.cart)
        if error:
            return at, error
        for callee, name, work in (("catalog", "GetProduct", self.catalog), ("shipping", "GetQuote", self.simple(3, 8)),
                                   ("payment", "Charge", self.simple(20, 60)), ("email", "SendReceipt", self.simple(8, 25))):
            at, _ = self.call(trace, span, "checkout", callee, name, at, work)
        return at, None

    # ---- visits ----
    def visit(self, at):
        trace = Trace(self, at)
        kind = self.random.choices([name for name, _ in VISITS], [share for _, share in VISITS])[0]
        steps = {"GET /": [("catalog", "ListProducts", self.catalog), ("cart", "GetCart", self.cart),
                           ("recommendation", "List", self.recommendation)],
                 "GET /product/{id}": [("catalog", "GetProduct", self.catalog), ("cart", "GetCart", self.cart),
                                       ("recommendation", "List", self.recommendation)],
                 "GET /search": [("catalog", "Search", self.catalog)],
                 "GET /assets": [],
                 "POST /cart": [("cart", "AddItem", self.cart)],
                 "POST /checkout": [("checkout", "PlaceOrder", self.checkout)]}[kind]
        root = f"{self.random.getrandbits(64) | 1:016x}"
        now, failed = at + 0.001, None
        for callee, name, work in steps:
            now, error = self.call(trace, root, "frontend", callee, name, now, work)
            failed = failed or error
        item = trace.span("frontend", kind, SERVER, None, at, now + 0.001, failed and "500 " + failed)
        item["spanId"] = root
        return trace


def resource(service):
    values = {"service.name": service, "service.namespace": "shop", "deployment.environment.name": "prod",
              "telemetry.sdk.language": "python"}
    return {"attributes": [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]}


def write(traces, out):
    """Each service exports its own spans in batches, as SDKs do: parents and children travel apart."""
    by_service = {}
    for trace in traces:
        for service, item in trace.ended:
            by_service.setdefault(service, []).append(item)
    for service in sorted(by_service):
        request = {"resourceSpans": [{"resource": resource(service),
                                      "scopeSpans": [{"scope": {"name": "shop"}, "spans": by_service[service]}]}]}
        out.write(json.dumps(request, separators=(",", ":")) + "\n")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seed", type=int, default=1, help="another seed, another week (1)")
    options.add_argument("--day", type=int, choices=range(1, DAYS + 1), help="only this day of the story")
    options.add_argument("--end", type=float, default=None, help="when the story ends, seconds since 1970 (now)")
    options.add_argument("--requests", type=int, default=400, help="visits a day (400)")
    chosen = options.parse_args()
    # A little earlier, so that every span has ended.
    end = (time.time() if chosen.end is None else chosen.end) - 30
    shop = Shop(chosen.seed, end, chosen.requests)
    batch = []
    for day in range(1, DAYS + 1):
        for start in shop.starts(day):
            trace = shop.visit(start)
            if chosen.day in (None, day):
                batch.append(trace)
            if len(batch) == 50:
                write(batch, sys.stdout)
                batch = []
    write(batch, sys.stdout)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        sys.stderr.close()
