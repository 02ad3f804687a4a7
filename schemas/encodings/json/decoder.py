"""Decodes payloads that one schema describes: the loop fills slots, and Arrow arrays are made of them."""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...model.value_texts import text_field
from ..columns.arrays import build
from ..columns.jit import frozen
from ..columns.layout import starts
from ..columns.slots import Slots
from ..encoding import PRIMITIVE_KEY, Keep
from .errors import BASE64, CODE_BITS, KIND, MISSING, RANGE, ROUNDED, TWICE, UNFIT, sentence
from .fill import fill
from .nodes import ABSENT, MARK, SLOT, STRIDE
from .plan import Plan, plan_of
from .repeated_keys import without_repeated_keys
from .rounding import rounded
from .work import ARENA, EXACT, FLOATS, GOES, LENGTH, PAYLOAD, SIZE, TEXT_PLACE, Rows, Work, new_work
from .work import Plan as PlanArrays

MAY_REPEAT: Final = (TWICE, KIND, RANGE, BASE64, MISSING, UNFIT, ROUNDED)
"""Errors of payloads that may be right, but for a value before the last one of its key."""
CODE: Final = (1 << CODE_BITS) - 1
MANY: Final = 64
"""Payloads of which what they hold tells something of the next ones."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodedJson:
    """`array` has a row for each payload, null where `errors` is not 0.

    `strange` (uint8): payloads with a field that the schema has not.
    """

    array: pa.Array
    errors: NDArray[np.int64]
    strange: NDArray[np.uint8]
    places: tuple[str, ...] = field(repr=False)

    def message(self, row: int) -> str:
        """What is wrong with the payload of a row whose error is not 0, in one sentence."""
        node, code = divmod(int(self.errors[row]), 1 << CODE_BITS)
        return sentence(code, self.places[node])


class JsonDecoder:
    """Decodes payloads of one schema, Kafka Connect's; safe to use from many threads. Raises SchemaError."""

    def __init__(self, schema: Any, keep: Keep | None) -> None:
        self._plan = plan_of(schema, keep)
        # By level the items of a payload, on average: a guess at the room for them.
        self._items = np.ones(self._plan.layout.levels)

    def decode(
        self,
        data: NDArray[np.uint8],
        at: NDArray[np.int64],
        length: NDArray[np.int64],
        known: NDArray[np.int64] | None = None,
        learning: bool = False,
    ) -> DecodedJson:
        """Decode `data[at[i] : at[i] + length[i]]` as row i, but those whose errors are `known`.

        A key may stand twice: the last value counts, whatever the first is. While `learning` such a payload is an
        error. Raises SchemaError where no column can hold them.
        """
        data, at, length = frozen(data, np.uint8), frozen(at, np.int64), frozen(length, np.int64)
        rows = Rows(at, length, np.zeros(len(at), np.int64) if known is None else known.copy())
        run = self._run(data, rows)
        twice = np.flatnonzero(np.isin(rows.errors & CODE, MAY_REPEAT) & (known is None or known == 0))
        if len(twice) and not learning:
            data, rows = without_repeated_keys(data, rows, twice)
            run = self._run(data, rows)
        return DecodedJson(run.built(self._plan), rows.errors, run.work.strange, self._plan.places)

    def _run(self, data: NDArray[np.uint8], rows: Rows) -> "_Run":
        """Fill slots, with more room for items where it was too little, and again without numbers that are rounded."""
        count, most = len(rows.at), int(rows.length.sum()) // 2 + len(rows.at) + 1
        floats, room = count + 64, np.ceil(self._items * count).astype(np.int64) + 64
        while True:
            # An item takes two bytes at least.
            room = np.minimum(room, most)
            room[0] = count
            run = _Run.of(data, rows, self._plan, room, floats)
            wanted = fill(data, rows, run.plan, run.work)
            if wanted == 0:
                floats *= 4
            elif wanted > 0:
                room[wanted] *= 4
            elif not _write_floats(data, rows, run.work):
                if count >= MANY:
                    self._items = run.work.rows * 1.2 / count
                return run


