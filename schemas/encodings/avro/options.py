"""What a job file says of its Avro."""

from ...options import Options
from .framing import Framing


class AvroOptions(Options):
    """`framing`: what stands before each datum; `auto` takes the two that can be told apart."""

    framing: Framing = Framing.AUTO
