"""A stand-in for BigQuery, which cannot be had here: its real protocols over rows that are kept in memory.

It serves `google.cloud.bigquery.storage.v1` (BigQueryWrite.AppendRows on default streams, BigQueryRead) over gRPC and
the part of REST that a writer needs (datasets.get, tables.get, insert and patch, jobs of queries) over HTTP, and it is
strict: see `bigquery_tables`. Faults are put in by `fail`; nothing of Millrace is imported here.
"""

import json
import re
import threading
import uuid
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote

import grpc
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types
from google.protobuf import any_pb2
from google.rpc import status_pb2

from support.bigquery_tables import ExtraFieldsError, Query, Refused, RowsRefused, Table

REQUEST_BYTES = 10_000_000
PAGE_ROWS = 1000
STREAM = re.compile(r"projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)/streams/_default")
RESULT = re.compile(r"projects/([^/]+)/datasets/_anonymous/tables/([^/]+)")
HTTP = {
    "INVALID_ARGUMENT": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "ALREADY_EXISTS": 409,
    "FAILED_PRECONDITION": 412, "RESOURCE_EXHAUSTED": 429, "UNAVAILABLE": 503,
}  # fmt: skip
REASONS = {"RESOURCE_EXHAUSTED": "rateLimitExceeded", "UNAVAILABLE": "backendError"}
PATHS = [
    ("GET", r"projects/([^/]+)/datasets/([^/]+)", "dataset"),
    ("POST", r"projects/([^/]+)/datasets/([^/]+)/tables", "insert"),
    ("GET", r"projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)", "get"),
    ("PATCH", r"projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)", "patch"),
    ("POST", r"projects/([^/]+)/jobs", "query"),
    ("GET", r"projects/([^/]+)/jobs/([^/]+)", "job"),
    ("GET", r"projects/([^/]+)/queries/([^/]+)", "answer"),
]


