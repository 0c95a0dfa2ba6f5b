"""A real installation for a test: its own data folder, its own five processes, clients in Python.

Programs come from INTERLOCK_BUILD (default build/release). Nothing here uses a fixed port or leaves anything behind.
"""

import base64
import hashlib
import importlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import grpc
import nacl.signing

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("INTERLOCK_BUILD", ROOT / "build" / "release")).resolve()
INCIDENTS = pathlib.Path(os.environ.get("INTERLOCK_INCIDENTS", ROOT.parent / "shared" / "incidents"))
SERVICES = ("signer", "audit", "graph", "memory", "policy")

ACTION = "application/vnd.interlock.action.v1+protobuf"


def _generated():
    """Python classes and stubs of all our protos, generated once a build."""
    out = BUILD / "python"
    stamp = out / ".complete"
    protos = sorted((ROOT / "proto").rglob("*.proto"))
    if not stamp.exists() or stamp.stat().st_mtime < max(p.stat().st_mtime for p in protos):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        subprocess.run(
            ["protoc", f"--proto_path={ROOT / 'proto'}", "--proto_path=/usr/include", f"--python_out={out}",
             f"--grpc_out={out}", "--plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin"]
            # google.rpc and grpc.* would hide the installed packages of the same name.
            + [str(p) for p in protos if p.relative_to(ROOT / "proto").parts[0] in ("interlock", "opentelemetry", "cloudevents")],
            check=True)
        stamp.touch()
    if str(out) not in sys.path:
        sys.path.insert(0, str(out))


def proto(path):
    """proto("interlock.policy.v1.policy") -> (messages, stubs)."""
    _generated()
    return importlib.import_module(path + "_pb2"), importlib.import_module(path + "_pb2_grpc")


