"""Which messages of a topic are read, where it holds several tables: told before their rows are looked at."""

import numpy as np
from numpy.typing import NDArray

from ..encodings.encoding import Encoding
from ..encodings.message_reader import Failures, MessageReader
from ..model.message_batch import MessageBatch
from .envelope import Envelope


class MessageChooser:
    """Reads of each message the fields by which the envelope chooses, so that rows of other tables teach no types."""

    def __init__(self, encoding: Encoding, envelope: Envelope, topic: str) -> None:
        paths = {path[:size] for path in envelope.chosen_by for size in range(1, len(path) + 1)}
        self._envelope = envelope
        self._reader = MessageReader(encoding, topic, lambda path: path in paths)

    def chosen(self, messages: MessageBatch) -> NDArray[np.bool_]:
        """By message whether it is read; one that cannot be decoded is, and becomes a dead letter."""
        found, failures = np.ones(len(messages), np.bool_), Failures(messages)
        for group in self._reader.read(messages, failures, keys_of_values=False, keys_of_nulls=False):
            if group.value is not None:
                found[group.rows] = self._envelope.chosen(group.value)
        return found
