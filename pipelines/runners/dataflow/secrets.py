"""`python -m millrace.pipelines.runners.dataflow.secrets COMMAND ...`: fetch secrets, then become the command.

Dataflow gives its workers neither variables nor files, so the image of a job names its secrets in MILLRACE_SECRETS,
separated by blanks: `NAME=projects/P/secrets/S/versions/V` becomes a variable, `/path=projects/...` a file that only
this user can read. They are read from Google's Secret Manager (REST, `versions:access`) with the token of the machine's
service account, and stand in the memory and the container of this process only.
"""

import base64
import binascii
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from ....schemas.errors import JobError
from ....transforms.retry import Backoff, Retry, retried

VARIABLE: Final = "MILLRACE_SECRETS"
TOKEN_PATH: Final = "/computeMetadata/v1/instance/service-accounts/default/token"
AWAY: Final = Backoff(1.0, 8.0, 15.0)
PASSING: Final = (408, 429, 500, 502, 503, 504)


def fetch(environment: Mapping[str, str]) -> dict[str, str]:
    """Write the secret files and give the secret variables; nothing where MILLRACE_SECRETS is not set.

    A server that does not answer is asked again for 15 s. Raises JobError, which names the secret and shows no value.
    """
    wanted = environment.get(VARIABLE, "").split()
    if not wanted:
        return {}
    host = environment.get("GCE_METADATA_HOST", "metadata.google.internal")
    found = _get("the metadata server", f"http://{host}{TOKEN_PATH}", {"Metadata-Flavor": "Google"})
    token = str(found["access_token"])
    service = environment.get(
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER", "https://secretmanager.googleapis.com/"
    ).rstrip("/")
    variables = {}
    for item in wanted:
        name, _, resource = item.partition("=")
        value = _secret(f"{service}/v1/{resource}:access", resource, token)
        if name.startswith("/"):
            _write(Path(name), value)
        else:
            variables[name] = value.decode()
    return variables


def _secret(url: str, resource: str, token: str) -> bytes:
    answer = _get(resource, url, {"Authorization": f"Bearer {token}"})
    try:
        return base64.b64decode(answer["payload"]["data"], validate=True)
    except (KeyError, TypeError, binascii.Error):
        raise JobError(f"{resource}: the answer of the Secret Manager holds no secret") from None


def _get(what: str, url: str, headers: Mapping[str, str]) -> Any:
    def attempt() -> Any:
        try:
            return _ask(url, headers)
        except urllib.error.HTTPError as error:
            if error.code in PASSING:
                raise
            raise JobError(f"{what}: HTTP {error.code}; {_advice(error.code)}") from None

    try:
        return retried(what, attempt, Retry(AWAY, (OSError, ValueError)))
    except (OSError, ValueError) as error:
        raise JobError(f"{what}: no answer: {error}") from None


def _ask(url: str, headers: Mapping[str, str]) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers)), timeout=10) as answer:
        return json.load(answer)


def _advice(code: int) -> str:
    if code in (401, 403):
        return "the workers' service account needs roles/secretmanager.secretAccessor"
    return "there is no such secret, or no enabled version of it" if code == 404 else "it refuses the request"


def _write(path: Path, value: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    except OSError as error:
        raise JobError(f"{path}: the secret cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(value)


def main(arguments: Sequence[str]) -> NoReturn:
    """Fetch, then replace this process by the command; exits with 2 where that cannot be."""
    try:
        environment = {**os.environ, **fetch(os.environ)}
    except JobError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    os.execvpe(arguments[0], list(arguments), environment)


if __name__ == "__main__":
    main(sys.argv[1:])
