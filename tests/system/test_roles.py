"""Every RPC with no role, a wrong one and the right one. The table roles.json must name every method that reflection lists."""

import json
import pathlib
import sys
import unittest

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from installation import ROOT, SERVICES, Installation, _generated  # noqa: E402

ROLES = ("agent", "executor", "approver", "operator", "auditor", "telemetry", "service")
TABLE = json.loads((pathlib.Path(__file__).parent / "roles.json").read_text())
REFUSED = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)


class Roles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.it = Installation()
        cls.addClassCleanup(cls.it.close)

    def code(self, call):
        """The status of a call that sends one empty message; streams are left after the first answer."""
        try:
            for _ in call:
                break
            call.cancel()
            return grpc.StatusCode.OK
        except grpc.RpcError as error:
            return error.code()

    def call(self, channel, method, metadata=()):
        made = channel.stream_stream(method, request_serializer=None, response_deserializer=None)
        return self.code(made(iter([b""]), timeout=3, metadata=metadata))

    def test_table_is_complete(self):
        _generated()
        from google.protobuf import descriptor_pool
        from installation import proto
        found = set()
        for path in sorted((ROOT / "proto" / "interlock").rglob("*.proto")):
            messages, _ = proto(".".join(path.relative_to(ROOT / "proto").with_suffix("").parts))
            for service in messages.DESCRIPTOR.services_by_name.values():
                found |= {f"/{service.full_name}/{method.name}" for method in service.methods}
        for signal, service in (("trace", "Trace"), ("metrics", "Metrics"), ("logs", "Logs")):
            found.add(f"/opentelemetry.proto.collector.{signal}.v1.{service}Service/Export")
        self.assertEqual(found, {method for rows in TABLE.values() for method in rows})
        self.assertIsNotNone(descriptor_pool)

    def test_every_method_with_every_role(self):
        for service, methods in TABLE.items():
            unix = self.it.unix_channel(service)
            for method, allowed in methods.items():
                with self.subTest(method=method, role=None):
                    self.assertIn(self.call(unix, method), REFUSED if "anyone" not in allowed else (grpc.StatusCode.OK,))
                for role in ROLES:
                    with self.subTest(method=method, role=role, over="unix"):
                        code = self.call(unix, method, (("interlock-role", role),))
                        if role in allowed or "anyone" in allowed:
                            self.assertNotIn(code, REFUSED)
                        else:
                            self.assertEqual(code, grpc.StatusCode.PERMISSION_DENIED)

    def test_certificates_give_one_role_that_metadata_cannot_widen(self):
        for role in ROLES:
            channel = self.it.channel("graph", role)
            method = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
            with self.subTest(role=role):
                code = self.call(channel, method, (("interlock-role", "telemetry"),))
                if role in TABLE["graph"][method]:
                    self.assertNotIn(code, REFUSED)
                else:
                    self.assertEqual(code, grpc.StatusCode.PERMISSION_DENIED)

    def test_no_certificate_no_connection(self):
        authority = (self.it.data / "tls" / "ca.pem").read_bytes()
        channel = grpc.secure_channel(f"localhost:{self.it.where('graph')['tcp_port']}", grpc.ssl_channel_credentials(authority))
        self.it.channels.append(channel)
        self.assertEqual(self.call(channel, "/grpc.health.v1.Health/Check"), grpc.StatusCode.UNAVAILABLE)

    def test_health_and_reflection_are_for_everyone(self):
        for service in SERVICES:
            unix = self.it.unix_channel(service)
            self.assertEqual(self.call(unix, "/grpc.health.v1.Health/Check"), grpc.StatusCode.OK)
            self.assertEqual(self.call(unix, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"), grpc.StatusCode.OK)


if __name__ == "__main__":
    unittest.main(verbosity=2)
