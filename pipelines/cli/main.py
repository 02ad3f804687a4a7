"""The command `millrace`. Exit status: 0 good, 1 failed, 2 job file or command wrong, 3 verification differs."""

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any, Final

from ...schemas.errors import JobError, MillraceError
from ..job.formatting import for_terminal
from .arguments import RUNNERS, parse
from .lean_imports import import_less
from .own_logs import quiet_logs
from .said_errors import UNWRITABLE, placed_in, report_bug, say_error, say_no_more

JAR_OPTION: Final = "--output_executable_path"
GOOD: Final = 0
FAILED: Final = 1
WRONG: Final = 2
DIFFERENT: Final = 3
SAFE_CHANGES: Final = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. Answers go to stdout, progress and errors to stderr.

    Without `argv` the process is the command's own: logs and the report of a bug are set up for a terminal.
    """
    if argv is None:
        sys.excepthook = report_bug
        quiet_logs()
    found = None
    try:
        found = parse(argv)
        if argv is None and getattr(found, "runner", RUNNERS[0]) == RUNNERS[0]:
            import_less()
        return ACTIONS[found.command](found)
    except JobError as error:
        return say_error(placed_in(found, error), WRONG)
    except MillraceError as error:
        return say_error(str(error), FAILED)
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        say_no_more()
        return FAILED
    except OSError as error:
        # Files and servers have errors of their own: what is left are the folders of `demo`, `render` and `schema`.
        if error.filename is not None:
            return say_error(f"{error.filename}: {error.strerror}", FAILED)
        if error.errno not in UNWRITABLE:
            raise
        say_no_more()
        return say_error(f"nothing can be written to standard output: {error.strerror}", FAILED)


def _demo(found: Namespace) -> int:
    from .demo import demo

    return GOOD if demo(found.folder, found.changes) else DIFFERENT


def _run(found: Namespace) -> int:
    from ..execution.progress import Progress
    from ..job.load import load_job

    job = load_job(found.job)
    if found.runner != RUNNERS[0] and found.once:
        raise JobError(f"--once: only {RUNNERS[0]} reads up to the end and stops; --runner {found.runner} streams")
    if found.detach and found.runner in RUNNERS[:2]:
        raise JobError(f"--detach: {found.runner} works in this process; it is for {' and '.join(RUNNERS[2:])}")
    if found.detach or any(word.startswith(JAR_OPTION) for word in found.beam):
        from ..execution.submit import submit

        submit(job, found.runner, found.beam)
        return GOOD
    with Progress(stamp=True) as progress:
        if found.runner == RUNNERS[0]:
            from ..execution.run_passes import run

            summary = run(job, once=found.once, progress=progress)
        else:
            from ..execution.run_stream import run_stream
            from ..runners.registry import open_runner

            summary = run_stream(job, open_runner(found.runner, job, found.beam), progress)
    _answer(found, summary.to_json(), summary.lines())
    return FAILED if summary.failed else GOOD


def _compact(found: Namespace) -> int:
    from ..job.load import load_job
    from .compact import maintain, maintenance_lines

    done = maintain(load_job(found.job))
    _answer(found, done, maintenance_lines(done))
    return GOOD


def _verify(found: Namespace) -> int:
    from ...transforms.proof.report import Outcome
    from ..execution.progress import Progress
    from ..job.load import load_job
    from .verify import report_lines, verify_job

    job = load_job(found.job)
    with Progress(stamp=True) as progress:
        reports = list(verify_job(job, progress.step))
    _answer(found, [report.to_json() for report in reports], report_lines(reports, job))
    outcomes = {report.outcome for report in reports}
    return DIFFERENT if Outcome.DIFFERENT in outcomes else FAILED if Outcome.UNPROVED in outcomes else GOOD


def _accept_source(found: Namespace) -> int:
    from ..job.load import load_job
    from .accept_source import accept_source, accepted_lines

    job = load_job(found.job)
    accepted = accept_source(job, found.table)
    _answer(found, accepted, accepted_lines(accepted, job))
    return GOOD


def _plan(found: Namespace) -> int:
    from ...schemas.merging.schema_changes import Label
    from ..execution.plan_tables import plan_tables
    from ..job.load import load_job
    from .plan import most_serious, plan_json, plan_lines

    plans = plan_tables(load_job(found.job), found.schemas)
    _answer(found, plan_json(plans), plan_lines(plans))
    label = most_serious(plans) if found.exit_code else None
    return GOOD if label is None else SAFE_CHANGES if label is Label.SAFE else DIFFERENT


def _apply(found: Namespace) -> int:
    from ..execution.apply_plan import apply_plans
    from ..execution.plan_tables import plan_tables
    from ..job.load import load_job
    from .apply import applied_json, applied_lines

    job = load_job(found.job)
    applied = apply_plans(job, plan_tables(job))
    _answer(found, applied_json(applied), list(applied_lines(applied, job)))
    return FAILED if any(one.error for one in applied) else GOOD


def _rewind(found: Namespace) -> int:
    from ..job.load import load_job
    from .rewind import confirmed, plan_rewind, rewind, rewind_json, rewind_lines

    job = load_job(found.job)
    plan = plan_rewind(job, found.table, found.to)
    done = not found.plan and confirmed(plan, found.yes)
    if done:
        rewind(job, plan)
    _answer(found, rewind_json(plan, done), rewind_lines(plan, job, done))
    return GOOD


def _resync(found: Namespace) -> int:
    from ..execution.progress import Progress
    from ..execution.resync import resync
    from ..execution.resync_plan import Older, plan_resync
    from ..job.load import load_job
    from .resync import confirmed, resync_json, resync_lines

    job = load_job(found.job)
    older = Older.KEEP if found.keep_older else Older.DROP if found.drop_older else Older.REFUSE
    plan, result = plan_resync(job, found.table, older, found.anew), None
    if not found.plan and (plan.refusal is not None or confirmed(plan, found.yes)):
        with Progress(stamp=True) as progress:
            result = resync(job, plan, progress)
    _answer(found, resync_json(plan, result), list(resync_lines(plan, job, result)))
    return FAILED if result is not None and result.stopped else GOOD


def _slot(found: Namespace) -> int:
    from ..job.load import load_job
    from .slot import slot

    said = slot(load_job(found.job), found.action)
    _answer(found, said, said)
    return GOOD


def _check(found: Namespace) -> int:
    from ..job.load import load_job
    from ..runners.findings import FAIL, finding_lines
    from .check import check

    job = load_job(found.job)
    findings = check(job)
    if found.runner != RUNNERS[0]:
        from ..runners.registry import runner_findings

        findings += runner_findings(found.runner, job, found.beam)
    _answer(found, [finding.to_json() for finding in findings], finding_lines(findings))
    return FAILED if any(finding.level == FAIL for finding in findings) else GOOD


def _status(found: Namespace) -> int:
    from ..job.load import load_job
    from .status import status, status_json, status_lines

    asked = status(load_job(found.job))
    _answer(found, status_json(asked), status_lines(asked))
    return GOOD


def _produce(found: Namespace) -> int:
    from ..workload.change_stream import Workload
    from ..workload.produce import Order, produce

    order = Order.of_job(found.job) if found.job else Order.of_options(found.bootstrap_servers, found.topic)
    order = order.but(topic=found.topic, format=found.format, schemas=found.schemas)
    names = ("changes", "keys", "deletes", "key_changes", "replays", "poison", "partitions", "seed")
    workload = Workload(format=order.format, **{name: getattr(found, name) for name in names})
    done = produce(order, workload, rate=found.rate, report=_sent)
    _answer(found, done.to_json(), done.lines())
    return GOOD


def _sent(messages: int) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{messages:,} messages sent" if messages else "\r\x1b[K", end="", file=sys.stderr, flush=True)


def _render(found: Namespace) -> int:
    from ..render import Rendered, render_dataflow, render_flink

    render: Callable[[Namespace], Rendered] = render_flink if found.platform == "flink" else render_dataflow
    done = render(found)
    _answer(found, done.to_json(), done.lines())
    return GOOD


def _schema(found: Namespace) -> int:
    from ..job.schema import schema_text

    print(schema_text(), end="", flush=True)
    return GOOD


def _dead_letters(found: Namespace) -> int:
    from ...schemas.plurals import counted
    from .dead_letters import discard, job_of, letter_lines, letters, one_json, one_letter, one_lines

    if found.action == "replay":
        return _replay(found)
    if found.action == "discard":
        discarded = discard(job_of(found.path), found.reason, found.place, found.all)
        _answer(found, {"discarded": discarded}, [f"{counted(discarded, 'dead letter')} discarded: {found.reason}"])
    elif found.action == "show":
        written = one_letter(found.path, found.place)
        _answer(found, one_json(written), one_lines(written))
    else:
        listed = letters(found.path)
        _answer(found, listed, letter_lines(listed, found.limit))
    return GOOD


def _replay(found: Namespace) -> int:
    from ..execution.replay_letters import replay_letters
    from .dead_letters import chosen_letters, job_of, replay_json, replay_lines

    done = replay_letters(job_of(found.path), chosen_letters(found.reason, found.place))
    _answer(found, replay_json(done), replay_lines(done))
    return FAILED if done.dead else GOOD


ACTIONS: Final[dict[str, Callable[[Namespace], int]]] = {
    "demo": _demo,
    "run": _run,
    "compact": _compact,
    "verify": _verify,
    "check": _check,
    "status": _status,
    "accept-source": _accept_source,
    "plan": _plan,
    "apply": _apply,
    "rewind": _rewind,
    "resync": _resync,
    "slot": _slot,
    "produce": _produce,
    "render": _render,
    "schema": _schema,
    "dead-letters": _dead_letters,
}


def _answer(found: Namespace, data: Any, lines: Sequence[str]) -> None:
    text = json.dumps(data, indent=2, ensure_ascii=False, default=str) if found.json else ""
    print(text or "\n".join(for_terminal(lines, sys.stdout)))
    sys.stdout.flush()
