"""Characters of the sets that are not UTF-8, by the bytes that stand for them: what Python has, and what it has not.

The servers are the measure: where Python's codec has another character, or none, it is corrected here.
"""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .charsets import CODECS

Table = NDArray[np.int32]
UTF_8: Final = frozenset(("utf8mb3", "utf8mb4", "ascii"))
WIDTHS: Final = {"ucs2": (2, 0), "utf16": (2, 0), "utf16le": (2, 1), "utf32": (4, 0)}
"""Bytes of a unit, and 1 where the lowest comes first."""
FULL_WIDTH: Final = frozenset((*WIDTHS, "swe7"))
"""Sets in which bytes below 128 are not ASCII."""
PAIRS: Final = frozenset(("big5", "cp932", "eucjpms", "euckr", "gb2312", "gbk", "sjis", "ujis"))
TRIPLES: Final = frozenset(("eucjpms", "ujis"))
NONE: Final = "\ufffd"
C1: Final = "".join(map(chr, range(0x80, 0xA0)))
ARMENIAN: Final = (
    "\xa0\u2741§։)(»«\u2014.՝,-՟\u2026՜՛՞ԱաԲբԳգԴդԵեԶզԷէԸըԹթԺժԻիԼլԽխԾծԿկՀհՁձՂղՃճՄմՅյՆնՇշՈոՉչՊպՋջՌռՍսՎվՏտՐր"
    "ՑցՒւՓփՔքՕօՖֆ\u2019'"
)
DEC: Final = (
    "\xa0¡¢£\ufffd¥\ufffd§¤©ª«\ufffd\ufffd\ufffd\ufffd°±²³\ufffdµ¶·\ufffd¹º»¼½\ufffd¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏ"
    "\ufffdÑÒÓÔÕÖŒØÙÚÛÜŸ\ufffdßàáâãäåæçèéêëìíîï\ufffdñòóôõöœøùúûüÿ\ufffd\ufffd"
)
GEORGIAN: Final = (
    "\u20ac\ufffd\u201a\ufffd\u201e\u2026\u2020\u2021\ufffd\u2030\ufffd\u2039\ufffd\ufffd\ufffd\ufffd"
    "\ufffd\u2018\u2019\u201c\u201d\u2022\u2013\u2014\ufffd\ufffd\ufffd\u203a\ufffd\ufffd\ufffd\ufffd\xa0"
    "¡¢£¤¥¦§¨©ª«¬\xad®¯°±²³´µ¶·¸¹º»¼½¾¿აბგდევზჱთიკლმნჲოპჟრსტჳუფქღყშჩცძწჭხჴჯჰჵ\ufffd\ufffd\ufffd\ufffd"
    "\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd"
    "\ufffd\ufffd\ufffd\u2116\ufffd\ufffd"
)
KAMENICKY: Final = (
    "ČüéďäĎŤčěĚĹÍľĺÄÁÉžŽôöÓůÚýÖÜŠĽÝŘťáíóúňŇŮÔšřŕŔ¼¡«»\u2591\u2592\u2593\u2502\u2524\u2561\u2562\u2556"
    "\u2555\u2563\u2551\u2557\u255d\u255c\u255b\u2510\u2514\u2534\u252c\u251c\u2500\u253c\u255e\u255f"
    "\u255a\u2554\u2569\u2566\u2560\u2550\u256c\u2567\u2568\u2564\u2565\u2559\u2558\u2552\u2553\u256b"
    "\u256a\u2518\u250c\u2588\u2584\u258c\u2590\u2580αßΓπΣσµτΦΘΩδ\u221eφε\u2229\u2261±\u2265\u2264\u2320"
    "\u2321÷\u2248°\u2219·\u221a\u207f²\u25a0\xa0"
)
HALVES: Final = {"armscii8": C1 + ARMENIAN, "dec8": C1 + DEC, "geostd8": GEORGIAN, "keybcs2": KAMENICKY}
"""The characters of the bytes from 128 on of sets that Python does not have; `NONE` where there is none."""
SWEDISH: Final = dict(zip(b"@[\\]^`{|}~", "ÉÄÖÅÜéäöåü", strict=True))
CORRECTED: Final = {
    "latin1": {byte: byte for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D)},
    "cp866": {0xFC: 0x207F, 0xFD: 0xB2},
    "greek": {0xA1: 0x2BD, 0xA2: 0x2BC},
    "hebrew": {0xAF: 0x203E},
    "koi8u": {0x95: 0x2022},
    "tis620": dict.fromkeys((0xA0, 0xDB, 0xDC, 0xDD, 0xDE, 0xFC, 0xFD, 0xFE, 0xFF), 0xFFFD),
    "sjis": {0x815F: 0x5C},
    "ujis": {0xA1C0: 0x5C},
    "big5": {
        **dict.fromkeys((0xA15A, 0xA1C3, 0xA1C5, 0xA1FE, 0xA240, 0xA2CC, 0xA2CE), 0xFFFD),
        **dict(zip(range(0xF9D6, 0xF9DD), (0x7881, 0x92B9, 0x88CF, 0x58BB, 0x6052, 0x7CA7, 0x5AFA), strict=True)),
    },
}
"""By the bytes as one number the code point that the servers have."""
IBM: Final = (
    "\u2170\u2171\u2172\u2173\u2174\u2175\u2176\u2177\u2178\u2179\u2160\u2161\u2162\u2163\u2164\u2165"
    "\u2166\u2167\u2168\u2169\uff07\uff02\u3231\u2116\u2121\u70bb\u4efc\u50f4\u51ec\u5307\u5324\ufa0e"
    "\u548a\u5759\ufa0f\ufa10\u589e\u5bec\u5cf5\u5d53\ufa11\u5fb7\u6085\u6120\u654e\u663b\u6665\ufa12"
    "\uf929\u6801\ufa13\ufa14\u6a6b\u6ae2\u6df8\u6df2\u7028\ufa15\ufa16\u7501\u7682\u769e\ufa17\u7930"
    "\ufa18\ufa19\ufa1a\ufa1b\u7ae7\ufa1c\ufa1d\u7da0\u7dd6\ufa1e\u8362\ufa1f\u85b0\ufa20\ufa21\u8807"
    "\ufa22\u8b7f\u8cf4\u8d76\ufa23\ufa24\ufa25\u90de\ufa26\u9115\ufa27\ufa28\u9592\uf9dc\ufa29\u973b"
    "\u974d\u9751\ufa2a\ufa2b\ufa2c\u999e\u9ad9\u9b72\ufa2d\u9ed1"
)
"""What eucjpms has behind 8F from F3F3 to F4FE, in rows of 94."""
OWN: Final = 0xE000
"""The first character of one's own; those of both euc sets stand in rows F5 to FE, and behind 8F in the same ones."""
ROW: Final = 94


