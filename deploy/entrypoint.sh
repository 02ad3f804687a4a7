#!/bin/sh
# What the image does, by its arguments:
#   worker-pool [PORT]    Beam's worker pool, beside a Flink TaskManager (port 50000)
#   --id=... ...          a worker of Dataflow: what Beam's container contract passes
#   COMMAND ...           the command millrace
set -eu
home="${MILLRACE_HOME:-/opt/millrace}"
boot="${BEAM_BOOT:-/opt/apache/beam/boot}"
cache="${NUMBA_CACHE_DIR:-/tmp/millrace-numba}"
export NUMBA_CACHE_DIR="$cache"

# The decoder's loops were compiled with the image; numba wants them where it can write.
if [ ! -d "$cache" ] && [ -d "$home/numba" ]; then
    cp -r --preserve=timestamps "$home/numba" "$cache"
fi

case "${1:-}" in
worker-pool)
    # Where boot writes a job's options: the folder it is started in, and no other may be written.
    cd "${TMPDIR:-/tmp}"
    # Through Beam's boot: a worker started without it would know none of the job's options, the state cache among them.
    exec python -m apache_beam.runners.worker.worker_pool_main \
        --service_port="${2:-50000}" --container_executable="$boot"
    ;;
--id=*)
    cd "${TMPDIR:-/tmp}"
    # Dataflow's own folder for staged files belongs to root; the last one named counts.
    exec python -m millrace.pipelines.runners.dataflow.secrets "$boot" "$@" --semi_persist_dir=/tmp
    ;;
*)
    exec millrace "$@"
    ;;
esac