@dataclass(slots=True, eq=False)
class _Run:
    data: NDArray[np.uint8]
    good: NDArray[np.int64]
    plan: PlanArrays
    work: Work
    value_at: NDArray[np.int64]
    valid_at: NDArray[np.int64]

    @staticmethod
    def of(data: NDArray[np.uint8], rows: Rows, plan: Plan, room: NDArray[np.int64], floats: int) -> "_Run":
        slot_levels = np.array(plan.layout.slot_levels, np.int64)
        valid_levels = np.array(plan.layout.valid_levels, np.int64)
        value_at, size = starts(room[slot_levels])
        valid_at, marks = starts(room[valid_levels])
        nodes = plan.nodes.copy()
        nodes[:, STRIDE] = room[nodes[:, STRIDE]]
        for part, places in ((SLOT, value_at), (MARK, valid_at), (ABSENT, valid_at)):
            known = nodes[:, part] >= 0
            nodes[known, part] = places[nodes[known, part]]
        cells = [
            (start, level, is_mark)
            for is_mark, levels, places in ((0, slot_levels, value_at), (1, valid_levels, valid_at))
            for start, level in zip(places.tolist(), levels.tolist(), strict=True)
            if level
        ]
        total = int(rows.length.sum())
        sizes = (total + (total >> 10) + 32 * len(rows.at) + 64, floats, len(plan.fields), len(rows.at))
        work = new_work(np.zeros(size, np.int64), np.zeros(marks, np.uint8), room, sizes)
        arrays = PlanArrays(nodes, plan.fields, plan.names, np.array(cells, np.int64).reshape(-1, 3))
        return _Run(data, rows.errors, arrays, work, value_at, valid_at)

    def built(self, plan: Plan) -> pa.Array:
        work, used = self.work, self.work.counts[ARENA]
        counts = work.rows.copy()
        counts[0] = len(self.good)
        # Texts with escapes stand behind the data: places count on there.
        data = np.concatenate([self.data, work.arena[:used]]) if used else self.data
        data, good = frozen(data, np.uint8), self.good == 0
        slots = Slots(data, work.values, work.valid, self.value_at, self.valid_at, counts, good)
        bad = np.flatnonzero(~slots.good)
        if len(bad):
            for start in self.value_at[np.array(plan.layout.slot_levels, np.int64) == 0]:
                work.values[start + bad] = 0
            for start in self.valid_at[np.array(plan.layout.valid_levels, np.int64) == 0]:
                work.valid[start + bad] = 0
        array = build(plan.column, slots)
        texts = slots.texts.get(id(plan.column))
        if texts is not None:
            fields = [pa.field(PRIMITIVE_KEY, array.type), text_field(PRIMITIVE_KEY)]
            array = pa.StructArray.from_arrays([array, texts], fields=fields)
        return array


def _write_floats(data: NDArray[np.uint8], rows: Rows, work: Work) -> bool:
    """Read the numbers that the loop left, all at once; whether there are new errors among them."""
    found = work.floats[: work.counts[FLOATS]]
    wrong = False
    for width, kind in ((4, pa.float32()), (8, pa.float64())):
        mine = found[found[:, SIZE] == width]
        if not len(mine):
            continue
        offsets = np.zeros(len(mine) + 1, np.int64)
        np.cumsum(mine[:, LENGTH], out=offsets[1:])
        # By byte of all texts: where it is in the data.
        places = np.arange(offsets[-1]) + np.repeat(mine[:, TEXT_PLACE] - offsets[:-1], mine[:, LENGTH])
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data[places])]
        texts = pa.Array.from_buffers(pa.large_string(), len(mine), buffers)
        numbers = texts.cast(kind)
        if width == 4:
            work.singles[2 * mine[:, GOES]] = np.asarray(numbers)
            continue
        work.reals[mine[:, GOES]] = np.asarray(numbers)
        exact = np.flatnonzero(mine[:, EXACT])
        if len(exact):
            bad = exact[rounded(texts.take(pa.array(exact)), numbers.take(pa.array(exact)))]
            rows.errors[mine[bad, PAYLOAD]] = ((mine[bad, EXACT] - 1) << CODE_BITS) + ROUNDED
            wrong |= len(bad) > 0
    return wrong
