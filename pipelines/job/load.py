"""The job file as frozen dataclasses. Each mistake is one JobError: the place, the wrong word, the nearest right."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast, get_args

from ...schemas.encodings.wire_format import Framing
from ...schemas.errors import JobError
from ...schemas.model.change import PREFIX
from ...schemas.model.modes import Mode
from ...schemas.model.route import OnTruncate
from ...schemas.suggestions import guess
from ...transforms.dead_letters import DEFAULT_LIMIT, Limit, letters_at
from ...transforms.registries.confluent import ConfluentRegistry
from ...transforms.sinks import SINKS
from ...transforms.sinks.shared.guarantees import Promise
from ...transforms.sources.kafka.settings import KafkaSettings
from ...transforms.stores import SCHEMES, Address, unknown_scheme
from .model import By, Format, FormatType, Job, Source, Start, TableEntry, Target, Window
from .table_routes import TableRoute, route
from .target_options import located, read_modes, read_target
from .yaml_node import YamlNode, read_yaml

__all__ = ["Job", "TableRoute", "load_job", "route"]

TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
SERVER: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\],]+)(:\d{1,5})?")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
FAIL: Final = OnTruncate.FAIL
FILES: Final = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile")


def load_job(path: str | Path) -> Job:
    """Read and check a job file; opens nothing else and looks no secret up. Raises JobError."""
    file = Path(path)
    keys = ("job", "source", "format", "tables", "window", "target", "dead_letters", "max_dead_letters")
    top = read_yaml(file).mapping(keys, ("job", "source", "format", "target"))
    folder = file.absolute().parent
    source = _source(top["source"])
    target = read_target(top["target"])
    return Job(
        job=_matching(top["job"], NAME, "a name of letters, digits, '_', '-' and '.'"),
        source=source,
        format=_format(top["format"]),
        tables=_tables(top["tables"], source, target) if "tables" in top else (),
        window=_window(top["window"], target) if "window" in top else Window(),
        target=target,
        dead_letters=_dead_letters(top.get("dead_letters"), folder),
        max_dead_letters=_limit(top["max_dead_letters"]) if "max_dead_letters" in top else DEFAULT_LIMIT,
        file=file,
        folder=folder,
    )


def _source(entry: YamlNode) -> Source:
    keys = ("type", "bootstrap_servers", "topics", "topic_pattern", "start", "client")
    found = entry.mapping(keys, ("type", "bootstrap_servers"))
    found["type"].choice(("kafka",))
    if "topics" in found and "topic_pattern" in found:
        raise found["topic_pattern"].error("stands beside source.topics; a job has one of the two")
    if "topics" not in found and "topic_pattern" not in found:
        raise entry.error("says no topics: add topics: [NAME, ...] or topic_pattern: 'REGEX'")
    return Source(
        kafka=_kafka(found["bootstrap_servers"], found.get("client")),
        topics=_topics(found["topics"]) if "topics" in found else (),
        topic_pattern=_pattern(found["topic_pattern"]) if "topic_pattern" in found else None,
        start=_start(found["start"]) if "start" in found else "earliest",
    )


def _kafka(servers: YamlNode, client: YamlNode | None) -> KafkaSettings:
    listed = [part.strip() for text in servers.texts() for part in text.split(",")]
    for server in listed:
        if SERVER.fullmatch(server) is None or int(server.rpartition(":")[2] or 0 if ":" in server else 0) > 65535:
            said = "one of the servers" if "@" in server else repr(server)
            raise servers.error(f"{said} is not written host:port")
    settings = KafkaSettings(",".join(listed))
    options: dict[str, Any] = {}
    for name, entry in client.mapping().items() if client else ():
        value = entry.plain()
        options[name] = located(entry, value) if name in FILES and isinstance(value, str) else value
        try:
            settings = KafkaSettings(settings.bootstrap_servers, options)
        except JobError as error:
            raise entry.placed(str(error)) from None
    return settings


def _topics(entry: YamlNode) -> tuple[str, ...]:
    topics = entry.texts()
    for topic in topics:
        _check_topic(entry, topic)
    return topics


def _check_topic(entry: YamlNode, topic: str) -> None:
    if TOPIC.fullmatch(topic) is None:
        advice = "; for a pattern use source.topic_pattern" if re.search(r"[*+?\\|()\[\]]", topic) else ""
        raise entry.error(f"{topic!r} cannot be a topic: names have letters, digits, '.', '_' and '-' only{advice}")


def _pattern(entry: YamlNode) -> str:
    pattern = entry.raw_text()
    try:
        re.compile(pattern)
    except re.error as error:
        raise entry.error(f"{pattern!r} is not a regular expression: {error}") from None
    return pattern


def _start(entry: YamlNode) -> Start:
    if entry.kind == "a mapping":
        return entry.mapping(("timestamp",), ("timestamp",))["timestamp"].moment()
    return cast(Start, entry.choice(("earliest", "latest"), "{timestamp: 2026-01-01T00:00:00Z}"))


def _format(entry: YamlNode) -> Format:
    found = entry.mapping(("type", "registry", "schemas", "framing"), ("type",))
    if "registry" in found and "schemas" in found:
        raise found["schemas"].error("stands beside format.registry; a job has one of the two")
    if "registry" not in found and "schemas" not in found:
        raise entry.error("says no schemas: add registry: URL or schemas: FOLDER (of .avsc files)")
    framing = Framing(found["framing"].choice(tuple(Framing))) if "framing" in found else Framing.AUTO
    if "registry" in found and framing in (Framing.BARE, Framing.SINGLE_OBJECT):
        raise found["framing"].error(f"{framing} needs format.schemas, a folder: a registry finds schemas by id only")
    return Format(
        type=cast(FormatType, found["type"].choice(get_args(FormatType))),
        registry=_registry(found["registry"]) if "registry" in found else None,
        schemas=Path(located(found["schemas"], found["schemas"].text())) if "schemas" in found else None,
        framing=framing,
    )


def _registry(entry: YamlNode) -> ConfluentRegistry:
    if entry.kind != "a mapping":
        return ConfluentRegistry(_url(entry))
    numbers = ("timeout", "give_up_after", "remember_refusals")
    files = ("ca", "certificate", "certificate_key")
    found = entry.mapping(("url", "username", "password", *files, *numbers), ("url",))
    options: dict[str, Any] = {"url": _url(found.pop("url"))}
    for name, part in found.items():
        if name in numbers:
            options[name] = part.duration().total_seconds()
        else:
            options[name] = located(part, part.text()) if name in files else part.text()
    return ConfluentRegistry(**options)


def _url(entry: YamlNode) -> str:
    url = entry.text()
    if not url.startswith(("http://", "https://", "${")):
        raise entry.error("is not an http:// or https:// address; a folder is format.schemas")
    return url


def _tables(entry: YamlNode, source: Source, target: Target) -> tuple[TableEntry, ...]:
    tables: list[TableEntry] = []
    taken: dict[str, str] = {}
    for item in entry.items():
        table, names = _table(item, source, target), item.mapping()
        for topic in table.topics:
            if any(topic in other.topics for other in tables):
                raise names["from"].error(f"{topic!r} already goes to another table")
        if table.to.casefold() in taken:
            raise names.get("to", item).error(
                f"the table {table.to!r} stands twice ({taken[table.to.casefold()]}); several topics into one table "
                "are one item: from: [a, b]"
            )
        taken[table.to.casefold()] = item.path
        tables.append(table)
    return tuple(tables)


def _table(item: YamlNode, source: Source, target: Target) -> TableEntry:
    found = item.mapping(("from", "to", "key", "on_truncate", "mode"), ("from",))
    topics = _topics(found["from"])
    for topic in topics:
        if not source.reads(topic):
            where = "match source.topic_pattern" if source.topic_pattern else "stand in source.topics"
            raise found["from"].error(f"{topic!r} does not {where}{guess(topic, source.topics)}")
    if "to" not in found and len(topics) > 1:
        raise item.error("several topics need the table's name: add to: NAME")
    modes = read_modes(found["mode"], target.type) if "mode" in found else None
    return TableEntry(
        topics=topics,
        to=_table_name(found["to"]) if "to" in found else topics[0].rpartition(".")[2],
        key=found["key"].texts() if "key" in found else None,
        on_truncate=_on_truncate(found["on_truncate"], modes or target.modes) if "on_truncate" in found else FAIL,
        modes=modes,
    )


def _on_truncate(entry: YamlNode, modes: Sequence[Mode]) -> OnTruncate:
    chosen = OnTruncate(entry.choice(tuple(OnTruncate)))
    keeping = [mode for mode in modes if mode in (Mode.SOFT_DELETE, Mode.SCD2)]
    if chosen is OnTruncate.APPLY and keeping:
        raise entry.error(
            f"a table with mode: {keeping[0]} keeps what was deleted, and a TRUNCATE does not say which rows it "
            "deleted; write on_truncate: ignore, or fail"
        )
    return chosen


def _table_name(entry: YamlNode) -> str:
    name = entry.text()
    if name.lower().startswith(PREFIX):
        raise entry.error(f"{name!r}: names that begin with {PREFIX} are Millrace's own")
    if len(name) > 200 or name in (".", "..") or re.search(r"[/\\\x00-\x1f\x7f]", name):
        raise entry.error(f"{name!r} cannot be a table: no '/', '\\' or control characters, at most 200 characters")
    return name


def _window(entry: YamlNode, target: Target) -> Window:
    found = entry.mapping(("every", "by", "allowed_lateness"))
    by = found["by"].choice(get_args(By)) if "by" in found else Window.by
    if by == "event" and Promise.EVENT_TIME in SINKS[target.type].exceptions:
        raise found["by"].error(f"a target of type {target.type} takes windows by arrival only; write by: arrival")
    if "allowed_lateness" in found and by != "event":
        raise found["allowed_lateness"].error("has a meaning with by: event only; windows by arrival are never late")
    return Window(
        every=found["every"].duration() if "every" in found else Window.every,
        by=cast(By, by),
        allowed_lateness=found["allowed_lateness"].duration()
        if "allowed_lateness" in found
        else Window.allowed_lateness,
    )


def _dead_letters(entry: YamlNode | None, folder: Path) -> Address:
    if entry is None:
        return letters_at(folder / "dead_letters")
    found = entry.mapping(("path", "storage_options"), ("path",))
    options = found["storage_options"].mapping() if "storage_options" in found else {}
    written = located(found["path"], found["path"].text())
    address = letters_at(written, {name: part.plain() for name, part in options.items()})
    if written.startswith("${"):
        return address
    if address.scheme not in SCHEMES:
        raise found["path"].error(f"{written!r}: {unknown_scheme(address.scheme)}")
    if options and address.folder is not None:
        raise found["storage_options"].error("belong to a URL, and dead_letters.path is a local folder")
    return address


def _limit(entry: YamlNode) -> Limit:
    value = str(entry.plain()) if entry.kind in ("text", "a number") else entry.kind
    try:
        return Limit.parse(value)
    except JobError as error:
        raise entry.placed(str(error)) from None


def _matching(entry: YamlNode, pattern: re.Pattern[str], wanted: str) -> str:
    text = entry.text()
    if pattern.fullmatch(text) is None:
        raise entry.error(f"{text!r} is not {wanted}")
    return text
