"""Lines of signed pairs as the proof reads them: nothing of it is the encoding's or the envelope's code."""

import re
from collections.abc import Sequence

from millrace.schemas.model.message import Message
from millrace.transforms.proof.row_change import RowChange

LINE = re.compile(rb"sign=([+-]);id=(-?[0-9]+);name=([^;]*)")


class SignedPairs:
    """Keeps the contract of `MessageReader`."""

    def read(self, message: Message) -> Sequence[RowChange]:
        line = LINE.fullmatch(message.value or b"")
        if line is None:
            raise ValueError("no signed pairs")
        return [RowChange({"id": int(line[2]), "name": line[3].decode()}, deleted=line[1] == b"-")]
