"""What a job file says of Kafka."""

from collections.abc import Mapping
from typing import Any

from ....schemas.options import Options
from .settings import KafkaSettings


class KafkaOptions(Options):
    """How to reach a cluster."""

    bootstrap_servers: str
    client: Mapping[str, Any] = {}

    @property
    def kafka(self) -> KafkaSettings:
        """The settings; secrets are still references."""
        return KafkaSettings(self.bootstrap_servers, self.client)
