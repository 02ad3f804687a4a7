"""One connection of RabbitMQ's stream protocol: login, questions, and the chunks of subscriptions.

Format: RabbitMQ stream protocol (rabbitmq_stream plugin, docs/PROTOCOL.adoc), version 1 of each command: those that
servers from 3.9 on have. All numbers are big-endian; a text is its length (int16) and UTF-8.
"""

import socket
import struct
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from ....schemas.errors import JobError, SourceError
from ....schemas.secrets import resolve
from .options import RabbitmqOptions

TIMEOUT_SECONDS: Final = 30.0
RECEIVED_BYTES: Final = 1 << 18
MAX_FRAME: Final = 1 << 28
"""The most that one frame may hold: chunks are as large as publishers' batches."""

SUBSCRIBE, DELIVER, CREDIT, UNSUBSCRIBE, METADATA, METADATA_UPDATE = 7, 8, 9, 12, 15, 16
PEER_PROPERTIES, SASL_HANDSHAKE, SASL_AUTHENTICATE, TUNE, OPEN, CLOSE, HEARTBEAT, PARTITIONS = (
    17,
    18,
    19,
    20,
    21,
    22,
    23,
    25,
)
_ANSWER: Final = 0x8000
_HEAD: Final = struct.Struct(">HHI")

OK, NO_STREAM, NOT_AVAILABLE, DENIED = 1, 2, 6, 16
CODES: Final[Mapping[int, str]] = {
    NO_STREAM: "the stream does not exist",
    NOT_AVAILABLE: "the stream is not available now",
    7: "the server takes no user name and password (PLAIN)",
    8: "source.username or source.password are wrong",
    9: "the login failed",
    11: "this user may only connect from the server's own machine: make another one, and name it in source.username",
    12: "this user may not use source.virtual_host, or there is none of this name",
    13: "the server does not know a command",
    14: "a frame is too large",
    15: "an error inside the server",
    DENIED: "this user may not read it",
}
_LASTING: Final = frozenset({7, 8, 11, 12})
"""Answers to a login that stay what they are."""

FIRST, LAST, AT_OFFSET, AT_TIME = 1, 2, 4, 5


