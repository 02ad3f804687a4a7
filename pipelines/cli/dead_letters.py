"""`millrace dead-letters`: the messages that could not be applied, as a list, and one with its bytes."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ...schemas.plurals import counted
from ...transforms.dead_letter_reasons import reason
from ...transforms.dead_letters import Written, letters_at, listing, place, show
from ...transforms.stores import Address
from ..job.load import load_job

SHOWN_BYTES: Final = 512
SHOWN_A_REASON: Final = 5


def address_of(path: str) -> tuple[Address, str | None]:
    """Where dead letters are, and whose: a folder, a file, a URL with those of all jobs, or what a job file says."""
    if not path.endswith((".yaml", ".yml")):
        return letters_at(path), None
    job = load_job(path)
    return job.dead_letters, job.job


def letters(path: str) -> list[dict[str, Any]]:
    """`transforms.dead_letters.listing` of a job, folder or URL; empty where a job has none yet."""
    address, job = address_of(path)
    folder = address.resolved().folder
    if job is not None and folder is not None and not Path(folder).exists():
        return []
    return list(listing(address, job))


def letter_lines(found: Sequence[dict[str, Any]], limit: int = SHOWN_A_REASON) -> list[str]:
    """A line a reason with its count, the most frequent first; below it places and times of at most `limit` letters."""
    if not found:
        return ["no dead letters"]
    groups: dict[str, list[dict[str, Any]]] = {}
    for letter in found:
        groups.setdefault(reason(letter["step"], letter["error"]), []).append(letter)
    width = max(len(letter["place"]) for letter in found)
    lines = [f"{counted(len(found), 'dead letter')} for {counted(len(groups), 'reason')}"]
    for alike in sorted(groups.values(), key=len, reverse=True):
        lines.append(f"{len(alike):,} x {alike[0]['step']}: {alike[0]['error']}")
        lines += [f"  {letter['place']:<{width}}  {letter['timestamp'] or '-'}" for letter in alike[:limit]]
        if len(alike) > limit:
            lines.append(f"  and {len(alike) - limit:,} more")
    return lines


def one_letter(path: str, where: str) -> Written:
    """The letter at a place. Raises JobError where there is none."""
    address, job = address_of(path)
    return show(address, where, job)


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
