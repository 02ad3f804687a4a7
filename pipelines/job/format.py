"""The job file's `format`: how messages are written, and where their schemas are."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from ...schemas.encodings import ENCODINGS
from ...schemas.encodings.encoding import EncodingSpec
from ...schemas.encodings.schema_store import FolderSchemaStore, SchemaStore
from ...schemas.envelopes import ENVELOPES
from ...schemas.option_values import built
from ...schemas.options import Options, mistake, read_location, refuse_unknown
from ...transforms.registries import ConfluentRegistry, RegistryOptions, as_url
from .part_type import known_type

Framing = Literal["auto", "confluent", "single_object", "bare", "embedded", "plain"]
SHORT: Final = "type"
"""`type: X` is short for the encoding in which the envelope X is mostly written, with that envelope."""


def _in_folder(path: Path, info: ValidationInfo) -> Path:
    return Path(read_location(str(path), info))


class Schemas(Options):
    """Where the schemas of messages are; at most one of `registry` and `schemas` is set."""

    registry: Annotated[
        ConfluentRegistry | None,
        built(RegistryOptions, RegistryOptions.registry, str),
        BeforeValidator(as_url, json_schema_input_type=str | RegistryOptions),
    ] = Field(
        default=None, description="Address of a schema registry, or a mapping with user name, password and files."
    )
    schemas: Annotated[Path, AfterValidator(_in_folder)] | None = Field(
        default=None, description="A folder of schemas (.avsc files), instead of a registry."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.registry is not None and self.schemas is not None:
            raise mistake("stands beside format.registry; a job has one of the two", "schemas")
        return self


@dataclass(frozen=True, kw_only=True)
class Format:
    """How messages are written: an encoding and an envelope by name, each with its options, and their schemas."""

    encoding: str
    envelope: str
    encoding_options: Options = field(default_factory=Options)
    envelope_options: Options = field(default_factory=Options)
    registry: ConfluentRegistry | None = None
    schemas: Path | None = None

    @property
    def framing(self) -> Framing:
        """How a message names its schema, in encodings where the job says so; else `auto`."""
        named: Framing = getattr(self.encoding_options, "framing", "auto")
        return named

    def schema_store(self) -> SchemaStore:
        """The registry, not asked yet, or the folder, read now. Raises JobError."""
        if self.registry is not None:
            return replace(self.registry, encoding=self.encoding)
        return FolderSchemaStore(self.schemas or "", ENCODINGS.find(self.encoding).schema_language())


NO_FORMAT: Final = Format(encoding="", envelope="")
"""Of a source whose log has types."""


def read_format(written: Any, info: ValidationInfo) -> Any:
    """The format as written, in its short or its long form. Raises ValueError."""
    if isinstance(written, Format):
        return written
    if not isinstance(written, Mapping):
        return Options.model_validate(written)
    written = _long_form(written)
    encoding, envelope = _names(written)
    encoder, enveloper = ENCODINGS.find(encoding), ENVELOPES.find(envelope)
    if enveloper.only_short:
        written = {**enveloper.short, **written}
        for key, word in enveloper.short.items():
            if written[key] != word:
                raise mistake(f"messages of {envelope} are read with {key}: {word} alone", key)
    parts = [(part, list(part.keys())) for part in (Schemas, encoder.options, enveloper.options)]
    refuse_unknown(written, (SHORT, "encoding", "envelope", *(key for _, keys in parts for key in keys)))
    own = [{key: written[key] for key in keys if key in written} for _, keys in parts]
    place = Schemas.model_validate(own[0], context=info.context)
    return _checked(
        Format(
            encoding=encoding,
            envelope=envelope,
            encoding_options=encoder.options.model_validate(own[1], context=info.context),
            envelope_options=enveloper.options.model_validate(own[2], context=info.context),
            registry=place.registry,
            schemas=place.schemas,
        ),
        encoder,
    )


def _long_form(written: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same with what its `type` is short for."""
    if SHORT not in written:
        return written
    for name in ("encoding", "envelope"):
        if name in written:
            raise mistake("stands beside format.type, which is short for encoding and envelope", name)
    name = known_type(written, ENVELOPES, SHORT)
    rest = {key: value for key, value in written.items() if key != SHORT}
    return {**ENVELOPES.find(name).short, "envelope": name, **rest}


def _names(written: Mapping[str, Any]) -> tuple[str, str]:
    """The names of the encoding and of the envelope."""
    for name, other in (("encoding", "envelope"), ("envelope", "encoding")):
        if name not in written:
            raise mistake(f"the key {(name if other in written else SHORT)!r} is missing")
    return known_type(written, ENCODINGS, "encoding"), known_type(written, ENVELOPES, "envelope")


def _checked(found: Format, encoder: EncodingSpec) -> Format:
    if encoder.schemas and found.registry is None and found.schemas is None:
        suffix = encoder.schema_language().suffix
        raise mistake(f"says no schemas: add registry: URL or schemas: FOLDER (of {suffix} files)")
    given = "registry" if found.registry is not None else "schemas" if found.schemas is not None else None
    if given is not None and encoder.language is None and not encoder.schemas:
        raise mistake(f"the encoding {encoder.name} takes no schemas: leave it out", given)
    for option, values in encoder.by_folder.items() if found.registry is not None else ():
        value = str(getattr(found.encoding_options, option))
        if value in values:
            text = f"{value} needs format.schemas, a folder: a registry finds schemas by id only"
            raise mistake(text, option)
    return found
