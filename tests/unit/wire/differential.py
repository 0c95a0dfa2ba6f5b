"""The scanner and the JSON mapping against Python's protobuf.

usage: differential.py ORACLE PROTO_FOLDER [SEED [COUNT]]

ORACLE reads lines "verb hex" and answers each with a line; see test_differential.c. Random messages of Everything, and
random damage done to them, must be taken and refused alike, but for what our scanner is documented to refuse besides.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import warnings

try:
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError
except ImportError:
    print("skipped: python3-protobuf is not installed")
    sys.exit(77)

# What wire/scan.h refuses although Python takes it: NUL in texts, groups, a known field in the wire type of another
# (protobuf takes it for unknown), bits of a tag beyond the 32nd (Python drops them), and what is too deep or too large.
STRICTER = {
    "TEXT_CONTAINS_NUL",
    "GROUP_REFUSED",
    "WIRE_TYPE_MISMATCH",
    "TAG_OUT_OF_RANGE",
    "MESSAGE_TOO_DEEP",
    "MESSAGE_TOO_LARGE",
}


def load(folder, scratch):
    subprocess.run(
        ["protoc", f"--python_out={scratch}", "-I", folder, "everything.proto"],
        check=True,
    )
    sys.path.insert(0, scratch)
    import everything_pb2

    return everything_pb2


class Oracle:
    def __init__(self, path):
        self.process = subprocess.Popen(
            [path, "--oracle"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stdout.fileno()
        )

    def ask(self, verb, data):
        self.process.stdin.write(f"{verb} {data.hex()}\n".encode())
        self.process.stdin.flush()
        answer = self.process.stdout.readline().decode()
        if not answer.endswith("\n"):
            raise SystemExit(f"the oracle died on: {verb} {data.hex()}")
        word, _, rest = answer[:-1].partition(" ")
        return word, bytes.fromhex(rest)


class Maker:
    def __init__(self, chance, kinds):
        self.chance = chance
        self.kinds = kinds

    def text(self):
        alphabet = "abcdefgh é€🔒\n\"\\\x01\x7f"
        return "".join(self.chance.choice(alphabet) for _ in range(self.chance.randrange(20)))

    def integer(self, bits, signed):
        value = self.chance.getrandbits(self.chance.choice([1, 7, 8, bits - 1, bits]))
        if not signed:
            return value
        return value - (1 << bits) if value >> (bits - 1) else self.chance.choice([value, -value])

    def real(self):
        return self.chance.choice([0.0, 1.5, -2.25, 1e300, 0.1, 1 / 3, 5e-324, float("inf"), self.chance.random()])

    def scalar(self, field):
        name = {1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 6: "fixed64", 7: "fixed32", 8: "bool",
                9: "text", 12: "bytes", 13: "uint32", 14: "enum", 15: "sfixed32", 16: "sfixed64", 17: "sint32",
                18: "sint64"}[field.type]
        if name == "double":
            return self.real()
        if name == "float":
            return self.chance.choice([0.0, 1.5, -2.25, 0.1, 3e38, float("inf"), 1e-45])
        if name == "bool":
            return self.chance.random() < 0.5
        if name == "text":
            return self.text()
        if name == "bytes":
            return self.chance.randbytes(self.chance.randrange(20))
        if name == "enum":
            return self.chance.choice([0, 1, 2, -1, 99, -99])
        return self.integer(64 if "64" in name else 32, not name.startswith(("u", "f")))

    def fill(self, message, depth=0):
        fields = list(message.DESCRIPTOR.fields)
        for field in self.chance.sample(fields, self.chance.randrange(min(len(fields), 12 >> depth) + 1)):
            self.set(message, field, depth)
        return message

    def set(self, message, field, depth):
        target = getattr(message, field.name)
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        if is_map:
            for _ in range(self.chance.randrange(4)):
                self.put(target, field.message_type, depth)
        elif field.label == field.LABEL_REPEATED and field.message_type is not None:
            for _ in range(self.chance.randrange(4) if depth < 3 else 0):
                self.fill(target.add(), depth + 1)
        elif field.label == field.LABEL_REPEATED:
            target.extend(self.scalar(field) for _ in range(self.chance.randrange(30)))
        elif field.message_type is not None:
            target.SetInParent()
            if depth < 3:
                self.fill(target, depth + 1)
        else:
            setattr(message, field.name, self.scalar(field))

    def put(self, target, entry, depth):
        key = self.scalar(entry.fields_by_name["key"])
        value = entry.fields_by_name["value"]
        if value.message_type is None:
            target[key] = self.scalar(value)
        else:
            inner = target[key]
            if depth < 3:
                self.fill(inner, depth + 1)

    def damage(self, wire):
        wire = bytearray(wire)
        for _ in range(self.chance.randrange(1, 4)):
            at = self.chance.randrange(len(wire) + 1)
            kind = self.chance.randrange(6)
            if kind == 0 and at < len(wire):
                wire[at] ^= 1 << self.chance.randrange(8)
            elif kind == 1 and at < len(wire):
                wire[at] = self.chance.randrange(256)
            elif kind == 2:
                del wire[at : at + self.chance.randrange(1, 4)]
            elif kind == 3:
                wire[at:at] = self.chance.randbytes(self.chance.randrange(1, 4))
            elif kind == 4:
                del wire[at:]
            else:
                end = self.chance.randrange(at, len(wire) + 1)
                wire[at:at] = wire[at:end][:64]
        return bytes(wire)


class Difference(Exception):
    pass


def expect(good, what, data):
    if not good:
        raise Difference(f"{what}\n  input: {data.hex()}")


def read_by_python(everything, wire):
    """None when it refuses; it stops at a tag of 0 or a group's end and only warns of what it left."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            message = everything.FromString(wire)
        except DecodeError:
            return None
    return None if warned else message


