"""From messages to changes: what is the same for every encoding and envelope."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..encodings.encoding import Encoding, infers
from ..encodings.message_reader import Failures, Group, MessageReader
from ..errors import SchemaError
from ..model.change import AFTER, AFTER_TYPE, DELETE, names_by_row
from ..model.change_batch import ChangeColumns, change_batch, take_positions
from ..model.epoch import Climb
from ..model.incompatible_columns import OnIncompatible
from ..model.message_batch import MessageBatch
from ..model.position import pack
from ..model.representable import Represented, represented, represented_before, represented_key
from ..model.route import Route
from ..model.snapshot_marks import tables_joined
from ..model.source_mark import SourceMark
from ..model.table_types import HeldColumns, TableTypes, fitting
from .before_keys import check_before
from .chosen_messages import MessageChooser
from .decode_context import DecodeContext
from .decoded import Decoded
from .envelope import NOTHING, TRUNCATE, Envelope, Events, fields_of
from .expected_columns import ExpectedColumns, Remembered
from .key_columns import KEYLESS, KeyedRows, keyed_by_columns, keyed_by_message, refuse_own_names
from .message_times import check_times
from .null_values import null_values
from .refused_rows import refuse
from .several_changes import last_of_each_message
from .source_tables import check_tables
from .tombstones import Order, TombstoneContext, highest_before
from .truncates import truncates
from .two_sources import sources_of, timed


class TopicDecoder:
    """Decodes the messages of one topic; the key is the message key's fields, or the route's columns.

    `held` tells the table's columns: with `on_incompatible: dead_letter` values that they cannot hold make their
    messages dead letters, and where types are inferred they are looked at. Not safe to share between threads.
    """

    def __init__(
        self, encoding: Encoding, envelope: Envelope, topic: str, route: Route, held: HeldColumns | None = None
    ) -> None:
        self._envelope, self._route = envelope, route
        refuses = held is not None and route.on_incompatible is OnIncompatible.DEAD_LETTER
        held = None if held is None else Remembered(held)
        self._types = TableTypes(held) if held is not None and refuses else None
        self._reader = MessageReader(
            encoding,
            topic,
            lambda path: envelope.keep(path, route),
            lambda side: ExpectedColumns(envelope, route, side, held if infers(encoding) else None),
        )
        self._chooser = MessageChooser(encoding, envelope, topic) if envelope.chosen_by else None
        # By partition the next offset, and the highest position of each connector.
        self._reached: dict[int, tuple[int, dict[str, Order]]] = {}
        self._last: dict[tuple[int, str], Climb] = {}

    def decode(self, messages: MessageBatch) -> Decoded:
        """Changes, counts and dead letters; raises RegistryError, IncompatibleSchemaError, TruncateError."""
        check_times(self._route, messages)
        done = Decoded.of(messages, self._route.key or ())
        context = DecodeContext(
            self._route, self._envelope, messages, Failures(messages), done, TombstoneContext.of(len(messages))
        )
        keyed = self._envelope.reads_keys
        if keyed:
            context = replace(context, message_key=lambda: self._reader.key_fields(messages))
        if self._types is not None:
            self._types.ask()
            context = replace(context, types=self._types)
        without: list[Group] = []
        chosen = None if self._chooser is None else self._chooser.chosen(messages)
        done.filtered = 0 if chosen is None else int((~chosen).sum())
        keys_of_values = keyed and self._route.key is None
        for group in self._reader.read(messages, context.failures, keys_of_values, keyed, chosen):
            other = "" if group.value is None else self._envelope.other_messages(group.fields)
            if group.value is None:
                without.append(group)
            elif other:
                done.other, done.filtered = other, done.filtered + len(group.rows)
            else:
                _values(context, group, group.value)
        # Last, for they take their place among the changes around them.
        for group in without:
            null_values(context, group)
        done.letters = context.failures.letters
        self._place(context)
        return done

    def _place(self, context: DecodeContext) -> None:
        """Say what stands before the changes that their place in the log orders; what came before this block counts."""
        messages, done = context.messages, context.done
        stop, known = self._reached.get(messages.partition, (0, {}))
        # A block that comes again must not be told of what stands behind it.
        reached = dict(known) if messages.first >= stop else {}
        before = highest_before(context.places, reached)
        self._reached[messages.partition] = messages.stop, reached
        places = context.places
        marks = places.snapshot_marks(messages.offset, messages.timestamp)
        told = () if context.by_time or context.by_clock else tuple(sorted(context.sources))
        done.mark = SourceMark(climbs=places.climbs(messages.offset), snapshots=marks, sources=told)
        done.mark = replace(done.mark, tables=tables_joined({}, context.first_tables()))
        for climb in done.mark.climbs:
            last = self._last.get((messages.partition, climb.connector))
            done.falls |= last is not None and climb.falls_behind(last)
            self._last[messages.partition, climb.connector] = climb
        for number, rows, mask in context.unordered:
            words = pa.py_buffer(np.column_stack([before[rows], context.places.numbers(rows)]).astype(">u8"))
            bits = pa.array(mask).buffers()[1]
            after = pa.Array.from_buffers(AFTER_TYPE, len(rows), [bits, words])
            done.changes[number] = done.changes[number].append_column(AFTER, after)


def _values(context: DecodeContext, group: Group, value: pa.StructArray) -> None:
    """What values of one schema say; rows below are numbers within the group, `group.rows` those of the messages."""
    try:
        events = context.envelope.events(value, context.route)
    except SchemaError as error:
        context.failures.add_all(group.rows, "envelope", str(error), group.schema_id)
        return
    if events.of_value is not None:
        context.done.read += len(events.of_value) - len(group.rows)
        group = replace(group, rows=group.rows[events.of_value])
    if events.key is not None and context.route.key is None:
        context = replace(context, route=replace(context.route, key=events.key))
        context.done.key = events.key
    count = len(events.what)
    context.sources.update(sources_of(context, events))
    events, clock = timed(context, group.rows, events)
    wrong = np.zeros(count, np.bool_)
    for mask, reason in events.wrong:
        context.failures.add_all(group.rows[mask & ~wrong], "envelope", reason, group.schema_id)
        wrong |= mask
    check_tables(context, group, events, wrong)
    check_before(context, group, events, wrong)
    zeros = np.zeros(count, np.uint64)
    commit, inner = events.order or (zeros, zeros)
    context.places.note(group.rows, (commit, inner), ~wrong if events.placed is None else events.placed)
    context.places.note_source(group.rows, events.time, events.server)
    context.places.note_connector(group.rows, events.connector)
    context.note_tables(group.rows, events.source_tables, ~wrong & (events.what != NOTHING))
    context.places.deleted[group.rows] = events.what == DELETE
    if events.marks is not None:
        context.places.mark[group.rows] = events.marks
    position = pack(commit, inner, context.messages.offset[group.rows], clock)
    context.done.filtered += int((~wrong & (events.what == NOTHING)).sum())
    truncates(context, group, np.flatnonzero(~wrong & (events.what == TRUNCATE)), position)
    rows = np.flatnonzero(~wrong & (events.what != TRUNCATE) & (events.what != NOTHING))
    if len(rows):
        _row_changes(context, group, events, position, rows)


def _row_changes(
    context: DecodeContext, group: Group, events: Events, position: pa.Array, rows: NDArray[np.int64]
) -> None:
    """The changes of `rows`; a group that is whole, as nearly all are, is not copied."""
    whole, policy = len(rows) == len(events.what), context.route.on_unrepresentable

    def of(array: pa.Array) -> pa.Array:
        return array if whole else array.take(pa.array(rows))

    row = represented(of(events.row), policy)
    key_fields: Represented | None = None
    if context.route.key is not None:
        key_fields = represented_key(_only(of(events.row), context.route.key), policy)
    elif group.key is not None:
        key_fields = represented_key(of(group.key), policy)
    refused = refuse(context, group, rows, [row] if key_fields is None else [row, key_fields])
    if refused is not None:
        if not refused.all():
            _row_changes(context, group, events, position, rows[~refused])
        return
    columns, key = fields_of(row.struct), {} if key_fields is None else fields_of(key_fields.struct)
    refuse_own_names(context.route.table, columns)
    found = KeyedRows(
        columns,
        events.what[rows] == DELETE,
        group.rows if whole else group.rows[rows],
        position if whole else take_positions(position, rows),
    )
    misfits = context.misfits(context.route.key or tuple(key), found, group.schema_id)
    if misfits.any():
        if not misfits.all():
            _row_changes(context, group, events, position, rows[~misfits])
        return
    before = None if events.before is None or context.route.key is None else of(events.before)
    if events.of_value is not None:
        found = replace(found, events=np.arange(len(found.rows)))
    if events.absent:
        found = replace(found, absent={name: lacks[rows] for name, lacks in events.absent.items()})
    keyed = _keyed(context, found, key, before, group.schema_id)
    if keyed is not None:
        _add(context, keyed, None if events.snapshot is None else group.rows[events.snapshot])


def _keyed(
    context: DecodeContext,
    found: KeyedRows,
    key: dict[str, pa.Array],
    before: pa.StructArray | None,
    schema_id: int | None,
) -> KeyedRows | None:
    """The rows with their key: that of the message, or the columns that the route names; None where there is none."""
    if context.route.key is None:
        if not key:
            error = KEYLESS.format(topic=context.messages.topic)
            context.failures.add_all(found.rows, "apply", error, schema_id)
            return None
        context.done.key = tuple(key)
        keyed = keyed_by_message(found, key, context.failures, schema_id)
        null_deletes = context.envelope.null_deletes
        return keyed.with_whole_keys(context.done.key, context.failures, schema_id) if null_deletes else keyed
    # Of a key that is an array, map or record the text is the column.
    found.columns.update(key)
    old = None if before is None else represented_before(before, context.route.on_unrepresentable)
    by_columns = keyed_by_columns(found, context.route.key, old, context.failures, schema_id)
    if by_columns is None:
        return None
    keyed, left = by_columns
    if keyed.events is not None:
        kept, left = last_of_each_message(keyed, left, context.route.key)
        context.done.filtered += len(keyed.rows) - len(kept.rows)
        keyed = kept
    if left is not None and len(left.rows):
        _departures(context, left)
    return keyed


def _only(struct: pa.StructArray, names: Sequence[str]) -> pa.StructArray:
    """These of its fields, where it has them."""
    names = [name for name in names if struct.type.get_field_index(name) >= 0]
    fields = [struct.type.field(name) for name in names]
    return pa.StructArray.from_arrays([struct.field(name) for name in names], fields=fields, mask=struct.is_null())


def _departures(context: DecodeContext, left: KeyedRows) -> None:
    """The delete half of key changes: a batch of its own that is not accounted."""
    op = np.full(len(left.rows), DELETE, np.int8)
    marks = ChangeColumns(op=op, position=left.position, source=-1, time=context.time(left.rows))
    context.done.changes.append(change_batch(left.columns, marks))


def _add(context: DecodeContext, keyed: KeyedRows, snapshot: NDArray[np.int64] | None) -> None:
    if not len(keyed.rows):
        return
    columns, unavailable = context.envelope.blank_unavailable(keyed.columns)
    if keyed.absent:
        unavailable = names_by_row(keyed.absent, len(keyed.rows))
    if context.types is not None:
        columns = fitting(context.types, context.done.key, columns, len(keyed.rows)).columns
    marks = ChangeColumns(
        op=keyed.deletes.astype(np.int8),
        position=keyed.position,
        source=context.source,
        unavailable=unavailable,
        moved=context.envelope.moved_keys(context.messages, keyed.rows, keyed.deletes, unavailable),
        time=context.time(keyed.rows),
    )
    if snapshot is not None:
        context.unordered.append((len(context.done.changes), keyed.rows, np.isin(keyed.rows, snapshot)))
    context.done.changes.append(change_batch(columns, marks))
