"""The stream of a replication slot: pgoutput's messages as the server sends them."""

import struct
import time
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from . import copy_messages
from .client import PostgresSettings, broken, connection_address, libpq_functions, replication, told
from .copy_messages import HEAD

STATUS: Final = struct.Struct(">cQQQqB")
SILENT_SECONDS: Final = 60.0
"""A server that is asked how far it is answers at once: beyond this, the connection is taken for dead."""
MESSAGES: Final = 65_536
BYTES: Final = 8 << 20
"""What one reading takes at most; a message that is larger comes alone."""
LINGER_SECONDS: Final = 0.05
PAUSE_SECONDS: Final = 0.005
"""A server that sends slower than we read: its messages are gathered for a while, for each reading has its price."""


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages one behind the other in `data`; `starts` has a place more than there are: the end."""

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1


class SlotStream:
    """The messages of a slot as the server sends them. Not thread-safe.

    `line`: the server's cluster and timeline.
    """

    def __init__(self, settings: PostgresSettings) -> None:
        self.settings = settings
        con, self.line = replication(
            settings,
            f"START_REPLICATION SLOT {settings.slot} LOGICAL 0/0 "
            f"(proto_version '1', publication_names '{settings.publication}')",
        )
        self._con, self._pg = con, con.pgconn
        found = libpq_functions("PQgetCopyData", "PQfreemem", "PQconsumeInput")
        self._functions = np.array(found, np.int64) if found else None
        self._state = np.zeros(8, np.int64)
        self.reached = 0
        self._heard = time.monotonic()

    def messages(self) -> Messages:
        """The messages that have come; keepalives move `reached`. Raises SourceError, LostOffsetsError."""
        with told(self.settings):
            before = self._state[copy_messages.HEARD]
            taken = self._by_loop() if self._functions is not None else self._one_by_one()
            state = self._state
            self.reached = max(self.reached, int(state[copy_messages.REACHED]))
            if state[copy_messages.HEARD] > before:
                self._heard = time.monotonic()
            if state[copy_messages.ASKED]:
                state[copy_messages.ASKED] = 0
                self.answer(asking=False)
            if state[copy_messages.ENDED] and not len(taken):
                raise broken(self._ended())
        return taken

    def _by_loop(self) -> Messages:
        state, pointer = self._state, connection_address(self._con)
        if pointer is None:
            raise broken("the connection is closed")
        size = max(BYTES, int(state[copy_messages.LEFT_SIZE]) if state[copy_messages.LEFT] else 0)
        out, starts = np.empty(size, np.uint8), np.empty(MESSAGES, np.int64)
        state[copy_messages.COUNT] = state[copy_messages.USED] = 0
        deadline = time.monotonic() + LINGER_SECONDS
        while True:
            copy_messages.take(self._functions, pointer, out, starts, state)
            full = state[copy_messages.LEFT] or state[copy_messages.COUNT] == MESSAGES
            if full or state[copy_messages.ENDED] or not state[copy_messages.COUNT] or time.monotonic() > deadline:
                break
            time.sleep(PAUSE_SECONDS)
        count, used = int(state[copy_messages.COUNT]), int(state[copy_messages.USED])
        return _messages(out[:used], np.concatenate((starts[:count], [used])))

    def _one_by_one(self) -> Messages:
        """Where libpq's functions are not to be found."""
        found: list[bytes] = []
        state = self._state
        self._pg.consume_input()
        while len(found) < MESSAGES:
            count, data = self._pg.get_copy_data(1)
            if count < 0:
                state[copy_messages.ENDED] = 1
            if count <= 0:
                break
            message = bytes(data)
            state[copy_messages.HEARD] += 1
            if message[0] == ord("k"):
                state[copy_messages.REACHED] = int.from_bytes(message[1:9], "big")
                state[copy_messages.ASKED] |= message[17]
            else:
                found.append(message[HEAD:])
        starts = np.concatenate(([0], np.cumsum([len(one) for one in found], dtype=np.int64)))
        return _messages(np.frombuffer(bytearray(b"".join(found)), np.uint8), starts.astype(np.int64))

    def answer(self, *, asking: bool) -> None:
        """Tell the server that we are here, without confirming anything; `asking` has it say how far it is."""
        with told(self.settings):
            if asking and time.monotonic() - self._heard > SILENT_SECONDS:
                raise broken(f"the server has not answered for {SILENT_SECONDS:.0f} s")
            self._pg.put_copy_data(STATUS.pack(b"r", self.reached, 0, 0, 0, int(asking)))
            self._pg.flush()

    def _ended(self) -> str:
        done = self._pg.get_result()
        said = done.error_message.decode(errors="replace").strip() if done is not None else ""
        said = said or self._pg.get_error_message().strip()
        return said or "the server ended the stream"

    @property
    def socket(self) -> int:
        return self._pg.socket

    def close(self) -> None:
        self._con.close()


def _messages(data: NDArray[np.uint8], starts: NDArray[np.int64]) -> Messages:
    data.flags.writeable = False
    return Messages(data, starts)
