"""`on_two_sources: separate_keys`, as the proof sees it: the keys that two sources wrote all the same."""

from dataclasses import dataclass, field

from .events import Change, Key


@dataclass(slots=True)
class SharedKeys:
    """By key the source that wrote it first, and of keys that another one wrote too, both."""

    first: dict[Key, str] = field(default_factory=dict)
    found: dict[Key, tuple[str, str]] = field(default_factory=dict)

    def note(self, change: Change) -> None:
        """Take the next change; a lone tombstone does not tell its source."""
        key, by = change.key, change.event.sent_by
        if key is None or by is None:
            return
        first = self.first.setdefault(key, by)
        if first != by:
            self.found.setdefault(key, (first, by))
