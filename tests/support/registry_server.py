"""A small schema registry over HTTP (Confluent REST protocol, reading only), on a thread, with faults on order."""

import base64
import json
import socket
import ssl
import struct
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Fault:
    """One request's fate instead of its answer; `hang` in seconds, `cut` closes in the middle, `reset` at once."""

    status: int = 0
    headers: dict = field(default_factory=dict)
    body: bytes = b'{"error_code": 50001, "message": "out of order"}'
    hang: float = 0.0
    cut: bool = False
    reset: bool = False


class RegistryServer:
    """`with RegistryServer() as server: server.add(1, schema); server.url`.

    `requests` counts paths as they were sent; `faults` are used up first, one a request.
    """

    def __init__(self, user=None, password=None, certificate=None, client_ca=None, prefix=""):
        self.requests = Counter()
        self.headers_seen = []
        self.faults = deque()
        self.schemas = {}
        self.subjects = {}
        self.prefix = prefix
        self.credentials = None if user is None else base64.b64encode(f"{user}:{password}".encode()).decode()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"registry": self}))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}{prefix}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            if client_ca:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(client_ca)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def add(self, schema_id, schema, references=(), **more):
        text = schema if isinstance(schema, str) else json.dumps(schema)
        self.schemas[schema_id] = {"schema": text, **more}
        if references:
            self.schemas[schema_id]["references"] = list(references)
        return self

    def add_version(self, subject, version, schema, references=(), schema_id=0, **more):
        text = schema if isinstance(schema, str) else json.dumps(schema)
        self.subjects[subject, version] = {"subject": subject, "version": version, "id": schema_id, "schema": text}
        self.subjects[subject, version] |= more
        if references:
            self.subjects[subject, version]["references"] = list(references)
        return self

    def answer(self, path):
        """(status, body) of a path without its query."""
        parts = [unquote(part) for part in path.removeprefix(self.prefix).strip("/").split("/")]
        match parts:
            case ["schemas", "ids", number] if path.startswith(self.prefix):
                found = self.schemas.get(int(number))
                return (200, found) if found else (404, {"error_code": 40403, "message": "Schema not found"})
            case ["subjects", subject, "versions", "latest"] if path.startswith(self.prefix):
                known = [version for name, version in self.subjects if name == subject]
                found = self.subjects[subject, max(known)] if known else None
                return (200, found) if found else (404, {"error_code": 40401, "message": "Subject not found."})
            case ["subjects", subject, "versions", version] if path.startswith(self.prefix):
                found = self.subjects.get((subject, int(version)))
                return (200, found) if found else (404, {"error_code": 40401, "message": "Subject not found."})
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A client that hangs up, or refuses our certificate, is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    registry: RegistryServer
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        registry = self.registry
        registry.requests[self.path] += 1
        registry.headers_seen.append(dict(self.headers))
        if registry.faults:
            self._fail(registry.faults.popleft())
        elif registry.credentials and self.headers.get("Authorization") != f"Basic {registry.credentials}":
            self._send(401, b'{"error_code": 401, "message": "Unauthorized"}')
        else:
            status, answer = registry.answer(urlsplit(self.path).path)
            self._send(status, json.dumps(answer).encode())

    def _fail(self, fault):
        time.sleep(fault.hang)
        if fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        self._send(fault.status or 200, fault.body, fault.headers, cut=fault.cut)

    def _send(self, status, body, headers=(), cut=False):
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body[: len(body) // 2] if cut else body)
        except OSError:
            self.close_connection = True
        if cut:
            self.close_connection = True

    def log_message(self, format, *args):
        pass
