"""A JobManager's REST answers without a JobManager: as Flink 1.19.3 gave them, cut to what matters, on a thread."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

JOB = "62030bd67b7e1c0d8d7c5b7b7e0d7a11"


def manager(slots=2, free=2):
    return {"id": "taskmanager1", "slotsNumber": slots, "freeSlots": free}


class FlinkAnswers:
    """`with FlinkAnswers() as flink: flink.url`; `answers` by path may be changed, `asked` are (method, path, body)."""

    def __init__(self, version="1.19.3", managers=None):
        self.answers = {
            "/config": {"refresh-interval": 3000, "flink-version": version, "flink-revision": "4105f8d"},
            "/taskmanagers": {"taskmanagers": [manager(), manager()] if managers is None else managers},
            "/jobmanager/config": [
                {"key": "rest.port", "value": "8081"},
                {"key": "state.checkpoints.dir", "value": "s3://bucket/checkpoints"},
            ],
            "/jobs/overview": {"jobs": []},
        }
        self.asked = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"flink": self}))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    flink: FlinkAnswers

    def _answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.flink.asked.append((self.command, self.path, json.loads(body) if body else None))
        found = self.flink.answers.get(self.path)
        if isinstance(found, list) and found and isinstance(found[0], tuple):
            found = found.pop(0) if len(found) > 1 else found[0]
        status, said = found if isinstance(found, tuple) else (200 if found is not None else 404, found)
        text = json.dumps(said if said is not None else {"errors": ["Not found: " + self.path]}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = _answer

    def log_message(self, format, *args):
        pass
