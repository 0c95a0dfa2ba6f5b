"""Signatures exchanged with PyNaCl: reads lines "key signature message" in hex and verifies them, then writes as many of
its own, over messages derived from those it read."""

import sys

try:
    from nacl.signing import SigningKey, VerifyKey
except ImportError:
    sys.exit(77)

own = SigningKey(bytes(range(32)))
for line in sys.stdin:
    key, signature, message = (bytes.fromhex(part) for part in line.rstrip("\n").split(" "))
    VerifyKey(key).verify(message, signature)  # raises when it does not verify
    message = message[::-1] + b"!"
    print(own.verify_key.encode().hex(), own.sign(message).signature.hex(), message.hex())