class BigQueryServer:
    """A context manager. `spread`: how many appends see a table's old columns after it was made or widened."""

    def __init__(self, project: str = "tests") -> None:
        self.project, self.spread = project, 0
        self.datasets: dict[str, dict[str, Table]] = {}
        self.forbidden: set[str] = set()
        self.faults: dict[str, deque[Any]] = defaultdict(deque)
        self.requests: list[int] = []
        self._jobs: dict[str, dict[str, Any]] = {}
        self.results: dict[str, pa.Table] = {}
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        self._grpc = grpc.server(ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1)])
        self._grpc.add_generic_rpc_handlers((_write(self), _read(self)))
        port = self._grpc.add_insecure_port("127.0.0.1:0")
        self._grpc.start()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self.emulator = {"rest": f"http://127.0.0.1:{self._http.server_port}", "grpc": f"127.0.0.1:{port}"}
        return self

    def __exit__(self, *_: object) -> None:
        self._grpc.stop(None).wait()
        self._http.shutdown()
        self._http.server_close()

    def fail(self, where: str, *faults: Any) -> None:
        """The next calls of `where` ("append", or a name in PATHS) meet these faults, None being none.

        A fault is a code, as gRPC names it; "closed": the stream ends without an answer; "lost": applied, then the
        connection breaks; "fields": unknown columns; "row": the first row is refused; or a function that is called
        after the rows are applied, before the answer.
        """
        self.faults[where].extend(faults)

    def fault(self, where: str) -> Any:
        return self.faults[where].popleft() if self.faults[where] else None

    def check(self, project: str, dataset: str) -> dict[str, Table]:
        if dataset in self.forbidden or project != self.project:
            raise Refused("PERMISSION_DENIED", f"Access Denied: Dataset {project}:{dataset}", "accessDenied")
        if dataset not in self.datasets:
            raise Refused("NOT_FOUND", f"Not found: Dataset {project}:{dataset}", "notFound")
        return self.datasets[dataset]

    def table(self, project: str, dataset: str, name: str) -> Table:
        tables = self.check(project, dataset)
        if name not in tables:
            raise Refused("NOT_FOUND", f"Not found: Table {project}:{dataset}.{name}", "notFound")
        return tables[name]

    def rows(self, dataset: str, name: str) -> list[dict[str, Any]]:
        """What a SELECT * gives, by the table's columns."""
        table = self.datasets[dataset][name]
        return table.select([part.name for part in table.columns], []).to_pylist()

    def rest(self, what: str, parts: list[str], body: dict[str, Any], etag: str | None) -> dict[str, Any]:
        with self._lock:
            fault = self.fault(what)
            if fault is not None:
                raise Refused(fault, "put in by a test", REASONS.get(fault, "invalid"))
            return getattr(self, f"_{what}")(parts, body, etag)

    def _dataset(self, parts: list[str], body: dict[str, Any], etag: str | None) -> dict[str, Any]:
        self.check(*parts)
        return {"datasetReference": {"projectId": parts[0], "datasetId": parts[1]}, "id": ":".join(parts)}

    def _insert(self, parts: list[str], body: dict[str, Any], etag: str | None) -> dict[str, Any]:
        tables, name = self.check(*parts), body["tableReference"]["tableId"]
        if name in tables:
            raise Refused("ALREADY_EXISTS", f"Already Exists: Table {name}", "duplicate")
        tables[name] = Table.make(name, body)
        tables[name].unknown = self.spread
        return tables[name].json()

    def _get(self, parts: list[str], body: dict[str, Any], etag: str | None) -> dict[str, Any]:
        return self.table(*parts).json()

    def _patch(self, parts: list[str], body: dict[str, Any], etag: str | None) -> dict[str, Any]:
        table = self.table(*parts)
        table.patch(body, etag, self.spread)
        return table.json()

    def _query(self, parts: list[str], body: dict[str, Any], etag: str | None) -> dict[str, Any]:
        """Jobs are done at once; what is wrong with a query is told when its results are asked for."""
        name = body["jobReference"]["jobId"]
        job = {
            "jobReference": {"projectId": parts[0], "jobId": name, "location": "US"},
            "configuration": {"jobType": "QUERY", **body["configuration"]},
            "status": {"state": "DONE"},
            "statistics": {"query": {"statementType": "SELECT"}},
        }
        self._jobs[name] = {"job": job, "refused": None}
        try:
            query = Query.read(parts[0], body["configuration"]["query"])
            table = self.table(parts[0], query.dataset, query.table)
            result = uuid.uuid4().hex
            self.results[result] = table.select(query.columns, query.conditions)
            place = {"projectId": parts[0], "datasetId": "_anonymous", "tableId": result}
            job["configuration"]["query"]["destinationTable"] = place
        except Refused as refused:
            self._jobs[name]["refused"] = refused
            error = {"reason": refused.reason, "message": str(refused)}
            job["status"] |= {"errorResult": error, "errors": [error]}
        return job

    def _job(self, parts: list[str], body: dict[str, Any], etag: str | None) -> dict[str, Any]:
        return self._jobs[parts[1]]["job"]

    def _answer(self, parts: list[str], body: dict[str, Any], etag: str | None) -> dict[str, Any]:
        job = self._jobs[parts[1]]
        if job["refused"] is not None:
            raise job["refused"]
        rows = self.results[job["job"]["configuration"]["query"]["destinationTable"]["tableId"]]
        fields = [{"name": name, "type": "STRING"} for name in rows.column_names]
        reference = job["job"]["jobReference"]
        return {"jobReference": reference, "jobComplete": True, "totalRows": len(rows), "schema": {"fields": fields}}

    def append(self, requests: Iterator[tuple[int, types.AppendRowsRequest]], context: grpc.ServicerContext) -> Any:
        """A connection to one default stream; answers come in the order of the requests."""
        stream, descriptor, version = "", None, 0
        try:
            for size, request in requests:
                if request.write_stream:
                    stream, descriptor = request.write_stream, request.proto_rows.writer_schema.proto_descriptor
                fault = self.fault("append")
                if fault in grpc.StatusCode.__members__:
                    raise Refused(fault, "put in by a test")
                if fault == "closed":
                    return
                with self._lock:
                    table = self._append_table(stream, descriptor, (size, request))
                    version = version or table.version
                    answer = _answered(table, descriptor, (stream, request), fault)
                if callable(fault):
                    fault()
                if fault == "lost":
                    raise Refused("UNAVAILABLE", "the connection broke after the rows were applied")
                if table.version != version and "error" not in answer:
                    fields = [types.TableFieldSchema(name=part.name) for part in table.columns]
                    answer.updated_schema, version = types.TableSchema(fields=fields), table.version
                yield answer
        except Refused as refused:
            context.abort(grpc.StatusCode[refused.code], str(refused))

    def _append_table(self, stream: str, descriptor: Any, sent: tuple[int, Any]) -> Table:
        size, request = sent
        self.requests.append(size)
        place = STREAM.fullmatch(stream)
        if place is None or descriptor is None or not descriptor.field or not request.proto_rows.rows.serialized_rows:
            raise Refused("INVALID_ARGUMENT", "the first request names a default stream and the writer's schema")
        if size > REQUEST_BYTES:
            raise Refused("INVALID_ARGUMENT", f"AppendRows request of {size} bytes is too large")
        return self.table(*place.groups())

    def session(self, request: types.CreateReadSessionRequest, context: grpc.ServicerContext) -> types.ReadSession:
        """Of the result of a query only: a table that takes changes cannot be read directly while they are merged."""
        wanted, found = request.read_session, RESULT.fullmatch(request.read_session.table)
        fault = self.fault("session")
        if fault is not None:
            context.abort(grpc.StatusCode[fault], "put in by a test")
        if found is None or found[2] not in self.results or wanted.data_format != types.DataFormat.ARROW:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{wanted.table} cannot be read by the Storage Read API")
        rows = self.results[found[2]]
        schema = types.ArrowSchema(serialized_schema=rows.schema.serialize().to_pybytes())
        name = f"projects/{found[1]}/locations/us/sessions/{found[2]}"
        streams = [types.ReadStream(name=f"{name}/streams/0")] if len(rows) else []
        return types.ReadSession(
            name=name, table=wanted.table, data_format=wanted.data_format, arrow_schema=schema, streams=streams
        )

    def read(self, request: types.ReadRowsRequest, context: grpc.ServicerContext) -> Iterator[types.ReadRowsResponse]:
        rows = self.results[request.read_stream.split("/")[5]].slice(request.offset).combine_chunks()
        for batch in rows.to_batches(max_chunksize=PAGE_ROWS):
            fault = self.fault("read")
            if fault is not None:
                context.abort(grpc.StatusCode[fault], "put in by a test")
            sent = types.ArrowRecordBatch(serialized_record_batch=batch.serialize().to_pybytes())
            yield types.ReadRowsResponse(arrow_record_batch=sent, row_count=batch.num_rows)


