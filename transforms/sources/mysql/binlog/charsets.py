"""Character sets of MySQL and MariaDB: by collation, and as Python's codecs."""

from typing import Final

IDS: Final = {
    "armscii8": (32, 64), "ascii": (11, 65), "big5": (1, 84), "binary": (63,), "cp1250": (26, 34, 44, 66, 99),
    "cp1251": (14, 23, 50, 51, 52), "cp1256": (57, 67), "cp1257": (29, 58, 59), "cp850": (4, 80), "cp852": (40, 81),
    "cp866": (36, 68), "cp932": (95, 96), "dec8": (3, 69), "eucjpms": (97, 98), "euckr": (19, 85),
    "gb18030": (248, 249, 250), "gb2312": (24, 86), "gbk": (28, 87), "geostd8": (92, 93), "greek": (25, 70),
    "hebrew": (16, 71), "hp8": (6, 72), "keybcs2": (37, 73), "koi8r": (7, 74), "koi8u": (22, 75),
    "latin1": (5, 8, 15, 31, 47, 48, 49, 94), "latin2": (2, 9, 21, 27, 77), "latin5": (30, 78),
    "latin7": (20, 41, 42, 79), "macce": (38, 43), "macroman": (39, 53), "sjis": (13, 88), "swe7": (10, 82),
    "tis620": (18, 89), "ujis": (12, 91), "ucs2": (35, 90), "utf16": (54, 55), "utf16le": (56, 62), "utf32": (60, 61),
    "utf8mb3": (33, 76, 83), "utf8mb4": (45, 46),
}  # fmt: skip
"""The collations of each, but for the ranges below."""
RANGES: Final = (
    *((101, 125, "utf16"), (128, 160, "ucs2"), (160, 184, "utf32"), (192, 224, "utf8mb3"), (224, 248, "utf8mb4")),
    *((255, 512, "utf8mb4"), (576, 608, "utf8mb3"), (608, 640, "utf8mb4"), (640, 672, "ucs2"), (672, 704, "utf16")),
    *((736, 768, "utf32"), (2048, 2304, "utf8mb3"), (2304, 2560, "utf8mb4"), (2560, 2816, "ucs2")),
    *((2816, 3072, "utf16"), (3072, 3328, "utf32")),
)
NO_PAD: Final = range(1024, 2048)
"""MariaDB's collations that do not pad: 1024 more than the one that does."""
_BY_ID: Final = {number: name for name, numbers in IDS.items() for number in numbers}

CODECS: Final = {
    "ascii": "ascii", "big5": "big5", "cp1250": "cp1250", "cp1251": "cp1251", "cp1256": "cp1256", "cp1257": "cp1257",
    "cp850": "cp850", "cp852": "cp852", "cp866": "cp866", "cp932": "cp932", "eucjpms": "euc_jp", "euckr": "cp949",
    "gb18030": "gb18030", "gb2312": "gb2312", "gbk": "gbk", "greek": "iso8859_7", "hebrew": "iso8859_8",
    "koi8r": "koi8_r", "koi8u": "koi8_u", "latin1": "cp1252", "latin2": "iso8859_2", "latin5": "iso8859_9",
    "hp8": "hp_roman8", "latin7": "iso8859_13", "macce": "mac_latin2",
    "macroman": "mac_roman", "sjis": "shift_jis", "tis620": "tis_620",
    "ucs2": "utf_16_be", "ujis": "euc_jp", "utf16": "utf_16_be", "utf16le": "utf_16_le", "utf32": "utf_32_be",
    "utf8mb3": "utf_8", "utf8mb4": "utf_8",
}  # fmt: skip


def charset_of(collation: int) -> str | None:
    """The character set of a collation's number; None for one that nobody knows."""
    if collation in NO_PAD:
        collation -= NO_PAD.start
    found = _BY_ID.get(collation)
    return found or next((name for low, high, name in RANGES if low <= collation < high), None)


def decoded(text: bytes, charset: str) -> str:
    """A name or a statement as text; what its character set has not is U+FFFD."""
    return text.decode(CODECS.get(charset, "utf_8"), "replace")
