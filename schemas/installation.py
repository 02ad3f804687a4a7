"""How this copy of Millrace was installed, and what adds an extra to it."""

import json
import shlex
from importlib.metadata import PackageNotFoundError, distribution
from urllib.parse import unquote, urlsplit


def how_to_install(extra: str) -> str:
    """What adds an extra to this installation: pip, from the folder or wheel that Millrace was installed from."""
    try:
        written = distribution(__name__.partition(".")[0]).read_text("direct_url.json")
    except PackageNotFoundError:
        written = None
    origin = json.loads(written) if written else {}
    url = urlsplit(origin.get("url", ""))
    if url.scheme != "file":
        return f"pip install '.[{extra}]' in a clone of Millrace"
    editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return f"pip install {editable}{shlex.quote(f'{unquote(url.path)}[{extra}]')}"
