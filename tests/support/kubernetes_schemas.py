"""kubeconform with schemas at hand: Kubernetes' own, the Flink operator's, and that of what Millrace renders."""

import json
import subprocess
from importlib.resources import files
from pathlib import Path

import kubernetes_validate

from support.go_programs import KUBECONFORM, built

OURS = Path(__file__).parents[1] / "data" / "kubernetes"
KINDS = ("configmap-v1", "job-batch-v1", "networkpolicy-networking-v1", "persistentvolumeclaim-v1")
RELEASE = "v1.34.0"
ELSEWHERE = "/api/_definitions.json"


def write_schemas(folder: Path) -> Path:
    """Kubernetes' schemas, strict, each whole in its file: kubeconform follows no reference from file to file."""
    place = Path(str(files(kubernetes_validate))) / "kubernetes-json-schema" / f"{RELEASE}-local-strict"
    parts = json.loads((place / "_definitions.json").read_text().replace(ELSEWHERE, ""))["$defs"]
    for kind in KINDS:
        schema = json.loads((place / f"{kind}.json").read_text().replace(ELSEWHERE, ""))
        (folder / f"{kind}.json").write_text(json.dumps({**schema, "$defs": parts}))
    return folder


def complaints(schemas: Path, place: Path) -> list[str]:
    """What `kubeconform -strict` says of a file or of a folder's files; nothing where all are valid."""
    command = [str(built(KUBECONFORM)), "-strict", "-output", "json"]
    for folder in (schemas, OURS):
        command += ["-schema-location", f"{folder}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"]
    done = subprocess.run([*command, str(place)], capture_output=True, text=True)
    found = json.loads(done.stdout)["resources"]
    assert bool(found) == bool(done.returncode), done.stderr
    return [f"{Path(item['filename']).name}: {item['msg']}" for item in found]
