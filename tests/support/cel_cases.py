"""Reads the official CEL conformance cases (protobuf text format, message cel.expr.conformance.test.SimpleTestFile) into
plain dictionaries, and says which of them concern an implementation without protobuf messages."""

import json
import pathlib
import re

FILES = ("basic bindings_ext comparisons conversions encoders_ext fields fp_math integer_math lists logic macros macros2 math_ext "
         "namespace network_ext optionals parse plumbing string string_ext timestamps type_deduction").split()
REPEATED = {"section", "test", "type_env", "bindings", "values", "entries", "overloads", "params", "parameter_types", "errors",
            "type_params", "exprs"}
TOKEN = re.compile(rb"""\s+|\#[^\n]*|(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|(?P<any>\[[A-Za-z0-9_./]+\])"""
                   rb"""|(?P<word>[-A-Za-z0-9_.+]+)|(?P<mark>[{}<>:,;\[\]])""", re.S)
ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "'": 39, '"': 34, "?": 63}


def unescape(raw):
    """The bytes of a quoted text-format string."""
    out = bytearray()
    body = raw[1:-1]
    at = 0
    while at < len(body):
        if body[at:at + 1] != b"\\":
            out += body[at:at + 1]
            at += 1
            continue
        kind = chr(body[at + 1])
        at += 2
        if kind in "xX":
            digits = re.match(rb"[0-9a-fA-F]{1,2}", body[at:]).group()
            out.append(int(digits, 16))
            at += len(digits)
        elif kind in "uU":
            size = 4 if kind == "u" else 8
            out += chr(int(body[at:at + size], 16)).encode()
            at += size
        elif kind in "01234567":
            digits = re.match(rb"[0-7]{1,3}", body[at - 1:]).group()
            out.append(int(digits, 8) & 255)
            at += len(digits) - 1
        else:
            out.append(ESCAPES[kind])
    return bytes(out)


def tokens(text):
    at = 0
    while at < len(text):
        found = TOKEN.match(text, at)
        if not found:
            raise ValueError(f"cannot read {text[at:at + 40]!r}")
        at = found.end()
        if found.lastgroup:
            yield found.lastgroup, found.group()
    yield "end", b""


class Reader:
    def __init__(self, text):
        self.items = list(tokens(text))
        self.at = 0

    def peek(self):
        return self.items[self.at]

    def take(self):
        self.at += 1
        return self.items[self.at - 1]

    def skip(self, *marks):
        while self.peek()[0] == "mark" and self.peek()[1] in marks:
            self.take()

    def value(self):
        kind, raw = self.take()
        if kind == "string":
            out = unescape(raw)
            while self.peek()[0] == "string":
                out += unescape(self.take()[1])
            return out
        if raw in (b"{", b"<"):
            return self.message(b"}" if raw == b"{" else b">")
        return raw.decode()

    def message(self, end):
        out = {}
        while True:
            self.skip(b",", b";")
            kind, raw = self.take()
            if raw == end or kind == "end":
                return out
            name = raw.decode()
            self.skip(b":")
            if self.peek() == ("mark", b"["):
                self.take()
                found = []
                while self.peek()[1] != b"]":
                    found.append(self.value())
                    self.skip(b",")
                self.take()
            else:
                found = [self.value()]
            if name in REPEATED:
                out.setdefault(name, []).extend(found)
            else:
                out[name] = found[-1]


def plain(value):
    """JSON cannot carry bytes: text becomes {"hex": …} so that nothing is lost on the way."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def in_scope(case):
    """Cases that build or read protobuf test messages are not; whatever else the files hold is."""
    return "TestAllTypes" not in case["expr"].decode() and "TestAllTypes" not in repr(case)


def cases(folder):
    """Every case of the files that concern us, as (file, section, case)."""
    for name in FILES:
        path = pathlib.Path(folder) / f"{name}.textproto"
        if not path.exists():
            continue
        for section in Reader(path.read_bytes()).message(b"").get("section", []):
            for case in section.get("test", []):
                yield name, section["name"].decode(), case


def as_line(number, case):
    return json.dumps({"number": number, **plain({key: value for key, value in case.items() if key not in ("name", "description")})})
