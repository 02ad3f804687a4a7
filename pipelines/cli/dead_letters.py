"""`millrace dead-letters`: the messages that could not be applied, as a list, and one with its bytes."""

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...schemas.errors import JobError
from ...schemas.model.dead_letter import DeadLetter
from ...schemas.plurals import counted
from ...transforms.dead_letter_marks import LetterMark, State, places_of, replay_under_way, write_mark
from ...transforms.dead_letter_reasons import most_frequent, reason
from ...transforms.dead_letters import Written, letters_at, listing, place, place_of, show
from ...transforms.stores import Address
from ..job.load import load_job
from ..job.model import Job

if TYPE_CHECKING:
    from ..execution.replay_letters import ReplaySummary

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
    states = Counter(letter["state"] for letter in found)
    told = ", ".join(f"{count:,} {state}" for state, count in states.items()) if set(states) != {State.OPEN} else ""
    lines = [f"{counted(len(found), 'dead letter')} for {counted(len(groups), 'reason')}{f': {told}' if told else ''}"]
    for alike in sorted(groups.values(), key=len, reverse=True):
        lines.append(f"{len(alike):,} x {alike[0]['step']}: {alike[0]['error']}")
        for letter in alike[:limit]:
            lines.append(f"  {letter['place']:<{width}}  {letter['timestamp'] or '-'}{_state(letter)}")
        if len(alike) > limit:
            lines.append(f"  and {len(alike) - limit:,} more")
    return lines


def _state(letter: dict[str, Any]) -> str:
    if letter["state"] == State.OPEN:
        return ""
    return f"  {letter['state']}{': ' + letter['why'] if letter['why'] else ''}"


def job_of(path: str) -> Job:
    """The job of a file. Raises JobError, also for a folder or URL: the tables of a job are concerned."""
    if not path.endswith((".yaml", ".yml")):
        raise JobError(f"{path} is no job file (.yaml): replay and discard need the job whose dead letters they are")
    return load_job(path)


def chosen_letters(reason: str | None, places: Sequence[str]) -> Callable[[DeadLetter], bool]:
    """Which letters a person has chosen: all of them, those with a text in their reason, those at places."""
    wanted = {place_of(where) for where in places}

    def chosen(letter: DeadLetter) -> bool:
        if wanted and (letter.topic, letter.partition, letter.offset) not in wanted:
            return False
        return reason is None or reason.lower() in f"{letter.step}: {letter.error}".lower()

    return chosen


def discard(job: Job, reason: str, places: Sequence[str], all: bool) -> int:
    """Mark open letters as discarded, with the reason; how many. Raises JobError where none is chosen, SinkError."""
    from ..execution.replay_letters import open_letters_of

    if bool(places) == all:
        raise JobError("dead-letters discard: say which: --place PLACE (may be repeated), or --all")
    if not reason.strip():
        raise JobError("dead-letters discard: --reason is empty: say why they are not wanted")
    if replay_under_way(job.dead_letters, job.job) is not None:
        raise JobError("dead-letters discard: a replay is under way or was broken off: run `dead-letters replay` first")
    chosen = chosen_letters(None, places)
    letters = [one.letter for one in open_letters_of(job) if chosen(one.letter)]
    if not letters:
        raise JobError("dead-letters discard: no open dead letter there; `millrace dead-letters ls` lists them")
    mark = LetterMark(state=State.DISCARDED, ranges=places_of(letters), reason=reason)
    write_mark(job.dead_letters, job.job, mark)
    return len(letters)


def replay_lines(done: "ReplaySummary") -> list[str]:
    """What became of the letters, by table, and what is still open."""
    lines = [f"{counted(done.replayed, 'dead letter')} replayed"]
    for table, counts in done.tables.items():
        told = ", ".join(f"{counts[name]:,} {name}" for name in ("applied", "superseded", "filtered") if counts[name])
        lines.append(f"  {table}: {told or 'nothing new'}")
    if done.dead:
        lines.append(f"{counted(len(done.dead), 'letter')} still dead, most for this: {most_frequent(done.dead)}")
    if done.waiting:
        lines.append(f"{counted(done.waiting, 'letter')} not committed yet: the next run reads the messages itself")
    if done.unread:
        lines.append(f"{counted(done.unread, 'letter')} of topics that the job does not read")
    return lines


def replay_json(done: "ReplaySummary") -> dict[str, Any]:
    """The same as data."""
    return {
        "replayed": done.replayed,
        "tables": {table: dict(counts) for table, counts in done.tables.items()},
        "still_dead": [{"place": place(letter), "step": letter.step, "error": letter.error} for letter in done.dead],
        "waiting": done.waiting,
        "unread": done.unread,
    }


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
