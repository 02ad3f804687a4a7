"""What stands above each file for Kubernetes: what it is, what to edit."""

from typing import Final

FLINK_NOTES: Final = {
    "config.yaml": (
        "The job file, and its schemas where it has a folder of them. A changed job file, rendered and applied again,",
        "makes the operator take a savepoint and start the job anew from it.",
    ),
    "dead-letters.yaml": (
        "Where workers write the messages that cannot be applied.",
        "Edit: storageClassName, one that gives ReadWriteMany; with one TaskManager ReadWriteOnce is enough.",
    ),
    "flink.yaml": (
        "For the Flink Kubernetes operator (https://nightlies.apache.org/flink/flink-kubernetes-operator-docs-main/).",
        "Each TaskManager has one slot and beside it, in its pod, one Python worker pool, which Beam reaches at",
        "localhost:50000. The JobManager needs no Python: it runs what an init container makes of the job file.",
        "Edit: image (where you pushed it), resources, serviceAccount (with access to the checkpoints' bucket).",
        "parallelism stands in three places: better render again.",
    ),
    "monitor.yaml": (
        "For the Prometheus operator.",
        "Edit: labels, if your Prometheus selects PodMonitors by some.",
    ),
    "network.yaml": (
        "Who talks to the pods, and to whom they talk: each other, DNS, and any address at the ports that the job",
        "file names, 443 (object stores, Kubernetes' API) and 6443 (the API).",
        "Edit: the namespaces of the operator and of Prometheus; ports that stand in secrets; addresses (ipBlock).",
    ),
    "submit.yaml": (
        "Submits the job to the session cluster, once it is up, and ends; the cluster keeps the job. The operator",
        "does not know it: stop it with a savepoint by Flink's REST API, and start it from one by adding",
        "--savepoint_path=URL to args.",
    ),
}
