"""The parameters of a Flex Template: its metadata describes them, its launcher takes them."""

from dataclasses import dataclass
from typing import Final

from ..image_paths import JOB_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of the template; `default` None: it must be given. `pattern` is a regular expression."""

    name: str
    label: str
    help: str
    pattern: str
    default: str | None


PARAMETERS: Final = (
    Parameter(
        name="sdk_container_image",
        label="Image of the workers",
        help="The image that the template was built with: launcher and workers are one image.",
        pattern=r"^[\w.:-]+(/[\w.-]+)+(:[\w.-]+|@sha256:[0-9a-f]{64})$",
        default=None,
    ),
    Parameter(
        name="job_file",
        label="Job file",
        help="Path of the job file in the image.",
        pattern=r"^/\S+\.ya?ml$",
        default=JOB_FILE,
    ),
    Parameter(
        name="parallelism",
        label="Shards",
        help="How many workers merge and stage one table's changes at a time.",
        pattern=r"^[1-9]\d{0,2}$",
        default="4",
    ),
    Parameter(
        name="max_cache_memory_usage_mb",
        label="State cache, in MB",
        help="Memory of a worker process for state that would otherwise be fetched again.",
        pattern=r"^\d{1,5}$",
        default="128",
    ),
    Parameter(
        name="number_of_worker_harness_threads",
        label="Threads of a worker process",
        help="How many bundles a worker process works on at a time; each holds blocks of a few MB.",
        pattern=r"^[1-9]\d{0,2}$",
        default="12",
    ),
)
