"""A job that names secrets, rendered for the Flink operator, and the parts of what comes out."""

import yaml

from millrace.pipelines.cli.main import main

JOB = """job: shop
source:
  type: kafka
  bootstrap_servers: broker:9093
  topics: [shop.public.orders]
  client:
    security_protocol: SASL_SSL
    sasl_mechanism: PLAIN
    sasl_plain_username: me
    sasl_plain_password: ${env:KAFKA_PASSWORD}
    ssl_cafile: certs/ca.pem
format:
  type: debezium
  registry: {url: 'https://registry:8085', username: me, password: '${file:/run/secrets/registry}'}
target:
  type: delta
  path: s3://lake/shop
  storage_options: {aws_secret_access_key: '${env:LAKE_KEY}'}
"""


def render(folder, *options, text=JOB):
    (folder / "job.yaml").write_text(text)
    words = ["render", "flink", str(folder / "job.yaml"), "-o", str(folder / "k8s"), "--storage", "s3://bucket/flink"]
    assert main([*words, *options]) == 0
    return folder / "k8s"


def documents(folder):
    """All documents by kind; no kind is there twice but ConfigMap."""
    found = {}
    for file in sorted(folder.iterdir()):
        for document in yaml.safe_load_all(file.read_text()):
            found.setdefault(document["kind"], document)
    return found


def containers(deployment, manager):
    pod = deployment["spec"][manager]["podTemplate"]["spec"]
    return {part["name"]: part for part in (*pod.get("initContainers", ()), *pod["containers"])}
