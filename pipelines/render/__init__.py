"""`millrace render`: what a platform applies to run a job: files for Kubernetes (Flink) and for Dataflow."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .dataflow import DataflowSettings, dataflow_files, secret_resources
from .file_headers import FLINK_NOTES
from .flink import FlinkSettings, flink_files
from .job_bundle import JobBundle, read_job_bundle
from .kubernetes import keeps_letters, secret_name
from .output_folder import write_folder, yaml_text

__all__ = ["Rendered", "render_dataflow", "render_flink"]

OPTIONAL: Final = ("dead-letters.yaml", "submit.yaml")
LOST_LETTERS: Final = (
    "dead letters go to the folder {} of each worker and end with it; write dead_letters: {{path: gs://...}} into the "
    "job file and render again"
)


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """The files written, the secrets that must be there, what to type next, and what would lose something."""

    files: Sequence[Path]
    secrets: Sequence[str]
    next: Sequence[str]
    warnings: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        more = {name: list(getattr(self, name)) for name in ("secrets", "next", "warnings")}
        return {"files": [str(file) for file in self.files], **more}

    def lines(self) -> list[str]:
        """For people."""
        width = max(len(str(file)) for file in self.files)
        return [
            *(f"  {file!s:<{width}}".rstrip() for file in self.files),
            *(["", "Secrets that the job file names; put your values in:", *self.secrets] if self.secrets else []),
            "",
            "Next:",
            *self.next,
            *(["", *(f"warning: {text}" for text in self.warnings)] if self.warnings else []),
        ]


def render_flink(found: Namespace) -> Rendered:
    """Write the files for the Flink operator as the command says. Raises JobError."""
    settings = FlinkSettings(
        image=found.image,
        storage=found.storage,
        mode=found.mode,
        parallelism=found.parallelism,
        namespace=found.namespace,
        flink_version=found.flink_version,
    )
    job = read_job_bundle(found.job)
    files = {name: yaml_text(parts, FLINK_NOTES[name]) for name, parts in flink_files(job, settings).items()}
    namespace = f" -n {settings.namespace}" if settings.namespace else ""
    return Rendered(
        files=write_folder(found.output, files, OPTIONAL),
        secrets=_kubectl_secret(job, namespace),
        next=[
            f"  kubectl apply --server-side -f {found.output}",
            f"  kubectl get flinkdeployment{namespace} {job.name} -w",
        ],
    )


def render_dataflow(found: Namespace) -> Rendered:
    """Write the Flex Template as the command says. Raises JobError."""
    settings = DataflowSettings(image=found.image, project=found.project, region=found.region, bucket=found.bucket)
    job = read_job_bundle(found.job)
    places = {what: place.split("/")[3] for what, place in secret_resources(job).items()}
    return Rendered(
        files=write_folder(found.output, dataflow_files(job, settings)),
        secrets=[f"  gcloud secrets create {name} --data-file=...    # {what}" for what, name in places.items()],
        next=[f"  {found.output}/build.sh", f"  {found.output}/run.sh"],
        warnings=[LOST_LETTERS.format(job.dead_letters)] if keeps_letters(job) else [],
    )


def _kubectl_secret(job: JobBundle, namespace: str) -> list[str]:
    parts = [f"--from-literal={name}=..." for name in job.secret_variables]
    parts += [f"--from-file={key}=..." for key in job.secret_files.values()]
    create = f"  kubectl create secret generic{namespace} {secret_name(job)}"
    return [" \\\n    ".join([create, *parts])] if parts else []
