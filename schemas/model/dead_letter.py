"""A dead letter: the message that could not be applied, whole, with its place and the reason."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`key` and `value` are the message's original bytes; of a record batch that cannot be split, `value` is the batch.

    `headers` are the message's, in their order. `timestamp` in milliseconds since the epoch, -1 where unknown.
    `schema_id` is the registry's id, or None.
    `step` is where it failed: `split`, `frame`, `schema`, `decode`, `envelope`, `apply`.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    schema_id: int | None
    step: str
    error: str
    headers: tuple[tuple[str, bytes | None], ...] = ()
