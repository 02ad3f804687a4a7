"""Which errors of a target's storage may pass by themselves: no room for a while, a quota, throttling, a lock."""

import errno
import re
from typing import Final

from ....schemas.errors import SinkError, TerminalSinkError, TransientSinkError

NUMBERS: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.EBUSY, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETIMEDOUT}
    | {errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPIPE, errno.ESTALE}
)
_NUMBER: Final = re.compile(r"\b(?:os error|errno) (\d+)\b", re.IGNORECASE)
_WORDS: Final = re.compile(
    r"no space left|not enough (?:free )?space|disk (?:is )?full|quota|too many (?:requests|open files)|slow ?down"
    r"|throttl|rate.?limit|\b(?:429|502|503|504)\b|service unavailable|temporarily|timed? ?out"
    r"|connection (?:refused|reset)"
    r"|could not set lock|conflicting lock|database is locked",
    re.IGNORECASE,
)


def may_pass(error: BaseException) -> bool:
    """Whether another try, some time later, may succeed without anybody's doing: by the error's number, or its words.

    Libraries of other languages tell both in their texts alone.
    """
    if isinstance(error, OSError) and error.errno in NUMBERS:
        return True
    text = str(error)
    return any(int(number) in NUMBERS for number in _NUMBER.findall(text)) or _WORDS.search(text) is not None


def sink_error(said: str, error: BaseException) -> SinkError:
    """The error of this text: TransientSinkError where what was raised may pass, else TerminalSinkError."""
    return (TransientSinkError if may_pass(error) else TerminalSinkError)(said)