class AnswerError(SourceError):
    """The server said no; `code` is the protocol's."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text, code)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[0])


class Place(NamedTuple):
    """Where a subscription begins: FIRST, LAST, AT_OFFSET or AT_TIME with its number."""

    kind: int
    number: int = 0

    @property
    def encoded(self) -> bytes:
        number = {AT_OFFSET: ">Q", AT_TIME: ">q"}.get(self.kind)
        return struct.pack(">H", self.kind) + (struct.pack(number, self.number) if number else b"")


class Node(NamedTuple):
    """A server as the cluster knows it."""

    host: str
    port: int


class StreamConnection:
    """A connection that has logged in. Not thread-safe; what goes wrong raises SourceError, and the connection is of
    no more use."""

    def __init__(self, link: socket.socket, address: tuple[str, int]) -> None:
        self.address = address
        self.where = f"{address[0]}:{address[1]}"
        self._link = link
        self._held = bytearray()
        self._asked = 0
        self._chunks: deque[tuple[int, bytes]] = deque()
        self.lost: set[str] = set()
        """Streams that the server has told to be gone or moved since they were subscribed to."""
        self.node: Node | None = None

    def login(self, options: RabbitmqOptions) -> None:
        """The handshake. Raises JobError where the user, its password or the virtual host are wrong."""
        secret = "guest" if options.password is None else resolve(options.password)
        self._ask(PEER_PROPERTIES, _mapping({"product": "Millrace", "connection_name": "millrace"}))
        self._ask(SASL_HANDSHAKE, b"")
        login = b"\0" + resolve(options.username).encode() + b"\0" + secret.encode()
        try:
            self._ask(SASL_AUTHENTICATE, _text("PLAIN") + struct.pack(">i", len(login)) + login)
            frame = self._frame_of(TUNE)
            # No heartbeats: a reader may rest between two bundles, and asks for itself where nothing comes.
            self._send(struct.pack(">HHII", TUNE, 1, struct.unpack_from(">I", frame, 4)[0], 0))
            opened = self._ask(OPEN, _text(resolve(options.virtual_host)))
        except AnswerError as error:
            if error.code in _LASTING:
                raise JobError(str(error)) from None
            raise
        properties = dict(_properties(opened))
        host, port = properties.get("advertised_host"), properties.get("advertised_port", "")
        self.node = Node(host, int(port)) if host and port.isdigit() else None

    def leader(self, stream: str) -> Node | None:
        """The node that writes this stream; None while there is none. Raises AnswerError, as NO_STREAM."""
        body = self._ask(METADATA, struct.pack(">i", 1) + _text(stream), coded=False)
        at = 4
        nodes: dict[int, Node] = {}
        for _ in range(struct.unpack_from(">i", body)[0]):
            (number,) = struct.unpack_from(">H", body, at)
            host, at = _read_text(body, at + 2)
            nodes[number] = Node(host, struct.unpack_from(">I", body, at)[0])
            at += 4
        _, at = _read_text(body, at + 4)
        code, leader = struct.unpack_from(">HH", body, at)
        if code not in (OK, NOT_AVAILABLE):
            raise AnswerError(f"{self.where}: {stream}: {CODES.get(code, code)}", code)
        return nodes.get(leader) if code == OK else None

    def streams_of(self, super_stream: str) -> list[str]:
        """The partitions of a super stream, in its order. Raises AnswerError, as NO_STREAM."""
        body = self._ask(PARTITIONS, _text(super_stream))
        found, at = [], 4
        for _ in range(struct.unpack_from(">i", body)[0]):
            name, at = _read_text(body, at)
            found.append(name)
        return found

    def subscribe(self, number: int, stream: str, place: Place, credit: int) -> None:
        """Let the server send so many chunks. Raises AnswerError."""
        self.lost.discard(stream)
        body = struct.pack(">B", number) + _text(stream) + place.encoded + struct.pack(">Hi", credit, 0)
        self._ask(SUBSCRIBE, body)

    def unsubscribe(self, number: int) -> None:
        """End a subscription, and drop what came of it."""
        self._ask(UNSUBSCRIBE, struct.pack(">B", number))
        self._chunks = deque(chunk for chunk in self._chunks if chunk[0] != number)

    def credit(self, number: int, chunks: int) -> None:
        """Let the server send so many more."""
        self._send(struct.pack(">HHBH", CREDIT, 1, number, chunks))

    def chunk(self, number: int, wait: float) -> bytes | None:
        """The next chunk of a subscription as it came, None where none came within `wait` seconds."""
        deadline = time.monotonic() + wait
        while True:
            for place, (subscription, chunk) in enumerate(self._chunks):
                if subscription == number:
                    del self._chunks[place]
                    return chunk
            frame = self._frame(deadline)
            if frame is None:
                return None
            self._take(frame)

    def close(self) -> None:
        """Without a farewell: the server ends what belongs to the connection."""
        self._link.close()

    def _ask(self, command: int, body: bytes, coded: bool = True) -> bytes:
        """The answer to a question behind its number, and behind its code where it has one, which is OK."""
        self._asked += 1
        self._send(_HEAD.pack(command, 1, self._asked) + body)
        frame = self._frame_of(_ANSWER | command, self._asked)
        if not coded:
            return frame[8:]
        (code,) = struct.unpack_from(">H", frame, 8)
        if code != OK:
            raise AnswerError(f"{self.where}: {CODES.get(code, f'the server answered with code {code}')}", code)
        return frame[10:]

    def _frame_of(self, command: int, number: int | None = None) -> bytes:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while True:
            frame = self._frame(deadline)
            if frame is None:
                raise SourceError(f"{self.where}: no answer for {TIMEOUT_SECONDS:.0f} s")
            key, _, *_ = struct.unpack_from(">HH", frame)
            if key == command and number is None:
                return frame
            # RabbitMQ 3.10 forgets the mark of an answer where it has no partitions to tell.
            if key in (command, command & ~_ANSWER) and struct.unpack_from(">I", frame, 4)[0] == number:
                return frame
            self._take(frame)

    def _take(self, frame: bytes) -> None:
        """What comes unasked."""
        (key,) = struct.unpack_from(">H", frame)
        if key == DELIVER:
            self._chunks.append((frame[4], frame[5:]))
        elif key == METADATA_UPDATE:
            self.lost.add(_read_text(frame, 6)[0])
        elif key == CLOSE:
            raise SourceError(f"{self.where}: the server ended the connection: {_read_text(frame, 10)[0]}")

    def _frame(self, deadline: float) -> bytes | None:
        """The next frame without its length; what came of one stays for the next call where time runs out."""
        held = self._held
        while True:
            size = 4 + int.from_bytes(held[:4], "big") if len(held) >= 4 else 4
            if size > MAX_FRAME:
                raise SourceError(f"{self.where}: {size} bytes in one frame: this is no stream protocol")
            if len(held) >= size > 4:
                frame = bytes(memoryview(held)[4:size])
                del held[:size]
                return frame
            self._link.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                received = self._link.recv(RECEIVED_BYTES)
            except TimeoutError:
                return None
            except OSError as error:
                raise SourceError(f"{self.where}: the connection broke: {error}") from None
            if not received:
                raise SourceError(f"{self.where}: the server ended the connection")
            held += received

    def _send(self, frame: bytes) -> None:
        self._link.settimeout(TIMEOUT_SECONDS)
        try:
            self._link.sendall(struct.pack(">I", len(frame)) + frame)
        except OSError as error:
            raise SourceError(f"{self.where}: the connection broke: {error}") from None


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">h", len(encoded)) + encoded


def _mapping(texts: Mapping[str, str]) -> bytes:
    return struct.pack(">i", len(texts)) + b"".join(_text(name) + _text(value) for name, value in texts.items())


def _read_text(data: bytes, at: int) -> tuple[str, int]:
    """The text there, and the place after it."""
    length = struct.unpack_from(">h", data, at)[0]
    stop = at + 2 + max(length, 0)
    return data[at + 2 : stop].decode(errors="replace"), stop


def _properties(body: bytes) -> Iterator[tuple[str, str]]:
    at = 4
    for _ in range(struct.unpack_from(">i", body)[0]):
        name, at = _read_text(body, at)
        value, at = _read_text(body, at)
        yield name, value