def wait_for(what, check, seconds=20.0):
    """Polls until check() is true; an AssertionError that names what was waited for otherwise."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds:g} s in vain for: {what}")


def sign(seed, payload_type, payload):
    """A DSSE envelope around payload bytes."""
    common, _ = proto("interlock.common.v1.common")
    key = nacl.signing.SigningKey(seed)
    pae = b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)
    keyid = hashlib.sha256(bytes(key.verify_key)).hexdigest()[:32]
    return common.Envelope(payload=payload, payload_type=payload_type,
                           signatures=[common.Signature(sig=key.sign(pae).signature, keyid=keyid)])


class Etcd:
    """A real etcd with one member, on free ports, its data in a folder of its own. Raises unittest.SkipTest where there is none."""

    def __init__(self):
        if not (shutil.which("etcd") and shutil.which("etcdctl")):
            raise unittest.SkipTest("etcd is not installed (Debian: etcd-server, etcd-client)")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="il-etcd-"))
        self.process = None
        try:
            self._start_on_free_ports()
        except BaseException:
            self.close()
            raise

    def _start_on_free_ports(self):
        for attempt in range(5):  # between choosing a port and using it another program may take it
            ports = []
            for _ in range(2):
                with socket.socket() as chosen:
                    chosen.bind(("127.0.0.1", 0))
                    ports.append(chosen.getsockname()[1])
            self.url, self.peer_url = (f"http://127.0.0.1:{port}" for port in ports)
            try:
                return self.start()
            except AssertionError:
                if attempt == 4:
                    raise
                shutil.rmtree(self.folder / "data", ignore_errors=True)

    def start(self):
        """Also again after kill(), on the same data."""
        log = open(self.folder / "etcd.log", "ab")
        self.process = subprocess.Popen(
            ["etcd", "--name", "one", "--data-dir", str(self.folder / "data"), "--listen-client-urls", self.url,
             "--advertise-client-urls", self.url, "--listen-peer-urls", self.peer_url,
             "--initial-advertise-peer-urls", self.peer_url, "--initial-cluster", f"one={self.peer_url}"], stdout=log, stderr=log)
        log.close()
        wait_for("etcd to answer", lambda: self.process.poll() is not None or self.healthy(), 30)
        if self.process.poll() is not None:
            raise AssertionError((self.folder / "etcd.log").read_text(errors="replace")[-2000:])

    def ctl(self, *arguments, data=None):
        return subprocess.run(["etcdctl", f"--endpoints={self.url}", *arguments], input=data, capture_output=True, timeout=30,
                              env={**os.environ, "ETCDCTL_API": "3"})

    def healthy(self):
        return self.ctl("endpoint", "health").returncode == 0

    def get(self, key, prefix=False):
        """{key: value}, both bytes."""
        done = self.ctl("get", key, "-w", "json", *(["--prefix"] if prefix else []))
        if done.returncode:
            raise AssertionError(done.stderr.decode(errors="replace"))
        return {base64.b64decode(kv["key"]).decode(): base64.b64decode(kv.get("value", ""))
                for kv in json.loads(done.stdout).get("kvs", [])}

    def put(self, key, value):
        done = self.ctl("put", key, data=value)
        if done.returncode:
            raise AssertionError(done.stderr.decode(errors="replace"))

    def delete(self, key):
        if self.ctl("del", key).returncode:
            raise AssertionError(f"cannot delete {key}")

    def snapshot(self, file):
        done = self.ctl("snapshot", "save", str(file))
        if done.returncode:
            raise AssertionError(done.stderr.decode(errors="replace"))

    def restore(self, file):
        """Stops, takes the snapshot's data, starts."""
        self.kill()
        shutil.rmtree(self.folder / "data")
        done = self.ctl("snapshot", "restore", str(file), "--name", "one", "--data-dir", str(self.folder / "data"), "--initial-cluster",
                        f"one={self.peer_url}", "--initial-advertise-peer-urls", self.peer_url)
        if done.returncode:
            raise AssertionError(done.stderr.decode(errors="replace"))
        self.start()

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """kill -9, and gone when this returns."""
        self.process.kill()
        self.process.wait(10)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Installation:
    """Use as a context manager. start=False leaves the processes to the test. etcd=True starts a real etcd for coordination; an Etcd
    is used as it is, and left. signer_listens: also over mTLS, for a Replica."""

    def __init__(self, start=True, policy=None, data=None, etcd=False, name="test", signer_listens=False):
        self.signer_listens = signer_listens
        self.etcd = Etcd() if etcd is True else etcd or None
        self.own_etcd = etcd is True
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="il-"))
        self.data = pathlib.Path(data) if data else self.folder / "data"
        self.processes = {}
        self.channels = []
        self.name = name
        try:
            self.cli("init", "--name", self.name, *(["--policy", str(policy)] if policy else []),
                     *(["--etcd", self.etcd.url] if self.etcd else []))
            if start:
                self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- processes -------------------------------------------------------------------------------------------------
    def start(self, services=SERVICES, extra=()):
        for service in services:
            self.start_one(service, extra)

    def start_one(self, service, extra=(), environment=None):
        ready = self.data / "run" / f"{service}.json"
        ready.unlink(missing_ok=True)
        log = open(self.folder / f"{service}.log", "ab")
        command = [str(BUILD / f"interlock-{service}"), "--data-dir", str(self.data), *extra]
        if service != "signer" or self.signer_listens:
            tls = self.data / "tls"
            command += ["--listen", "127.0.0.1:0", "--tls-certificate", str(tls / f"service-{service}.pem"),
                        "--tls-key", str(tls / f"service-{service}.key"), "--tls-authority", str(tls / "ca.pem")]
        process = subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, **(environment or {})})
        log.close()
        self.processes[service] = process
        wait_for(f"{service} to serve", lambda: ready.exists() or process.poll() is not None)
        if process.poll() is not None:
            raise AssertionError(f"{service} ended with {process.returncode}:\n{self.log(service)}")

    def log(self, service):
        return (self.folder / f"{service}.log").read_text(errors="replace")

    def signal(self, service, number):
        self.processes[service].send_signal(number)

    def kill(self, service):
        """kill -9, and gone when this returns."""
        self.processes[service].kill()
        self.processes[service].wait(10)

    def stop(self, service):
        """SIGTERM; returns the exit code."""
        self.signal(service, signal.SIGTERM)
        return self.processes[service].wait(20)

    def where(self, service):
        return json.loads((self.data / "run" / f"{service}.json").read_text())

    def close(self):
        for channel in self.channels:
            channel.close()
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.own_etcd:
            self.etcd.close()

    # ---- clients ---------------------------------------------------------------------------------------------------
    def cli(self, *arguments, code=0, text=None):
        """Runs interlock; returns its standard output. code=None accepts every exit code and returns (code, output)."""
        done = subprocess.run([str(BUILD / "interlock"), "--data-dir", str(self.data), *map(str, arguments)], input=text,
                              stdin=None if text is not None else subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        if code is None:
            return done.returncode, done.stdout + done.stderr
        if done.returncode != code:
            raise AssertionError(f"interlock {' '.join(map(str, arguments))}: exit {done.returncode}, not {code}\n"
                                 f"{done.stdout}{done.stderr}")
        return done.stdout

    def json(self, *arguments, code=0):
        return json.loads(self.cli(*arguments, "-o", "json", code=code))

    def credentials(self, role):
        """(certificate, key, authority) paths of the development certificate of a role."""
        tls = self.data / "tls"
        return tls / f"{role}.pem", tls / f"{role}.key", tls / "ca.pem"

    def channel(self, service, role):
        """A mTLS channel to a service; role None: a certificate that gives no role is not to be had, so no certificate."""
        certificate, key, authority = self.credentials(role)
        made = grpc.secure_channel(f"localhost:{self.where(service)['tcp_port']}", grpc.ssl_channel_credentials(
            authority.read_bytes(), key.read_bytes(), certificate.read_bytes()))
        self.channels.append(made)
        return made

    def unix_channel(self, service):
        made = grpc.insecure_channel(f"unix:{self.where(service)['unix']}",
                                     options=[("grpc.max_send_message_length", 64 << 20)])
        self.channels.append(made)
        return made

    # ---- agents and actions ----------------------------------------------------------------------------------------
    def seed(self, key_file):
        """The 32-byte seed of a secret key file."""
        return base64.b64decode((self.data / "keys" / key_file).read_text().split()[2])

    def enroll(self, name, *extra):
        """Enrols an agent; returns the seed of its key."""
        self.cli("agent", "enroll", name, "--model", "acme/planner/1", *extra)
        return self.seed(f"agent-{name}.key")

    def action(self, name, action_id, target, verb="deploy", issued=None, lifetime_ms=300000, **fields):
        """An Action message with a complete header."""
        policy, _ = proto("interlock.policy.v1.policy")
        issued = int(time.time() * 1000) if issued is None else issued
        made = policy.Action(action_id=action_id, actor_kind=policy.ACTOR_KIND_AGENT, intent="a test", verb=verb,
                             targets=[target] if isinstance(target, str) else target, **fields)
        made.header.type = ACTION
        made.header.installation = self.name
        made.header.principal = f"agent/{name}"
        made.header.issued_at_ms = issued
        made.header.expires_at_ms = issued + lifetime_ms
        made.header.nonce = os.urandom(32)
        return made

    def signed(self, seed, action):
        return sign(seed, ACTION, action.SerializeToString(deterministic=True))

    def evaluate(self, envelope, role="agent", timeout=20, unix=False):
        policy, stubs = proto("interlock.policy.v1.policy")
        stub = stubs.PolicyServiceStub(self.unix_channel("policy") if unix else self.channel("policy", role))
        return stub.Evaluate(policy.EvaluateRequest(action=envelope), timeout=timeout, metadata=(("interlock-role", role),))

    # ---- telemetry -------------------------------------------------------------------------------------------------
    def ingest_shop(self, *arguments):
        """Feeds the sample shop's telemetry through the cli."""
        lines = subprocess.run(["/usr/bin/python3", str(ROOT / "examples" / "shop" / "generate.py"), *arguments],
                               capture_output=True, check=True, text=True).stdout
        return self.cli("graph", "ingest", "-", text=lines)


class Replica(Installation):
    """One more policy of a running installation, as on another machine: a data folder of its own with copies of what
    docs/operations.md lists, the other services reached over mTLS. What an Installation can do with policy, it can too."""

    def __init__(self, first, replica="policy-2", start=True):
        self.first, self.replica = first, replica
        self.etcd, self.own_etcd, self.signer_listens, self.name = first.etcd, False, False, first.name
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="il-"))
        self.data = self.folder / "data"
        self.processes, self.channels = {}, []
        try:
            for name in ("installation.yaml", "coordination.yaml", "keys/record-policy.key", "keys/operator.key", "tls/ca.pem",
                         "tls/service-policy.pem", "tls/service-policy.key", "tls/agent.pem", "tls/agent.key"):
                (self.data / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                shutil.copy(first.data / name, self.data / name)
            if start:
                self.start()
        except BaseException:
            self.close()
            raise

    def start(self):
        others = [f"--{service}=127.0.0.1:{self.first.where(service)['tcp_port']}" for service in ("audit", "graph", "signer")]
        self.start_one("policy", ["--replica", self.replica, *others])


def error_info(error):
    """(reason, message) of a grpc.RpcError: google.rpc.ErrorInfo from the status details, read without google.rpc's classes."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return _find_reason(value), error.details()
    return None, error.details()


def _fields(wire):
    at = 0
    while at < len(wire):
        tag, at = _varint(wire, at)
        if tag & 7 == 2:
            size, at = _varint(wire, at)
            yield tag >> 3, wire[at:at + size]
            at += size
        elif tag & 7 == 0:
            value, at = _varint(wire, at)
            yield tag >> 3, value
        else:
            raise ValueError("unexpected wire type in google.rpc.Status")


def _varint(wire, at):
    value = shift = 0
    while True:
        byte = wire[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _find_reason(status):
    for number, detail in _fields(status):
        if number == 3:
            any_fields = dict(_fields(detail))
            if any_fields.get(1, b"").endswith(b"google.rpc.ErrorInfo"):
                return dict(_fields(any_fields[2])).get(1, b"").decode()
    return None
