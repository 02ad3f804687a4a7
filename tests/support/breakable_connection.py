"""A wire to a server that a test can break: a TCP proxy on this machine."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Wire:
    """`most`: bytes of a connection that reach the server before it breaks; `deaf`: answers that are to be lost."""

    server: tuple[str, int]
    url: str = ""
    most: int | None = None
    deaf: int = 0
    lost: int = 0
    open: set[socket.socket] = field(default_factory=set)

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.server)
            self.open |= {client, server}
            for work in (self._ask, self._answer):
                threading.Thread(target=work, args=(client, server), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        left = self.most
        with suppress(OSError):
            while data := client.recv(1 << 16):
                server.sendall(data if left is None else data[:left])
                if left is not None:
                    left -= len(data)
                    if left <= 0:
                        break
        self.cut(client, server)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                if self.deaf and b" 100 " not in data[:16]:
                    self.deaf -= 1
                    self.lost += 1
                    break
                client.sendall(data)
        self.cut(client, server)

    def cut(self, *ends: socket.socket) -> None:
        """Close these ends."""
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            self.open.discard(end)


@contextmanager
def wire_to(url: str, **breaks: int) -> Iterator[Wire]:
    """A wire to the server at a URL; `wire.url` is the URL of its near end."""
    place = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wire = Wire((place.hostname or "", place.port or 80), f"http://127.0.0.1:{listener.getsockname()[1]}", **breaks)
        serving = threading.Thread(target=wire.serve, args=(listener,), daemon=True)
        serving.start()
        try:
            yield wire
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            serving.join(10)
            wire.cut(*wire.open)
