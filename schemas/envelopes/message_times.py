"""Times of messages where something rests on them: they must be those of one clock."""

from typing import Final

from ..errors import TableError
from ..model.message_batch import MessageBatch
from ..model.route import OnSnapshot, Route

SERVER_TIMES: Final = (
    "table {table}: on_snapshot: replace needs the times that the connector gave its messages, and in {place} the "
    "server sets them (Kafka: message.timestamp.type=LogAppendTime; RabbitMQ always). The clocks of several servers "
    "differ, so nobody knows which messages of another partition stand behind a snapshot. Nothing was committed. Take "
    "a topic of one partition, or one with message.timestamp.type=CreateTime, or write on_snapshot: upsert"
)


def check_times(route: Route, messages: MessageBatch) -> None:
    """Raise TableError where the end of a snapshot is found by times of several servers, which would delete rows.

    The route of a stream names the first partition alone.
    """
    several = messages.partition > 0 or len(route.sources) > 1
    if route.on_snapshot is OnSnapshot.REPLACE and messages.server_times and several and len(messages):
        place = f"{messages.topic}[{messages.partition}] from offset {messages.offset[0]} on"
        raise TableError(SERVER_TIMES.format(table=route.table, place=place))
