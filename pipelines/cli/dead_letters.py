"""`millrace dead-letters`: the messages that could not be applied, as a list, and one with its bytes."""

import base64
from pathlib import Path
from typing import Any, Final

from ...schemas.plurals import counted
from ...transforms.dead_letters import Written, letters_at, listing, place, show
from ...transforms.stores import Address
from ..job.load import load_job

SHOWN_BYTES: Final = 512


def address_of(path: str) -> Address:
    """Where dead letters are: a folder, a file, a URL, or what a job file says."""
    return load_job(path).dead_letters if path.endswith((".yaml", ".yml")) else letters_at(path)


def letters(path: str) -> list[dict[str, Any]]:
    """`transforms.dead_letters.listing` of a job, folder or URL; empty where a job has none yet."""
    address = address_of(path)
    folder = address.resolved().folder
    if address.path != path and folder is not None and not Path(folder).exists():
        return []
    return list(listing(address))


def letter_lines(found: list[dict[str, Any]]) -> list[str]:
    """A line a letter: place, time, step, error."""
    if not found:
        return ["no dead letters"]
    width = max(len(letter["place"]) for letter in found)
    return [
        f"{letter['place']:<{width}}  {letter['timestamp'] or '-':<24}  {letter['step']:<8}  {letter['error']}"
        for letter in found
    ]


def one_letter(path: str, where: str) -> Written:
    """The letter at a place. Raises JobError where there is none."""
    return show(address_of(path), where)


def one_lines(written: Written) -> list[str]:
    """All of one letter, its bytes as a dump."""
    letter = written.letter
    return [
        f"{place(letter)}, written {written.written_at:%Y-%m-%d %H:%M:%S} UTC by the job {written.job}",
        f"{letter.step}: {letter.error}",
        f"schema id: {'none' if letter.schema_id is None else letter.schema_id}",
        *_dump("key", letter.key),
        *_dump("value", letter.value),
        f"file: {written.file}",
    ]


def one_json(written: Written) -> dict[str, Any]:
    """All of one letter; key and value in base64."""
    letter = written.letter
    return {
        "place": place(letter),
        "step": letter.step,
        "error": letter.error,
        "schema_id": letter.schema_id,
        "timestamp": letter.timestamp,
        "key": None if letter.key is None else base64.b64encode(letter.key).decode(),
        "value": None if letter.value is None else base64.b64encode(letter.value).decode(),
        "job": written.job,
        "written_at": written.written_at.isoformat(timespec="milliseconds"),
        "file": written.file,
    }


def _dump(name: str, data: bytes | None) -> list[str]:
    """The bytes in hexadecimal and as text, 16 a line."""
    if data is None:
        return [f"{name}: null"]
    lines = [f"{name}: {counted(len(data), 'byte')}"]
    for at in range(0, min(len(data), SHOWN_BYTES), 16):
        part = data[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"  {at:06x}  {part.hex(' '):<47}  {text}")
    if len(data) > SHOWN_BYTES:
        lines.append(f"  ... {counted(len(data) - SHOWN_BYTES, 'byte')} more; --json gives all")
    return lines