def check_scan(oracle, everything, wire, counts):
    reference = read_by_python(everything, wire)
    word, _ = oracle.ask("scan", wire)
    counts[word] = counts.get(word, 0) + 1
    if reference is None:
        expect(word != "OK", "we take what Python refuses", wire)
    else:
        expect(word == "OK" or word in STRICTER, f"we refuse ({word}) what Python takes", wire)
    return reference if word == "OK" else None


def check_unpacked(oracle, everything, wire, reference):
    """Unpacked and packed again, the message is still the one that Python read."""
    word, packed = oracle.ask("repack", wire)
    expect(word == "OK", f"we cannot unpack ({word}) what we took", wire)
    expect(everything.FromString(packed) == reference, "we read another message than Python", wire)


def check_json(oracle, everything, wire, message):
    word, text = oracle.ask("json", wire)
    expect(word == "OK", f"we cannot write JSON ({word})", wire)
    expected = json_format.MessageToDict(message)
    # Numbers beyond a float's digits may be spelt differently: compare what they read back as.
    expect(json_format.ParseDict(json.loads(text), everything()) == message, "our JSON is another message", wire)
    expect(json.loads(text).keys() == expected.keys(), "our JSON has other fields", wire)
    word, back = oracle.ask("parse", json_format.MessageToJson(message).encode())
    expect(word == "OK", f"we cannot read Python's JSON ({word})", wire)
    expect(everything.FromString(back) == message, "we read another message from Python's JSON", wire)


def check_signed(oracle, everything, wire, message):
    """What we take as canonical is what Python would write, too, but for maps and negative zero."""
    word, _ = oracle.ask("signed", wire)
    if word == "OK" and not any(name in str(message) for name in ("counts", "by_number", "by_bool")):
        expect(message.SerializeToString(deterministic=True) == wire, "we take as canonical what Python would not write",
               wire)


def run(oracle, kinds, chance, count):
    maker = Maker(chance, kinds)
    everything = kinds.Everything
    counts = {}
    for _ in range(count):
        message = maker.fill(everything())
        wire = message.SerializeToString()
        expect(check_scan(oracle, everything, wire, counts) is not None, "we refuse a whole message", wire)
        check_unpacked(oracle, everything, wire, message)
        check_json(oracle, everything, wire, message)
        check_signed(oracle, everything, wire, message)
        for _ in range(6):
            damaged = maker.damage(wire)
            read = check_scan(oracle, everything, damaged, counts)
            if read is not None:
                check_signed(oracle, everything, damaged, read)
    return counts


def main():
    path, folder = sys.argv[1:3]
    # libprotobuf writes a line to the standard error for each text that is not UTF-8.
    sys.stderr = sys.stdout
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.SystemRandom().getrandbits(32)
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 1500
    print(f"seed {seed}, {count} messages (again: {os.path.basename(__file__)} ORACLE PROTO_FOLDER {seed} {count})")
    with tempfile.TemporaryDirectory() as scratch:
        kinds = load(folder, scratch)
        oracle = Oracle(path)
        try:
            counts = run(oracle, kinds, random.Random(seed), count)
        except Difference as difference:
            print(f"DIFFERENCE: {difference}")
            return 1
        oracle.process.stdin.close()
        if oracle.process.wait(10) != 0:
            print("the oracle ended with an error")
            return 1
        print(", ".join(f"{word} {number}" for word, number in sorted(counts.items())))
    return 0


sys.exit(main())
