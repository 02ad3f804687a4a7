"""The list of streams, which only RabbitMQ's management plugin has."""

import base64
import json
import ssl
import urllib.error
import urllib.request
from typing import Any, Final
from urllib.parse import quote

from ....schemas.errors import SourceError
from ....schemas.secrets import resolve
from .options import RabbitmqOptions

TIMEOUT_SECONDS: Final = 30.0


def listed(options: RabbitmqOptions, url: str) -> set[str]:
    """The streams and super streams of the virtual host; the streams of a super stream count as it. Raises
    SourceError."""
    host = quote(resolve(options.virtual_host), safe="")
    queues = {
        queue["name"]
        for queue in _asked(options, f"{url}/api/queues/{host}")
        if queue.get("type") == "stream" or queue.get("arguments", {}).get("x-queue-type") == "stream"
    }
    supers = {
        exchange["name"]
        for exchange in _asked(options, f"{url}/api/exchanges/{host}")
        if exchange.get("arguments", {}).get("x-super-stream")
    }
    bound = {
        binding["destination"]
        for binding in _asked(options, f"{url}/api/bindings/{host}")
        if binding["source"] in supers
    }
    return (queues - bound) | supers


def _asked(options: RabbitmqOptions, url: str) -> list[dict[str, Any]]:
    secret = "guest" if options.password is None else resolve(options.password)
    login = base64.b64encode(f"{resolve(options.username)}:{secret}".encode()).decode()
    request = urllib.request.Request(resolve(url), headers={"Authorization": f"Basic {login}"})
    context = ssl.create_default_context(cafile=options.tls.cafile if options.tls is not None else None)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=context) as answer:
            found: list[dict[str, Any]] = json.load(answer)
    except urllib.error.HTTPError as error:
        raise SourceError(f"source.management: {error.code} {error.reason} at {_shown(options)}") from None
    except (OSError, ValueError) as error:
        raise SourceError(f"source.management: no list of streams from {_shown(options)}: {error}") from None
    return found


def _shown(options: RabbitmqOptions) -> str:
    """The URL as the job file has it."""
    return str(options.management)
