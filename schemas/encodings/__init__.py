"""Encodings: bytes of keys and values to Arrow columns. Here is the registry; the contract is in `encoding`."""

from typing import Final

from ..plugins import Plugins
from .avro.options import AvroOptions
from .encoding import EncodingSpec
from .json.options import JsonOptions
from .protobuf.options import ProtobufOptions

ENCODINGS: Final = Plugins(
    "millrace.encodings",
    "format.encoding",
    (
        EncodingSpec(
            name="avro",
            encoding=f"{__name__}.avro.encoding:AvroEncoding",
            options=AvroOptions,
            language=f"{__name__}.avro.schema_text:AVRO",
            schemas=True,
            by_folder={"framing": ("bare", "single_object")},
        ),
        EncodingSpec(name="json", encoding=f"{__name__}.json.encoding:JsonEncoding", options=JsonOptions),
        EncodingSpec(
            name="protobuf",
            encoding=f"{__name__}.protobuf.encoding:ProtobufEncoding",
            options=ProtobufOptions,
            language=f"{__name__}.protobuf.schema_text:PROTOBUF",
            schemas=True,
            by_folder={"framing": ("bare",)},
            extra="protobuf",
        ),
    ),
)

SHORT_ENCODING: Final = "avro"
"""The encoding of a job file's short form, `format: {type: ENVELOPE}`."""
