"""A schema as a tree of types, in the words of Avro: each encoding makes it of its own schemas."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, eq=False)
class Type:
    """One type; a record that contains itself is met again as the same object.

    `kind` is Avro's, `error` counts as `record`. `children` are the field types, the union's branches, or the one
    item type; `names` the field names or the enum's symbols. `attributes` hold what else the schema says.
    """

    kind: str
    name: str = ""
    children: list["Type"] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    size: int = 0
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def connect_name(self) -> str | None:
        """Kafka Connect's name of the type, if it has one."""
        name = self.attributes.get("connect.name")
        return name if isinstance(name, str) else None
