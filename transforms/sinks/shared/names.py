"""Table names as folder names, and back."""

import re
from typing import Final

NO_FOLDER: Final = re.compile(r"^\.|[^A-Za-z0-9_.-]")
ESCAPED: Final = re.compile(r"(?:~[0-9A-F]{2})+")


def folder_name(table: str) -> str:
    """A table's folder."""
    return NO_FOLDER.sub(escaped, table)


def table_name(folder: str) -> str:
    """The table that a folder holds."""
    return ESCAPED.sub(lambda found: bytes.fromhex(found[0].replace("~", "")).decode(errors="replace"), folder)


def escaped(found: re.Match[str]) -> str:
    """What a pattern found, each byte as `~XX`: a replacement for `re.sub`."""
    return "".join(f"~{byte:02X}" for byte in found[0].encode(errors="surrogatepass"))
