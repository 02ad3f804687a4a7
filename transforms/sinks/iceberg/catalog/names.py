"""Names of tables in a catalog: what catalogs and paths cannot hold is written `~XX`, the bytes of its UTF-8."""

import re
from typing import Final

NO_NAME: Final = re.compile(r"[^A-Za-z0-9_-]")
ESCAPED: Final = re.compile(r"(?:~[0-9A-F]{2})+")


def catalog_name(table: str) -> str:
    """A table's name in the catalog, and its folder."""
    return NO_NAME.sub(lambda found: "".join(f"~{byte:02X}" for byte in found[0].encode(errors="surrogatepass")), table)


def table_name(name: str) -> str:
    """The table that a name in the catalog stands for."""
    return ESCAPED.sub(lambda found: bytes.fromhex(found[0].replace("~", "")).decode(errors="replace"), name)
