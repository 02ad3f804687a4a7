"""Why a Kafka cluster does not let us in: what is wrong, in one sentence with the fix.

kafka-python says of most faults that no broker is available. So after a failure each server is asked once more, step by
step, by sockets of our own: its name, its port, TLS, and what answers there.
"""

import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Final

from ....schemas.errors import JobError

SECONDS: Final = 3.0
API_VERSIONS: Final = bytes.fromhex("0000001300120000000000010009") + b"millrace-"
"""A request that each broker answers (ApiVersions, version 0), whatever the listener asks for later."""
NO_CERTIFICATE: Final = "the broker asks for a client certificate; set source.client.ssl_certfile and ssl_keyfile"
MOST_BYTES: Final = 1 << 16
UNSUPPORTED_MECHANISM: Final = 33
ILLEGAL_STATE: Final = 34
TLS_ALERT: Final = b"\x15\x03"
_VERIFY: Final[Mapping[int, str]] = {
    10: "the broker's certificate has expired; renew it there",
    9: "the broker's certificate is not valid yet; look at the clocks of both sides",
    18: "the broker's certificate is signed by itself; name it as source.client.ssl_cafile",
    19: "the broker's certificate is of a CA that is not trusted here; name the CA's file as source.client.ssl_cafile",
    20: "the broker's certificate is of a CA that is not trusted here; name the CA's file as source.client.ssl_cafile",
    62: "the broker's certificate is for another host name; use a name that stands in it in source.bootstrap_servers",
    64: "the broker's certificate is for another address; use a name that stands in it in source.bootstrap_servers",
}
"""By OpenSSL's number of what is wrong with a certificate (X509_V_ERR_...)."""


def denied_topics(error: Exception) -> list[str]:
    """The topics that an error of kafka-python names, if any."""
    topics = error.args[0] if error.args else ()
    named = sorted(map(str, topics)) if isinstance(topics, set | frozenset | list | tuple) else [str(topics)]
    return [topic for topic in named if topic]


def refused(error: Exception) -> str:
    """What an error of kafka-python says of rights: the topics, and which right to give."""
    named = denied_topics(error)
    if not named:
        return f"this user lacks a right ({type(error).__name__}): give it READ and DESCRIBE on the job's topics"
    where = f"the topic {named[0]}" if len(named) == 1 else f"the topics {', '.join(named)}"
    return f"this user may not read {where}: give it the rights READ and DESCRIBE there (an ACL), or leave it out"


def with_tls(options: Mapping[str, Any]) -> bool:
    """Whether the options ask for TLS."""
    return "SSL" in str(options.get("security_protocol", ""))


def tls_context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """What kafka-python makes of the options `ssl_*`. Raises JobError for a file or password that is wrong.

    A key that needs a password which is not given is an error: OpenSSL would ask for it on the terminal.
    """
    context = ssl.create_default_context()
    context.check_hostname = bool(options.get("ssl_check_hostname", True))
    for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile"):
        path = options.get(name)
        if path and not os.access(path, os.R_OK):
            why = "cannot be read; check its rights" if os.path.exists(path) else "does not exist"
            raise JobError(f"source.client.{name}: {path} {why}")
    try:
        if options.get("ssl_cafile"):
            context.load_verify_locations(options["ssl_cafile"])
    except (ssl.SSLError, OSError):
        raise JobError(f"source.client.ssl_cafile: {options['ssl_cafile']} holds no certificate (PEM)") from None
    if options.get("ssl_certfile"):
        _load_own(context, options)
    return context


def _load_own(context: ssl.SSLContext, options: Mapping[str, Any]) -> None:
    asked: list[bool] = []

    def password() -> str:
        asked.append(True)
        return str(options.get("ssl_password") or "")

    key = options.get("ssl_keyfile") or options["ssl_certfile"]
    try:
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"), password)
    except (ssl.SSLError, OSError) as error:
        if asked and options.get("ssl_password"):
            raise JobError(f"source.client.ssl_password does not open the key in {key}") from None
        if asked:
            raise JobError(f"the key in {key} has a password: set source.client.ssl_password to a reference") from None
        if "MISMATCH" in str(error):
            raise JobError(f"the key in {key} is not that of the certificate in {options['ssl_certfile']}") from None
        raise JobError(f"source.client.ssl_certfile: {options['ssl_certfile']} and {key} hold no PEM pair") from None


def check_files(options: Mapping[str, Any]) -> None:
    """Raise JobError for files of TLS that cannot be used; nothing is connected."""
    if with_tls(options):
        tls_context(options)


def connection_fault(options: Mapping[str, Any]) -> str | None:
    """What is wrong with the first of the servers for which it can be told; None where all answer as Kafka does."""
    for server in options["bootstrap_servers"]:
        host, port = _address(server)
        try:
            with closing(socket.create_connection((host, port), SECONDS)) as plain:
                plain.settimeout(SECONDS)
                fault = _tls_fault(plain, host, options) if with_tls(options) else _plain_fault(plain, options)
        except socket.gaierror:
            fault = "its name cannot be resolved; check source.bootstrap_servers"
        except TimeoutError:
            fault = f"no answer within {SECONDS:g} s; check address and firewall"
        except ConnectionRefusedError:
            fault = "nothing listens there; check source.bootstrap_servers, and whether the broker runs"
        except OSError as error:
            fault = f"the connection fails ({error.strerror or type(error).__name__}); check source.bootstrap_servers"
        if fault is not None:
            return f"{server.strip()}: {fault}"
    return None


