"""Examples that `--help` shows."""

from typing import Final

EXAMPLES: Final = """\
examples:
  millrace demo                        the whole story in a minute, with a broker of its own
  millrace check job.yaml              would it work? what would it lose?
  millrace run job.yaml --once         up to the end offsets of this moment, then stop
  millrace run job.yaml                until Ctrl-C
  millrace run job.yaml --runner PrismRunner    as a stream, one second behind
  millrace status job.yaml             how far is it, how far behind?
  millrace compact job.yaml            maintenance of the target's tables
  millrace plan job.yaml               what would the newest schemas do to each table?
  millrace apply job.yaml              do it, as the job file decides
  millrace accept-source job.yaml --table orders    after a failover: go on with the new source
  millrace rewind job.yaml --table orders --to earliest    read its topics again
  millrace resync job.yaml --table orders --plan    build it again beside, then swap: what would that do?
  millrace verify job.yaml             prove that the target equals the topics
  millrace render flink job.yaml -o k8s --storage s3://bucket/flink    for Kubernetes
  millrace dead-letters ls job.yaml    what could not be applied, and why
  millrace dead-letters replay job.yaml    bring it in again, once the cause is mended
  millrace schema > job-file.schema.json    for an editor that completes and checks job files

exit status: 0 good, 1 failed, 2 the job file or the command is wrong, 3 verification found differences
"""
RENDER: Final = """\
examples:
  millrace render flink job.yaml -o k8s --storage s3://bucket/flink    then: kubectl apply --server-side -f k8s
  millrace render dataflow job.yaml -o template                        then: template/build.sh, template/run.sh
"""
LETTERS: Final = """\
examples:
  millrace dead-letters ls job.yaml
  millrace dead-letters show job.yaml 'shop.public.orders[0]@9159'
  millrace dead-letters replay job.yaml --reason 'unknown schema'
  millrace dead-letters discard job.yaml --reason 'a test of ours' --place 'shop.public.orders[0]@9159'
"""
PRODUCE: Final = """\
examples:
  millrace produce job.yaml --changes 1000000 --keys 50000
  millrace produce --bootstrap-servers localhost:9092 --topic shop.public.orders --schemas ./contracts
"""
EPILOGS: Final = {
    "demo": "example:\n  millrace demo --folder try-it --changes 20000\n",
    "run": "examples:\n  millrace run job.yaml --once\n  millrace run job.yaml --runner PrismRunner\n",
    "accept-source": "example:\n  millrace accept-source job.yaml --table orders\n",
    "plan": "examples:\n  millrace plan job.yaml\n"
    "  millrace plan job.yaml --schemas ./contracts --exit-code    in the CI of whoever changes a schema\n",
    "apply": "example:\n  millrace apply job.yaml    after millrace plan job.yaml\n",
    "rewind": "examples:\n  millrace rewind job.yaml --table orders --to 2026-01-02T00:00:00Z --plan\n"
    "  millrace rewind job.yaml --table orders --to earliest --yes\n",
    "resync": "examples:\n  millrace resync job.yaml --table orders --plan\n"
    "  millrace resync job.yaml --table orders --yes\n"
    "  millrace resync job.yaml --table orders --keep-older    the topic has lost what some rows rest on\n",
    "slot": "examples:\n  millrace slot create job.yaml    the log is kept from now on, before the first copy\n"
    "  millrace slot drop job.yaml    the job is given up: the server keeps no log for it\n",
    "compact": "example:\n  millrace compact job.yaml\n",
    "verify": "example:\n  millrace verify job.yaml --json > report.json\n",
    "check": "example:\n  millrace check job.yaml --runner FlinkRunner --flink_master localhost:8081\n",
    "status": "example:\n  millrace status job.yaml\n",
    "produce": PRODUCE,
    "render": RENDER,
    "schema": "example:\n  millrace schema > job-file.schema.json\n",
    "dead-letters": LETTERS,
}
"""Examples for `--help` of each command."""
