"""A tiny pipeline for trying runners: numbers from an unbounded source, grouped in windows, written to files.

A module that workers import. At-least-once is all that a runner promises to a sink: look for holes, not for repeats.
"""

import os
import time
import uuid
from pathlib import Path

import apache_beam as beam
from apache_beam import coders
from apache_beam.io.unbounded_source import CheckpointMark, ReadFromUnboundedSource, UnboundedReader, UnboundedSource
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import FixedWindows
from apache_beam.utils.timestamp import Timestamp

SPLITS = 2
RATE = 100


class Mark(CheckpointMark):
    def __init__(self, next):
        self.next = next


class MarkCoder(coders.Coder):
    def encode(self, value):
        return value.next.to_bytes(8, "big")

    def decode(self, encoded):
        return Mark(int.from_bytes(encoded, "big"))

    def is_deterministic(self):
        return True


class Numbers(UnboundedSource):
    """Number n comes, and has its event time, n / (SPLITS * RATE) seconds after `begin`; split i has one of SPLITS."""

    def __init__(self, begin, split=None):
        self.begin, self.index = begin, split

    def split(self, desired_num_splits, options=None):
        return [Numbers(self.begin, index) for index in range(SPLITS)]

    def create_reader(self, options, checkpoint_mark):
        return NumbersReader(self.begin, checkpoint_mark.next if checkpoint_mark else self.index)

    def get_checkpoint_mark_coder(self):
        return MarkCoder()


class NumbersReader(UnboundedReader):
    def __init__(self, begin, next):
        self.begin, self.next = begin, next

    def start(self):
        return self.advance()

    def advance(self):
        if time.time() < self._due(self.next):
            return False
        self.next += SPLITS
        return True

    def get_current(self):
        return self.next - SPLITS

    def get_current_timestamp(self):
        return Timestamp.of(self._due(self.next - SPLITS))

    def get_watermark(self):
        return Timestamp.of(self._due(self.next))

    def get_checkpoint_mark(self):
        return Mark(self.next)

    def _due(self, number):
        return self.begin + number / (SPLITS * RATE)


class Write(beam.DoFn):
    """A file a pane, whole or not at all."""

    def __init__(self, folder):
        self.folder = folder

    def process(self, element):
        _, numbers = element
        part = Path(self.folder) / f".{uuid.uuid4().hex}"
        part.write_text(" ".join(map(str, numbers)))
        os.replace(part, Path(self.folder) / part.name[1:])


def submit(folder, options, lateness=0):
    """Start the pipeline; it never ends by itself. What comes later than `lateness` seconds is dropped."""
    pipeline = beam.Pipeline(options=PipelineOptions(["--streaming", *options]))
    numbers = ReadFromUnboundedSource(Numbers(time.time()), poll_interval=0.1, max_read_time_seconds=0.5)
    _ = (
        pipeline
        | "Numbers" >> numbers
        | "Spread" >> beam.Reshuffle()
        | "Seconds" >> beam.WindowInto(FixedWindows(1), allowed_lateness=lateness)
        | "Key" >> beam.Map(lambda number: (0, number)).with_output_types(tuple[int, int])
        | "Group" >> beam.GroupByKey()
        | "Write" >> beam.ParDo(Write(str(folder)))
    )
    return pipeline.run()


def written(folder):
    """All numbers, repeats too."""
    files = [file for file in Path(folder).iterdir() if not file.name.startswith(".")]
    return [int(number) for file in files for number in file.read_text().split()]


def holes(folder):
    """Numbers below the highest one that are missing."""
    found = set(written(folder))
    return sorted(set(range(max(found, default=0))) - found)
