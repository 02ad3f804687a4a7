"""What a Flink cluster says of itself and of our job, over its REST interface."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ....schemas.errors import RunnerError
from ....schemas.secrets import shown

ANSWER_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class FlinkJob:
    """`state` is Flink's word: RUNNING, RESTARTING, FAILED, FINISHED, CANCELED ...; `since` in milliseconds."""

    id: str
    name: str
    state: str
    since: int

    @property
    def live(self) -> bool:
        return self.state not in ("FAILED", "FINISHED", "CANCELED")


@dataclass(frozen=True, slots=True)
class Slots:
    """Slots of all TaskManagers, those that are free, and those of the largest TaskManager."""

    total: int
    free: int
    most: int


class FlinkRest:
    """A JobManager at `url`, `http://host:port`. All methods raise RunnerError where it does not answer, or refuses."""

    def __init__(self, url: str) -> None:
        self._url = (url if "://" in url else f"http://{url}").rstrip("/")

    def version(self) -> str:
        """As `1.19.3`."""
        return str(self._get("/config")["flink-version"])

    def slots(self) -> Slots:
        managers = self._get("/taskmanagers")["taskmanagers"]
        return Slots(
            sum(manager["slotsNumber"] for manager in managers),
            sum(manager["freeSlots"] for manager in managers),
            max((manager["slotsNumber"] for manager in managers), default=0),
        )

    def settings(self) -> Mapping[str, str]:
        """The JobManager's configuration; Flink itself masks secrets in it."""
        return {entry["key"]: entry["value"] for entry in self._get("/jobmanager/config")}

    def jobs(self, name: str) -> list[FlinkJob]:
        """The jobs of that name, the newest first; ended ones as long as Flink remembers them."""
        found = [
            FlinkJob(job["jid"], job["name"], job["state"], job["start-time"])
            for job in self._get("/jobs/overview")["jobs"]
            if job["name"] == name
        ]
        return sorted(found, key=lambda job: job.since, reverse=True)

    def job(self, name: str) -> FlinkJob | None:
        """The job of that name that is live, else the newest."""
        found = self.jobs(name)
        return next((job for job in found if job.live), found[0] if found else None)

    def exceptions(self, job_id: str) -> list[str]:
        """Why the job failed or restarted, the newest first, with Java's stack traces."""
        entries = self._get(f"/jobs/{job_id}/exceptions")["exceptionHistory"]["entries"]
        return [str(entry["stacktrace"]) for entry in entries]

    def cancel(self, job_id: str) -> None:
        """End the job; returns when Flink has taken it in, not when it has ended."""
        self._ask(Request(f"{self._url}/jobs/{job_id}?mode=cancel", method="PATCH"))

    def stop_with_savepoint(self, job_id: str, folder: str | None = None, seconds: float = 300.0) -> str:
        """Take a savepoint into `folder` (None: the cluster's own), then end the job; gives the savepoint's path.

        No window is closed early: what is open is in the savepoint. Raises RunnerError with Flink's reason where it
        fails or takes longer than `seconds`; the job then runs on.
        """
        wanted = {"drain": False} if folder is None else {"drain": False, "targetDirectory": folder}
        trigger = self._post(f"/jobs/{job_id}/stop", wanted)["request-id"]
        deadline = time.monotonic() + seconds
        while True:
            answer = self._get(f"/jobs/{job_id}/savepoints/{trigger}")
            if answer["status"]["id"] == "COMPLETED":
                break
            if time.monotonic() > deadline:
                raise RunnerError(f"Flink job {job_id}: no savepoint within {seconds:.0f} s; the job runs on")
            time.sleep(POLL_SECONDS)
        operation = answer["operation"]
        if "location" not in operation:
            why = _reason(str(operation.get("failure-cause", {}).get("stack-trace", "")))
            raise RunnerError(f"Flink job {job_id}: the savepoint failed: {why}")
        return str(operation["location"])

    def _get(self, path: str) -> Any:
        return self._ask(Request(self._url + path))

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        return self._ask(Request(self._url + path, json.dumps(body).encode(), headers, method="POST"))

    def _ask(self, request: Request) -> Any:
        try:
            with urlopen(request, timeout=ANSWER_SECONDS) as answer:
                text = answer.read()
        except HTTPError as error:
            with error:
                said = _complaint(error.read())
            raise RunnerError(f"Flink at {shown(self._url)} answered {error.code}: {said}") from None
        except OSError as error:
            why = getattr(error, "reason", error)
            raise RunnerError(f"no answer from Flink at {shown(self._url)}: {why}") from None
        try:
            return json.loads(text) if text else {}
        except ValueError:
            raise RunnerError(f"what answers at {shown(self._url)} is not Flink's REST interface") from None


def _complaint(body: bytes) -> str:
    try:
        errors = json.loads(body)["errors"]
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
    return _reason("\n".join(map(str, errors)))


def _reason(trace: str) -> str:
    """The innermost cause of a Java stack trace, in one line."""
    causes = [line.strip() for line in trace.splitlines() if line.strip() and not line.startswith(("\t", " "))]
    return causes[-1].removeprefix("Caused by: ") if causes else "no reason is given"
