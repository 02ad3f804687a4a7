"""What the BigQuery target uses of Google's libraries: tables, queries and appends, and their errors as Millrace's.

Tables are made and widened over REST; rows are read by queries, whose results come as Arrow over the Storage Read API
(a table that takes changes cannot be read by it directly), and written to the default stream of the Storage Write API.
An append is an AppendRowsRequest put together here, so that the encoded rows are not copied into message objects.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import grpc
import pyarrow as pa
from google.api_core import exceptions, retry
from google.api_core.gapic_v1.routing_header import to_grpc_metadata
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.bigquery.table import PrimaryKey, TableConstraints
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, BigQueryWriteClient, types
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport
from google.cloud.bigquery_storage_v1.services.big_query_write.transports import BigQueryWriteGrpcTransport
from google.protobuf.descriptor_pb2 import DescriptorProto

from ....schemas.errors import TransientSinkError
from ...retry import Backoff, Retry, retried
from .encoding import SIZED, Rows, tag, varint
from .errors import NotSpreadError, check, errors, spread
from .options import Emulator

__all__ = ["Dataset", "bigquery"]

METHOD: Final = "/google.cloud.bigquery.storage.v1.BigQueryWrite/AppendRows"
LABEL: Final = "millrace"
REQUEST_BYTES: Final = 8 << 20
APPEND_SECONDS: Final = 600.0
QUERY_SECONDS: Final = 600.0
CALL_SECONDS: Final = 60.0
SPREAD_SECONDS: Final = 180.0
RETRY: Final = bigquery.DEFAULT_RETRY.with_timeout(10.0)
READ_RETRY: Final = retry.Retry(
    predicate=retry.if_exception_type(exceptions.ServiceUnavailable), initial=0.1, timeout=10.0
)
UNLIMITED: Final = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


@dataclass
class Dataset:
    """One data set of a project. Opened at the first use; credentials are the application's default ones."""

    project: str
    name: str
    emulator: Emulator | None = None
    _opened: list[Any] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.project}.{self.name}"

    def sql(self, table: str) -> str:
        """A table's name in a query."""
        return f"`{self.project}`.`{self.name}`.`{table}`"

    def get(self, table: str) -> bigquery.Table | None:
        """A table's description; None where there is none. Raises SinkError."""
        with errors(str(self)):
            try:
                return self._rest.get_table(f"{self}.{table}", retry=RETRY, timeout=CALL_SECONDS)
            except exceptions.NotFound:
                self._rest.get_dataset(str(self), retry=RETRY, timeout=CALL_SECONDS)
                return None

    def create(
        self, table: str, fields: Sequence[bigquery.SchemaField], key: Sequence[str], options: Mapping[str, Any]
    ) -> bigquery.Table:
        """Make a table with a primary key, or take the one that another writer has just made. Raises SinkError."""
        made = bigquery.Table(f"{self}.{table}", schema=list(fields))
        made.table_constraints = TableConstraints(primary_key=PrimaryKey(columns=list(key)), foreign_keys=None)
        made.labels = {LABEL: "table"}
        for name, value in options.items():
            setattr(made, name, value)
        with errors(str(self)):
            return self._rest.create_table(made, exists_ok=True, retry=RETRY, timeout=CALL_SECONDS)

    def widen(self, table: bigquery.Table, fields: Sequence[bigquery.SchemaField]) -> None:
        """Put these columns in place of the table's, unless another writer was faster. Raises SinkError."""
        table.schema = list(fields)
        with errors(str(self)):
            self._rest.update_table(table, ["schema"], retry=RETRY, timeout=CALL_SECONDS)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[pa.RecordBatch]:
        """The rows of a query, nothing where a table or column is missing. Raises SinkError."""
        config = bigquery.QueryJobConfig(query_parameters=list(parameters), use_query_cache=False)
        with errors(str(self)):
            try:
                job = self._rest.query(sql, config, retry=RETRY, job_retry=None, timeout=CALL_SECONDS)
                job.result(retry=RETRY, job_retry=None, timeout=QUERY_SECONDS)
            except exceptions.NotFound:
                self._rest.get_dataset(str(self), retry=RETRY, timeout=CALL_SECONDS)
                return
            yield from self._results(job.destination)

    def _results(self, table: bigquery.TableReference) -> Iterator[pa.RecordBatch]:
        wanted = types.ReadSession(table=table.to_bqstorage(), data_format=types.DataFormat.ARROW)
        session = self._reader.create_read_session(
            parent=f"projects/{self.project}",
            read_session=wanted,
            max_stream_count=1,
            retry=READ_RETRY,
            timeout=CALL_SECONDS,
        )
        schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
        for stream in session.streams:
            for answer in self._reader.read_rows(stream.name, retry=READ_RETRY, timeout=QUERY_SECONDS):
                yield pa.ipc.read_record_batch(pa.py_buffer(answer.arrow_record_batch.serialized_record_batch), schema)

    def append(self, table: str, message: DescriptorProto, rows: Callable[[], Iterator[Rows]]) -> None:
        """Write rows and wait until all are acknowledged; again while BigQuery does not know the table's columns yet.

        `rows` is called for each attempt. Acknowledged rows stay where a later one fails. Raises SinkError, and what
        `rows` raises.
        """
        stream = f"projects/{self.project}/datasets/{self.name}/tables/{table}/streams/_default"
        spreading = Retry(Backoff(0.2, 5.0, SPREAD_SECONDS, by_clock=True), (NotSpreadError,))
        with errors(str(self)):
            try:
                retried(f"BigQuery {self}: table {table}", lambda: self._append(stream, message, rows()), spreading)
            except NotSpreadError as error:
                raise TransientSinkError(
                    f"BigQuery {self}: the columns of table {table} are not known to it yet ({error})"
                ) from None

    def _append(self, stream: str, message: DescriptorProto, rows: Iterator[Rows]) -> None:
        sent = _Requests(stream, message, rows)
        call = self._append_rows(
            iter(sent), metadata=[to_grpc_metadata({"write_stream": stream})], timeout=APPEND_SECONDS
        )
        answers = 0
        try:
            for response in call:
                check(response, message)
                answers += 1
        except grpc.RpcError as error:
            raise spread(exceptions.from_grpc_error(error)) from error
        finally:
            call.cancel()
        if sent.failed is not None:
            raise sent.failed
        if answers != sent.count or not sent.all_sent:
            raise TransientSinkError(f"BigQuery {self}: the stream was closed before all rows were acknowledged")

    def close(self) -> None:
        """Close the connections."""
        while self._opened:
            self._opened.pop().close()

    @cached_property
    def _rest(self) -> bigquery.Client:
        if self.emulator is None:
            client = bigquery.Client(self.project)
        else:
            options = {"api_endpoint": self.emulator.rest}
            client = bigquery.Client(self.project, credentials=AnonymousCredentials(), client_options=options)
        self._opened.append(client)
        return client

    @cached_property
    def _reader(self) -> BigQueryReadClient:
        if self.emulator is None:
            client = BigQueryReadClient()
        else:
            client = BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=self._insecure))
        self._opened.append(client.transport)
        return client

    @cached_property
    def _append_rows(self) -> Any:
        if self.emulator is None:
            client = BigQueryWriteClient()
        else:
            client = BigQueryWriteClient(transport=BigQueryWriteGrpcTransport(channel=self._insecure))
        self._opened.append(client.transport)
        answer = types.AppendRowsResponse.deserialize
        transport: Any = client.transport
        return transport.grpc_channel.stream_stream(METHOD, _raw, answer)

    @cached_property
    def _insecure(self) -> grpc.Channel:
        return grpc.insecure_channel(self.emulator.grpc if self.emulator else "", UNLIMITED)