@cache
def char_tables(charset: str) -> tuple[Table, Table, Table] | None:
    """Code points by byte, by two bytes, and by the two behind 8F, -1 where there is none; None for an unknown set."""
    nothing = np.empty(0, np.int32)
    if charset in WIDTHS:
        return nothing, nothing, nothing
    if charset in HALVES:
        characters = [*range(128), *(-1 if one == NONE else ord(one) for one in HALVES[charset])]
        return np.array(characters, np.int32), nothing, nothing
    if charset == "swe7":
        swedish = [ord(SWEDISH.get(byte, chr(byte))) for byte in range(128)]
        return np.array(swedish + [-1] * 128, np.int32), nothing, nothing
    if charset not in CODECS:
        return None
    codec = CODECS[charset]
    single = _table(codec, [bytes((byte,)) for byte in range(256)])
    pairs = triples = nothing
    if charset in PAIRS:
        pairs = _table(codec, [bytes((high, low)) for high in range(256) for low in range(256)])
    if charset in TRIPLES:
        triples = _table(codec, [bytes((0x8F, high, low)) for high in range(256) for low in range(256)])
        _extend(charset, pairs, triples)
    for code, character in CORRECTED.get(charset, {}).items():
        (single if code < 256 else pairs)[code] = character
    return single, pairs, triples


def _table(codec: str, codes: list[bytes]) -> Table:
    found = [code.decode(codec, "ignore") for code in codes]
    return np.array([ord(text) if len(text) == 1 else -1 for text in found], np.int32)


def _extend(charset: str, pairs: Table, triples: Table) -> None:
    """Characters of one's own; of eucjpms also those of Microsoft, by way of the same rows of cp932."""
    for row in range(10):
        first = (0xF5 + row) << 8 | 0xA1
        pairs[first : first + ROW] = np.arange(ROW) + OWN + row * ROW
        triples[first : first + ROW] = np.arange(ROW) + OWN + (10 + row) * ROW
    if charset != "eucjpms":
        return
    for row in range(1, 85):
        high = (row - 1) // 2 + (0x81 if row <= 62 else 0xC1)
        for cell in range(1, ROW + 1):
            low = cell + (0x3F if cell <= 63 else 0x40) if row % 2 else cell + 0x9E
            character = bytes((high, low)).decode("cp932", "ignore")
            if len(character) == 1:
                pairs[(0xA0 + row) << 8 | 0xA0 + cell] = ord(character)
    codes = [0xF300 | low for low in range(0xF3, 0xFF)] + [0xF400 | low for low in range(0xA1, 0xFF)]
    triples[codes] = [ord(one) for one in IBM]
    triples[0xA2B7], triples[0xA2C3] = 0xFF5E, 0xFFE4