def _answered(table: Table, descriptor: Any, sent: tuple[str, Any], fault: Any) -> types.AppendRowsResponse:
    """Apply one request; what went wrong with its rows stands in the answer, and the connection goes on."""
    stream, request = sent
    answer = types.AppendRowsResponse(write_stream=stream)
    try:
        if fault == "fields":
            raise ExtraFieldsError("put in by a test")
        if fault == "row":
            raise RowsRefused({0: "put in by a test"})
        table.apply(descriptor, list(request.proto_rows.rows.serialized_rows))
        answer.append_result = types.AppendRowsResponse.AppendResult()
    except ExtraFieldsError as error:
        answer.error = _status("INVALID_ARGUMENT", str(error), stream)
    except RowsRefused as error:
        answer.error = _status("INVALID_ARGUMENT", str(error))
        code = types.RowError.RowErrorCode.FIELDS_ERROR
        answer.row_errors = [
            types.RowError(index=number, code=code, message=text) for number, text in error.rows.items()
        ]
    return answer


def _status(code: str, message: str, stream: str | None = None) -> status_pb2.Status:
    status = status_pb2.Status(code=grpc.StatusCode[code].value[0], message=message)
    if stream is not None:
        kind = types.StorageError.StorageErrorCode.SCHEMA_MISMATCH_EXTRA_FIELDS
        detail = any_pb2.Any()
        detail.Pack(types.StorageError.pb(types.StorageError(code=kind, entity=stream, error_message=message)))
        status.details.append(detail)
    return status


def _sized(data: bytes) -> tuple[int, types.AppendRowsRequest]:
    return len(data), types.AppendRowsRequest.deserialize(data)


def _write(server: BigQueryServer) -> grpc.GenericRpcHandler:
    append = grpc.stream_stream_rpc_method_handler(
        server.append, request_deserializer=_sized, response_serializer=types.AppendRowsResponse.serialize
    )
    return grpc.method_handlers_generic_handler(
        "google.cloud.bigquery.storage.v1.BigQueryWrite", {"AppendRows": append}
    )


def _read(server: BigQueryServer) -> grpc.GenericRpcHandler:
    session = grpc.unary_unary_rpc_method_handler(
        server.session,
        request_deserializer=types.CreateReadSessionRequest.deserialize,
        response_serializer=types.ReadSession.serialize,
    )
    read = grpc.unary_stream_rpc_method_handler(
        server.read,
        request_deserializer=types.ReadRowsRequest.deserialize,
        response_serializer=types.ReadRowsResponse.serialize,
    )
    methods = {"CreateReadSession": session, "ReadRows": read}
    return grpc.method_handlers_generic_handler("google.cloud.bigquery.storage.v1.BigQueryRead", methods)


def _handler(server: BigQueryServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
            path = self.path.partition("?")[0].removeprefix("/bigquery/v2/")
            found = ((name, re.fullmatch(pattern, path)) for method, pattern, name in PATHS if method == self.command)
            name, match = next(((name, match) for name, match in found if match), ("", None))
            if match is None:
                return self._send(404, {"error": {"code": 404, "message": f"{self.command} {path} is not served here"}})
            try:
                parts = [unquote(part) for part in match.groups()]
                return self._send(200, server.rest(name, parts, body, self.headers.get("If-Match")))
            except Refused as refused:
                code = HTTP[refused.code]
                errors = [{"reason": refused.reason, "message": str(refused)}]
                return self._send(code, {"error": {"code": code, "message": str(refused), "errors": errors}})

        do_GET = do_POST = do_PATCH = _serve

        def _send(self, code: int, answer: dict[str, Any]) -> None:
            data = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            return

    return Handler
