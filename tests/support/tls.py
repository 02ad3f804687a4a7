"""Certificates of a CA of our own, and a listener that speaks TLS or something else."""

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)
PASSWORD = "k3y-canary"


class Authority:
    """A CA; `issue` writes a pair of files into a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = self._signed(self.name, self.key, DAY, (constraints, True))
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, host: str = "127.0.0.1", valid: datetime.timedelta = DAY, password: str = ""):
        """(certificate, key) of this host; a negative `valid` has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        with suppress(ValueError):
            host = ipaddress.ip_address(host)
        general = x509.DNSName(host) if isinstance(host, str) else x509.IPAddress(host)
        names = x509.SubjectAlternativeName([general])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._signed(subject, key, valid, (names, False))
        locked = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
        files = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(key.private_bytes(*form))
        return tuple(map(str, files))

    def _signed(self, subject, key, valid, extension) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(self.name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - 2 * DAY).not_valid_after(now + valid)
        return builder.add_extension(extension[0], critical=extension[1]).sign(self.key, hashes.SHA256())


@contextmanager
def listener(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """host:port where `serve` gets each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection = server.accept()[0]
                    with connection, suppress(OSError):
                        connection.settimeout(3)
                        serve(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def speaking_tls(pair: tuple[str, str], client_ca: Path | None = None) -> Callable[[socket.socket], None]:
    """Answers any request by some bytes, over TLS; with `client_ca` only to clients with a certificate of it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca)
    context.load_cert_chain(*pair)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(100)
            secure.sendall(b"\0\0\0\x0aanswer")

    return serve
