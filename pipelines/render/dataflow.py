"""A job as a Flex Template of Dataflow: an image that is launcher and worker, its metadata, and the commands."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from string import Template
from typing import Any, Final

from ...schemas.errors import JobError
from ..runners.dataflow.secrets import VARIABLE
from ..runners.dataflow.template_parameters import PARAMETERS, Parameter
from ..runners.image_paths import JOB_FILE
from .job_bundle import JobBundle

PROJECT: Final = re.compile(r"([a-z][a-z0-9.-]*:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
REGION: Final = re.compile(r"[a-z]+-[a-z]+\d+")
BUCKET: Final = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/[^\s]*)?")
WORKER_USER: Final = 10001

BUILD: Final = Template("""\
#!/usr/bin/env bash
# Builds the image of the job $name (launcher and worker are one), pushes it, and writes the template's file.
# Needs docker and gcloud, and the Artifact Registry repository that IMAGE lies in.
set -euo pipefail
cd "$$(dirname "$$0")"
$settings
docker build --build-arg PROJECT="$$PROJECT" --tag "$$IMAGE" .
docker push "$$IMAGE"
gcloud dataflow flex-template build "$$TEMPLATE" \\
    --project "$$PROJECT" --image "$$IMAGE" --sdk-language PYTHON --metadata-file metadata.json
""")
RUN: Final = Template("""\
#!/usr/bin/env bash
# Starts the job $name from its template. UPDATE=yes ./run.sh replaces the running job and keeps its state, which
# works as long as no step of the pipeline was renamed.
set -euo pipefail
cd "$$(dirname "$$0")"
$settings
gcloud dataflow flex-template run "$name" \\
    --project "$$PROJECT" --region "$$REGION" --template-file-gcs-location "$$TEMPLATE" \\
    --staging-location "$$BUCKET/staging" --temp-location "$$BUCKET/temp" \\
    --enable-streaming-engine --num-workers "$${WORKERS:-1}" --max-workers "$${MAX_WORKERS:-4}" \\
    $${UPDATE:+--update} \\
    --parameters "sdk_container_image=$$IMAGE"
""")
SETTINGS: Final = Template("""\
PROJECT="$${PROJECT:$project}"
REGION="$${REGION:$region}"
BUCKET="$${BUCKET:$bucket}"
IMAGE="$${IMAGE:-$$REGION-docker.pkg.dev/$$PROJECT/millrace/$name:$digest}"
TEMPLATE="$$BUCKET/templates/$name.json"
""")


@dataclass(frozen=True, kw_only=True)
class DataflowSettings:
    """`image` is Millrace's own (deploy/Dockerfile), which the job's is built on. What is None, the scripts ask for."""

    image: str
    project: str | None = None
    region: str | None = None
    bucket: str | None = None

    def __post_init__(self) -> None:
        for option, pattern, example in (
            ("project", PROJECT, "my-project"),
            ("region", REGION, "europe-west1"),
            ("bucket", BUCKET, "gs://my-bucket/millrace"),
        ):
            value = getattr(self, option)
            if value is not None and pattern.fullmatch(value) is None:
                raise JobError(f"--{option} {value}: not as in {example}")


def dataflow_files(job: JobBundle, settings: DataflowSettings) -> dict[str, str]:
    """The texts of the files, by name."""
    words = SETTINGS.substitute(
        name=job.name,
        digest=job.digest,
        project=_default("project", "the id of the project", settings.project),
        region=_default("region", "the region, as europe-west1", settings.region),
        bucket=_default("bucket", "a folder for staging, as gs://my-bucket/millrace", settings.bucket),
    )
    copied = {JOB_FILE: job.text, **{f"{job.schemas_folder}/{name}": text for name, text in job.schemas.items()}}
    return {
        "Dockerfile": _dockerfile(job, settings),
        "metadata.json": json.dumps(_metadata(job), indent=2) + "\n",
        "build.sh": BUILD.substitute(name=job.name, settings=words),
        "run.sh": RUN.substitute(name=job.name, settings=words),
        **{f"files{path}": text for path, text in copied.items()},
    }


def _default(name: str, what: str, value: str | None) -> str:
    return f"-{value.rstrip('/')}" if value else f"?set {name.upper()}: {what}"


def _dockerfile(job: JobBundle, settings: DataflowSettings) -> str:
    """Stages: Millrace's image, and the job's files on top; what is secret is named only."""
    lines = [
        f"# The job {job.name}: its file and schemas on top of Millrace's image (deploy/Dockerfile of Millrace).",
        f"ARG MILLRACE_IMAGE={settings.image}",
        "FROM ${MILLRACE_IMAGE} AS job",
        "COPY files/ /",
    ]
    secrets = secret_resources(job)
    if secrets:
        lines += [
            "",
            "# Where workers fetch the secrets that the job file names. They must exist in this project's Secret",
            "# Manager, and the workers' service account needs roles/secretmanager.secretAccessor.",
            "ARG PROJECT",
            f'ENV {VARIABLE}="{" ".join(f"{name}={place}" for name, place in secrets.items())}"',
        ]
    folders = sorted({path.rpartition("/")[0] for path in job.secret_files})
    if folders:
        made = " ".join(folders)
        lines += ["", "USER root", f"RUN mkdir -p {made} && chown {WORKER_USER} {made}", f"USER {WORKER_USER}"]
    return "\n".join(lines) + "\n"


def secret_resources(job: JobBundle) -> dict[str, str]:
    """Name of the variable or path of the file, and where the Secret Manager has it."""
    names = {name: name for name in job.secret_variables} | job.secret_files
    return {
        what: f"projects/${{PROJECT}}/secrets/{job.name}-{re.sub(r'[^A-Za-z0-9_-]', '-', key)}/versions/latest"
        for what, key in names.items()
    }


def _metadata(job: JobBundle) -> dict[str, Any]:
    """The description that Dataflow shows and checks parameters by.

    Its mode that lets elements repeat is left out: the accounts of a commit would not add up.
    """
    return {
        "name": f"Millrace: {job.job.job}",
        "description": f"Keeps the tables of the job {job.job.job} equal to its Kafka topics.",
        "streaming": True,
        "supportsAtLeastOnce": False,
        "supportsExactlyOnce": True,
        "defaultStreamingMode": "EXACTLY_ONCE",
        "parameters": list(_parameters(PARAMETERS)),
    }


def _parameters(parameters: Iterable[Parameter]) -> Iterable[dict[str, Any]]:
    for parameter in parameters:
        yield {
            "name": parameter.name,
            "label": parameter.label,
            "helpText": parameter.help,
            "paramType": "TEXT",
            "isOptional": parameter.default is not None,
            "regexes": [parameter.pattern],
        }
