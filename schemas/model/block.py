"""A block: the element of every stream, bytes of a partition as a source fetched them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Block:
    """The offsets [first, stop) of one partition, with the records there in the source's own form.

    Of Kafka, `data` is whole record batches (format v2) one after another, still compressed, without control batches
    and those of aborted transactions. `data` may reach over the range on either side: records outside [first, stop) do
    not belong to the block. Offsets inside may be missing (compaction, control batches): only the range counts, never
    the number of records.

    `reached` is the event time, in milliseconds since the epoch, that the partition has come to with this block; None
    where nothing is windowed by event time. `tail` is what the source remembers of the log up to `stop`, in a form of
    its own; empty where it remembers nothing.
    """

    topic: str
    partition: int
    first: int
    stop: int
    data: bytes
    reached: int | None = None
    tail: str = ""

    def pieces(self, starts: Sequence[int], data: Sequence[bytes]) -> list["Block"]:
        """The block cut at these offsets, the first of which is its own; `data` are the bytes of each piece."""
        stops = [*starts[1:], self.stop]
        return [
            replace(self, first=first, stop=stop, data=part, tail=self.tail if stop == self.stop else "")
            for first, stop, part in zip(starts, stops, data, strict=True)
        ]
