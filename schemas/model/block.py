"""A block: the element of every stream, whole record batches as fetched."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Block:
    """Record batches (format v2) of one partition, still compressed, that cover the offsets [first, stop).

    `data` holds the batches one after another, without control batches and without those of aborted
    transactions. Its outer batches may reach over the range on either side (a fetch gives whole batches):
    records outside [first, stop) do not belong to the block. Offsets inside the range may be missing
    (compaction, control batches): only the range counts, never the number of records.

    `reached` is the event time, in milliseconds since the epoch, that the partition has come to with this block; None
    where nothing is windowed by event time.
    """

    topic: str
    partition: int
    first: int
    stop: int
    data: bytes
    reached: int | None = None
