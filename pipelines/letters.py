"""`millrace dead-letters`: the messages that could not be applied, as a list, and one with its bytes."""

import base64
from pathlib import Path
from typing import Any, Final

from ..schemas.errors import JobError
from ..transforms.dead_letters import Written, listing, place, show
from .config import load_job

SHOWN_BYTES: Final = 512


def folder_of(path: Path) -> Path:
    """The folder of dead letters: itself, or that of a job file."""
    return load_job(path).dead_letters if path.suffix in (".yaml", ".yml") else path


def letters(path: Path) -> list[dict[str, Any]]:
    """`transforms.dead_letters.listing` of a job or folder; empty where a job has none yet."""
    folder = folder_of(path)
    if folder != path and not folder.exists():
        return []
    return list(listing(folder))


def letter_lines(found: list[dict[str, Any]]) -> list[str]:
    """A line a letter: place, time, step, error."""
    if not found:
        return ["no dead letters"]
    width = max(len(letter["place"]) for letter in found)
    return [
        f"{letter['place']:<{width}}  {letter['timestamp'] or '-':<24}  {letter['step']:<8}  {letter['error']}"
        for letter in found
    ]


def one_letter(path: Path, where: str) -> Written:
    """The letter at a place. Raises JobError where there is none."""
    folder = folder_of(path)
    if not folder.exists():
        raise JobError(f"{folder}: no dead letters there")
    return show(folder, where)


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
        "file": str(written.file),
    }


def _dump(name: str, data: bytes | None) -> list[str]:
    """The bytes in hexadecimal and as text, 16 a line."""
    if data is None:
        return [f"{name}: null"]
    lines = [f"{name}: {len(data):,} bytes"]
    for at in range(0, min(len(data), SHOWN_BYTES), 16):
        part = data[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"  {at:06x}  {part.hex(' '):<47}  {text}")
    if len(data) > SHOWN_BYTES:
        lines.append(f"  ... {len(data) - SHOWN_BYTES:,} bytes more; --json gives all")
    return lines
