"""Where a server's binlog stands, and from where on it holds all that a copy does not see."""

from ....schemas.errors import JobError
from .client import Session, lost_log
from .offsets import FIRST_POSITION, number_of, offset_of, place_of


def log_end(session: Session) -> int:
    """The offset behind the last transaction. Raises JobError for a server without a binlog."""
    return offset_of(*_status(session)[:2])


def _status(session: Session) -> tuple[int, int, str]:
    """The number of the file that is written, the position in it, and the file's name."""
    query = "SHOW MASTER STATUS" if session.mariadb or session.version < (8, 2) else "SHOW BINARY LOG STATUS"
    rows = session.rows(query)
    if not rows:
        raise JobError(f"{session.settings.where} writes no binlog; set log_bin in its configuration and restart it")
    return number_of(rows[0][0]), int(rows[0][1]), str(rows[0][0])


def safe_start(session: Session) -> int:
    """An offset of the log: every transaction before it is seen by each SELECT that comes later.

    The end of the log would not do: a transaction stands in the log before other sessions see it. MariaDB tells the
    place of a snapshot. MySQL begins a file only when those of the file before are seen, so a new file is begun, or,
    where this user may not, the beginning of the file that is written serves, and more of the log is read again.
    """
    if session.mariadb:
        session.rows("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        found = dict(session.rows("SHOW STATUS LIKE 'binlog_snapshot_%%'"))
        session.rows("COMMIT")
        file, position = found["Binlog_snapshot_file"], found["Binlog_snapshot_position"]
        return offset_of(number_of(file), int(position))
    session.begin_log_file()
    return offset_of(_status(session)[0], FIRST_POSITION)


def log_files(session: Session) -> dict[int, tuple[str, int]]:
    """By number the name and the size of the files that the server still has."""
    return {number_of(row[0]): (str(row[0]), int(row[1])) for row in session.rows("SHOW BINARY LOGS")}


def file_of(session: Session, number: int) -> str:
    """The name of the file of this number. Raises LostOffsetsError where the server has it no more."""
    files = log_files(session)
    if number not in files:
        held = f"the server has the files {min(files):06d} to {max(files):06d}" if files else "the server has no files"
        raise lost_log(session.settings, f"{held}, and the file {number:06d} is needed")
    return files[number][0]


def identity(session: Session) -> str:
    """What tells this server from another one."""
    ((found,),) = session.rows("SELECT @@server_id" if session.mariadb else "SELECT @@server_uuid")
    return str(found)


def pass_stop(session: Session, first: int, end: int, most: int) -> int:
    """Where about `most` bytes of the log behind `first` end; at most `end`."""
    number, position = place_of(first)
    last, behind = place_of(end)
    left = most
    files = log_files(session)
    while number < last:
        size = files[number][1] if number in files else position
        if size - position >= 2 * left:
            return offset_of(number, position + left)
        left -= max(size - position, 0)
        number, position = number + 1, FIRST_POSITION
        if left <= 0:
            return offset_of(number, position)
    return end if behind - position < 2 * left else offset_of(number, position + left)
