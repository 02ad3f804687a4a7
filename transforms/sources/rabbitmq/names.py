"""Which stream a partition is: a topic is a stream, or a super stream whose streams are its partitions."""

from ....schemas.errors import SourceError
from ....schemas.model.ledger import TopicPartition
from .connecting import connected
from .connection import NO_STREAM, AnswerError, StreamConnection
from .options import RabbitmqOptions


def streams(connection: StreamConnection, topic: str) -> list[str]:
    """The streams of a topic, by partition: itself, or those of the super stream. Raises AnswerError, as NO_STREAM."""
    try:
        connection.leader(topic)
    except AnswerError as error:
        if error.code != NO_STREAM:
            raise
        return connection.streams_of(topic)
    return [topic]


def stream_of(options: RabbitmqOptions, partition: TopicPartition) -> str:
    """The stream of a partition. Raises SourceError."""
    connection = connected(options)
    try:
        found = streams(connection, partition.topic)
    finally:
        connection.close()
    if partition.partition >= len(found):
        raise SourceError(f"{partition}: the super stream has {len(found)} partitions")
    return found[partition.partition]
