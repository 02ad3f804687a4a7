"""What Kubernetes and Flink's operator make of a rendered FlinkDeployment in application mode, without either."""

import os
import sys
from pathlib import Path

import yaml

from support.flink_cluster import ROOT, FlinkCluster
from support.go_programs import BOOT, CACHE, built
from support.processes import Program

STANDALONE = "org.apache.flink.container.entrypoint.StandaloneApplicationClusterEntryPoint"
# Kubernetes keeps the leader there, ZooKeeper here; Prometheus' reporter is a plugin, and the wheel has no plugins.
ELSEWHERE = ("high-availability.type", "metrics.reporter.", "kubernetes.")
# Set by the operator for each application, so that a job that has ended can still be asked.
OPERATOR = {"execution.shutdown-on-application-finish": "false"}


class RenderedFlink:
    """The documents in `folder`, each text with the parts of `moved` replaced, `root` before the containers' paths."""

    def __init__(self, folder: Path, root: Path, moved: dict[str, str]) -> None:
        self.root, self._moved = root, {**moved, "/opt/": f"{root}/opt/"}
        found = [part for file in sorted(folder.glob("*.yaml")) for part in yaml.safe_load_all(file.read_text())]
        self._maps = {part["metadata"]["name"]: part["data"] for part in found if part["kind"] == "ConfigMap"}
        (deployment,) = (part for part in found if part["kind"] == "FlinkDeployment")
        self.spec = deployment["spec"]

    def here(self, text: str) -> str:
        """As it is on this machine."""
        for old, new in self._moved.items():
            text = text.replace(old, new)
        return text

    def configuration(self) -> dict[str, str]:
        """Flink's, as far as it has a meaning here."""
        found = {**self.spec["flinkConfiguration"], **OPERATOR}
        return {name: self.here(value) for name, value in found.items() if not name.startswith(ELSEWHERE)}

    def container(self, manager: str, name: str) -> dict:
        """That container; the files of its ConfigMaps are written where it mounts them."""
        pod = self.spec[manager]["podTemplate"]["spec"]
        (found,) = (part for part in (*pod.get("initContainers", ()), *pod["containers"]) if part["name"] == name)
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for mount in found["volumeMounts"]:
            place = Path(self.here(mount["mountPath"]))
            source = volumes[mount["name"]].get("configMap")
            if source is None:
                (place.parent if "subPath" in mount else place).mkdir(parents=True, exist_ok=True)
                continue
            texts = self._maps[source["name"]]
            paths = {item["key"]: item["path"] for item in source.get("items", ())} or {key: key for key in texts}
            for key, path in paths.items():
                target = place if mount.get("subPath") == path else place / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(self.here(texts[key]))
        return found

    def command(self, container: dict) -> list[str]:
        """What the image runs for the container: its entry point with the rendered arguments."""
        return [str(ROOT / "deploy" / "entrypoint.sh"), *map(self.here, container["args"])]

    def environment(self, container: dict, secrets: dict[str, str]) -> dict[str, str]:
        """The image's variables and the rendered ones, with the values of the Secret."""
        references = {entry["name"]: entry["valueFrom"]["secretKeyRef"]["key"] for entry in container["env"]}
        return {
            **{name: secrets[key] for name, key in references.items()},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "src"),
            "NUMBA_CACHE_DIR": str(CACHE / "numba"),
            "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1",
            "BEAM_BOOT": str(built(BOOT)),
            "TMPDIR": str(self.root),
        }


class FlinkApplication(FlinkCluster):
    """A cluster for one job, which it starts itself, from the rendered jar; as many TaskManagers as the parallelism.

    The rendered worker pool answers at `port`. A context manager like FlinkCluster.
    """

    def __init__(self, rendered: RenderedFlink, secrets: dict[str, str], port: int, savepoint: str | None = None):
        self._rendered, self._secrets, self._port, self._savepoint = rendered, secrets, port, savepoint
        slots = int(rendered.spec["flinkConfiguration"]["taskmanager.numberOfTaskSlots"])
        super().__init__(rendered.spec["job"]["parallelism"] // slots, slots)

    def start_job_manager(self) -> None:
        """The JobManager that makes the job graph of the jar, and runs it."""
        settings = self.folder / "flink-conf.yaml"
        lines = [f"{name}: {value}" for name, value in self._rendered.configuration().items()]
        settings.write_text("\n".join([settings.read_text(), *lines, ""]))
        job = self._rendered.spec["job"]
        jar = self._rendered.here(job["jarURI"])
        words = ["--configDir", str(self.folder), "--job-classname", job["entryClass"], "--jars", jar]
        restored = [] if self._savepoint is None else ["--fromSavepoint", self._savepoint]
        self.job_manager = self._java("jobmanager", 512, STANDALONE, *words, *restored)

    def start_workers(self) -> Program:
        worker = self._rendered.container("taskManager", "worker")
        command = [*self._rendered.command(worker), str(self._port)]
        return Program(command, self.folder / "workers.log", self._rendered.environment(worker, self._secrets))
