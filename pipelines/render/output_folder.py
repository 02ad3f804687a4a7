"""The folder that `millrace render` writes: every file begins with what a person should know or edit."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from ...schemas.errors import JobError

LINE: Final = 110


class _Dumper(yaml.SafeDumper):
    """Lists stand below their key, indented; texts of several lines as they are."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def yaml_text(documents: Iterable[Mapping[str, Any]], notes: Iterable[str]) -> str:
    """The documents as one YAML file below the notes, keys in the order given."""
    head = "".join(f"# {note}\n" if note else "#\n" for note in notes)
    dumped = yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=LINE, explicit_start=True)
    return f"{head}{dumped}"


def write_folder(folder: Path, files: Mapping[str, str], known: Iterable[str] = ()) -> list[Path]:
    """Write the files by their names, `/` for folders; scripts can be run. Gives their paths.

    Files of `known` that are not among them are those of an earlier, different rendering, and go. Raises JobError.
    """
    try:
        for name in known:
            if name not in files:
                (folder / name).unlink(missing_ok=True)
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            if name.endswith(".sh"):
                path.chmod(0o755)
    except OSError as error:
        raise JobError(f"{folder}: cannot be written: {error.strerror}: {error.filename}") from None
    return [folder / name for name in files]