class _Requests:
    """The requests of an append. gRPC takes them in a thread of its own, so an error here is kept for the caller."""

    def __init__(self, stream: str, message: DescriptorProto, rows: Iterator[Rows]) -> None:
        self._stream, self._message, self._rows = stream, message, rows
        self.count = 0
        self.all_sent = False
        self.failed: ValueError | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            for part in self._rows:
                yield self._request(part)
                self.count += 1
            self.all_sent = True
        except ValueError as error:
            self.failed = error

    def _request(self, rows: Rows) -> bytes:
        # An AppendRowsRequest by hand, for a message object would copy all rows once more: write_stream 1, proto_rows 4
        # (writer_schema 1, rows 2), trace_id 6. Stream and schema are in the first request alone.
        schema, stream = b"", b""
        if not self.count:
            writer = types.ProtoSchema(proto_descriptor=self._message)
            schema = _put(1, types.ProtoSchema.serialize(writer))
            stream = _put(1, self._stream.encode())
        return stream + _put(4, schema, _put(2, rows.data)) + _put(6, b"millrace")


def _put(number: int, *parts: bytes | memoryview) -> bytes:
    return b"".join([tag(number, SIZED).tobytes(), varint(sum(map(len, parts))), *parts])


def _raw(request: bytes) -> bytes:
    return request