def _address(server: str) -> tuple[str, int]:
    host, _, port = server.strip().rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdigit() else (server.strip().strip("[]"), 9092)


def _plain_fault(plain: socket.socket, options: Mapping[str, Any]) -> str | None:
    plain.sendall(API_VERSIONS)
    answer = _received(plain)
    if answer.startswith(TLS_ALERT):
        return "the listener speaks TLS; set source.client.security_protocol: SSL, or SASL_SSL with a login"
    if answer.startswith(b"HTTP/"):
        return "what answers there speaks HTTP, not Kafka; check the port"
    if not answer:
        return (
            "what listens there hangs up on a request of Kafka: it speaks TLS (set source.client.security_protocol: SSL"
            " or SASL_SSL) or is no Kafka broker (check the port)"
        )
    if int.from_bytes(answer[:4], "big") >= 1 << 24:
        return "what answers there is not Kafka; check the port"
    return _login_fault(plain, options)


def _tls_fault(plain: socket.socket, host: str, options: Mapping[str, Any]) -> str | None:
    try:
        secure = tls_context(options).wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        return _VERIFY.get(error.verify_code, f"the broker's certificate is refused: {error.verify_message}")
    except TimeoutError:
        return "the listener does not answer TLS; set source.client.security_protocol: PLAINTEXT or SASL_PLAINTEXT"
    except (ssl.SSLError, ConnectionResetError) as error:
        reason = getattr(error, "reason", None) or "no handshake"
        if any(word in reason for word in ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "BAD_CERTIFICATE")):
            return NO_CERTIFICATE
        return (
            f"the listener does not speak TLS ({reason}); set source.client.security_protocol: PLAINTEXT or "
            "SASL_PLAINTEXT"
        )
    with secure:
        return _fault_inside(secure, options)


def _fault_inside(secure: ssl.SSLSocket, options: Mapping[str, Any]) -> str | None:
    """By TLS 1.3 a client hears that its certificate is refused, or missing, only after its handshake."""
    try:
        secure.sendall(API_VERSIONS)
        if _received(secure):
            return _login_fault(secure, options)
    except TimeoutError:
        return f"no answer over TLS within {SECONDS:g} s; is it a broker?"
    except OSError:
        pass
    if options.get("ssl_certfile"):
        return "the broker does not trust the client's certificate in source.client.ssl_certfile, or is no Kafka"
    return NO_CERTIFICATE


def _login_fault(connection: socket.socket, options: Mapping[str, Any]) -> str | None:
    """Whether the listener and we agree about a login and its mechanism; the login itself is not tried."""
    wanted = str(options.get("sasl_mechanism") or "PLAIN")
    with_login = "SASL" in str(options.get("security_protocol", ""))
    try:
        connection.sendall(_handshake(wanted))
        answer = _received(connection)
    except OSError:
        return None
    if len(answer) < 10:
        return None
    code, offered = int.from_bytes(answer[8:10], "big"), ", ".join(_texts(answer[10:]))
    if not with_login and code in (0, UNSUPPORTED_MECHANISM):
        return (
            "the listener asks for a login; set source.client.security_protocol to that of SASL, and sasl_mechanism to "
            f"one of {offered}"
        )
    if with_login and code == UNSUPPORTED_MECHANISM:
        return f"the broker does not offer source.client.sasl_mechanism: {wanted}; it offers {offered}"
    if with_login and code == ILLEGAL_STATE:
        return "the listener takes no login; set source.client.security_protocol: PLAINTEXT, or SSL with TLS"
    return None


def _handshake(mechanism: str) -> bytes:
    """A request SaslHandshake, version 1."""
    name = mechanism.encode()
    body = b"\x00\x11\x00\x01\x00\x00\x00\x02\xff\xff" + len(name).to_bytes(2, "big") + name
    return len(body).to_bytes(4, "big") + body


def _texts(data: bytes) -> list[str]:
    """An array of strings as Kafka writes it."""
    count, at, found = int.from_bytes(data[:4], "big"), 4, []
    for _ in range(min(count, 20)):
        stop = at + 2 + int.from_bytes(data[at : at + 2], "big")
        found.append(data[at + 2 : stop].decode(errors="replace"))
        at = stop
    return found


def _received(connection: socket.socket) -> bytes:
    """An answer, or what came of it before the other side hung up."""
    data = bytearray()
    try:
        while len(data) < 4 or len(data) < 4 + min(int.from_bytes(data[:4], "big"), MOST_BYTES):
            part = connection.recv(MOST_BYTES)
            if not part:
                break
            data += part
            if data[:2] == TLS_ALERT or data[:5] == b"HTTP/" or data[0]:
                break
    except ConnectionResetError:
        pass
    return bytes(data)
