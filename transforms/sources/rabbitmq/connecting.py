"""Connections to the servers of the job file, and from there to the node that a stream is read from."""

import socket
import ssl
from typing import Final

from ....schemas.errors import JobError, MillraceError, SourceError
from ....schemas.secrets import resolve
from .connection import CODES, NOT_AVAILABLE, StreamConnection
from .options import PORT, TLS_PORT, RabbitmqOptions, TlsOptions, address

CONNECT_SECONDS: Final = 10.0


def connected(options: RabbitmqOptions, stream: str | None = None) -> StreamConnection:
    """A connection to the first server that answers, or with `stream` to the node that writes it.

    That node is where the server behind an address is another one than its own, as behind a load balancer, for the
    address by which the cluster knows it. Raises SourceError, JobError; AnswerError, as NO_STREAM.
    """
    found = _first_of(options)
    if stream is None:
        return found
    try:
        node = found.leader(stream)
        if node is None:
            raise SourceError(f"{stream} has no leader now: {CODES[NOT_AVAILABLE]}")
    except MillraceError:
        found.close()
        raise
    if node == found.node:
        return found
    found.close()
    return _open(options, *node)


def address_of(options: RabbitmqOptions, stream: str) -> tuple[str, int]:
    """Where `connected` ends for this stream. Raises SourceError, JobError."""
    connection = connected(options, stream)
    connection.close()
    return connection.address


def _first_of(options: RabbitmqOptions) -> StreamConnection:
    failed: list[str] = []
    for server in options.servers:
        host, port = address(resolve(server), TLS_PORT if options.tls is not None else PORT)
        try:
            return _open(options, host, port)
        except SourceError as error:
            failed.append(str(error))
    raise SourceError("; ".join(failed))


def _open(options: RabbitmqOptions, host: str, port: int) -> StreamConnection:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        link = socket.create_connection((host, port), CONNECT_SECONDS)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if options.tls is not None:
            link = tls_context(options.tls).wrap_socket(link, server_hostname=host)
    except ssl.SSLError as error:
        raise SourceError(f"{where} cannot be reached by TLS: {error.reason or error}") from None
    except OSError as error:
        raise SourceError(f"{where} cannot be reached: {error}") from None
    found = StreamConnection(link, (host, port))
    try:
        found.login(options)
    except MillraceError:
        found.close()
        raise
    return found


def tls_context(tls: TlsOptions) -> ssl.SSLContext:
    """What trusts, and shows, the certificates that the job file names. Raises JobError."""
    try:
        context = ssl.create_default_context(cafile=tls.cafile)
        if tls.certfile is not None:
            context.load_cert_chain(tls.certfile, tls.keyfile)
    except (OSError, ssl.SSLError) as error:
        raise JobError(f"source.tls: the certificates cannot be read: {error}") from None
    return context
