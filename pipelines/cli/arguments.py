"""What can be typed: commands, options, and a clear sentence for what cannot."""

import argparse
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from ... import __version__
from ...schemas.errors import JobError
from ...schemas.suggestions import guess, nearest
from .argument_types import count, positive, rate, share
from .examples import EPILOGS, EXAMPLES

RUNNERS: Final = ("DirectRunner", "PrismRunner", "FlinkRunner", "DataflowRunner")
STREAMING: Final = ("run", "check")
"""The commands that take a runner, and behind it options of Beam."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=min(110, shutil.get_terminal_size().columns))


class Parser(argparse.ArgumentParser):
    """Says a mistake in one sentence with the nearest right word, as a JobError."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": _Formatter, **options})

    def error(self, message: str) -> NoReturn:
        choice = re.fullmatch(r"argument (\S+): invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if choice is not None:
            known = re.findall(r"[\w.-]+", choice[3])
            message = f"{choice[2]!r} is no {choice[1].lower()}{nearest(choice[2], known, 'there are')}"
        message = message.replace("the following arguments are required", "missing")
        raise JobError(f"{self.prog}: {message}" + ("" if "did you mean" in message else f"; see {self.prog} --help"))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line as a namespace with `command`. Raises JobError; exits for --help and --version."""
    parser, commands = _parsers()
    found, extra = parser.parse_known_args(argv)
    if found.command is None:
        parser.error(f"missing: a command, {' | '.join(commands)}")
    found.beam = []
    if extra and found.command in STREAMING and found.runner != RUNNERS[0] and extra[0].startswith("-"):
        found.beam = extra
    elif extra:
        _refuse(extra[0], commands[found.command], found.command)
    return found


def _refuse(word: str, parser: Parser, command: str) -> NoReturn:
    name = word.partition("=")[0]
    near = guess(name.lstrip("-"), [option.lstrip("-") for option in _options(parser)]).replace("'", "'--", 1)
    if not word.startswith("-"):
        parser.error(f"{word!r} is one word too many")
    if command in STREAMING and not near:
        parser.error(f"{name} is not an option here; options of Beam come with other runners than DirectRunner")
    parser.error(f"unknown option {name}{near}")


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _options(inner)


def _parsers() -> tuple[Parser, dict[str, Parser]]:
    parser = Parser(prog="millrace", description="Change streams in, correct tables out.", epilog=EXAMPLES)
    parser.add_argument("--version", action="version", version=f"millrace {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for name, (summary, fill) in COMMANDS.items():
        epilog = EPILOGS.get(name)
        fill(commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", epilog=epilog))
    return parser, dict(commands.choices)


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--folder", type=Path, default=Path("millrace-demo"), metavar="FOLDER", help="where to put it (millrace-demo)"
    )
    parser.add_argument(
        "--changes", type=positive, metavar="N", default=60_000, help="how many in the first round (60000)"
    )


def _run(parser: argparse.ArgumentParser) -> None:
    _job(parser)
    parser.add_argument("--once", action="store_true", help="read to the end offsets found at the start, then stop")
    _runner(parser)
    parser.add_argument("--detach", action="store_true", help="submit to Flink or Dataflow, then leave it to them")
    _json(parser)


def _check(parser: argparse.ArgumentParser) -> None:
    _job(parser)
    _runner(parser)
    _json(parser)


def _runner(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runner", choices=RUNNERS, default=RUNNERS[0], metavar="RUNNER", help=f"({RUNNERS[0]})")


def _job(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", type=Path, help="the job file")


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print data (JSON) instead of sentences")


def _job_and_json(parser: argparse.ArgumentParser) -> None:
    _job(parser)
    _json(parser)


def _produce(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "job", metavar="JOB", type=Path, nargs="?", help="takes servers, topic, format and schemas of it"
    )
    parser.add_argument("--bootstrap-servers", metavar="HOST:PORT")
    parser.add_argument("--topic")
    parser.add_argument(
        "--format", choices=("debezium", "upsert"), metavar="FORMAT", help="debezium or upsert (debezium)"
    )
    parser.add_argument(
        "--schemas", type=Path, metavar="FOLDER", help="where the .avsc files are, or will be (contracts)"
    )
    parser.add_argument(
        "--changes", type=count, default=100_000, metavar="N", help="inserts, updates, deletes (100000)"
    )
    parser.add_argument("--keys", type=positive, default=20_000, metavar="N", help="rows at most (20000)")
    parser.add_argument("--rate", type=rate, metavar="N/s", help="messages a second at most (as fast as can be)")
    parser.add_argument("--deletes", type=share, default=0.05, metavar="SHARE", help="of the changes (5%%)")
    parser.add_argument("--key-changes", type=share, default=0.01, metavar="SHARE", help="of the changes (1%%)")
    parser.add_argument("--replays", type=share, default=0.01, metavar="SHARE", help="messages sent again (1%%)")
    parser.add_argument(
        "--poison", type=share, default=0.0001, metavar="SHARE", help="messages that nobody can decode (0.01%%)"
    )
    parser.add_argument("--partitions", type=positive, default=4, metavar="N", help="of a new topic (4)")
    parser.add_argument("--seed", type=count, default=7, metavar="N", help="the same seed makes the same bytes (7)")
    _json(parser)


def _dead_letters(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)
    text = "List dead letters by reason, the most frequent first."
    ls = actions.add_parser("ls", help="list them by reason", description=text)
    ls.add_argument("--limit", type=count, default=5, metavar="N", help="places a reason (5); --json gives all")
    show = actions.add_parser("show", help="one, with its bytes", description="Show one dead letter with its bytes.")
    for action in (ls, show):
        action.add_argument("path", metavar="JOB|FOLDER", help="a job file; a folder, file or URL of dead letters")
        _json(action)
    show.add_argument("place", metavar="PLACE", help="topic[partition]@offset, as ls prints it")
    text = "Bring open dead letters in again: decode them as they are read now, merge and commit them."
    replay = actions.add_parser("replay", help="bring them in again", description=text)
    replay.add_argument("--reason", metavar="TEXT", help="those whose step and error hold this text (all)")
    text = "Say that dead letters are not wanted: verify leaves their messages out."
    discard = actions.add_parser("discard", help="say that they are not wanted", description=text)
    discard.add_argument("--reason", metavar="TEXT", required=True, help="why; it is kept, and ls shows it")
    discard.add_argument("--all", action="store_true", help="all that are open")
    for action in (replay, discard):
        action.add_argument("path", metavar="JOB", help="the job file")
        text = "this one, as ls prints it; may be repeated"
        action.add_argument("--place", metavar="PLACE", action="append", default=[], help=text)
        _json(action)


def _render(parser: argparse.ArgumentParser) -> None:
    platforms = parser.add_subparsers(dest="platform", metavar="PLATFORM", required=True, parser_class=Parser)
    flink = platforms.add_parser(
        "flink", help="files for the Flink Kubernetes operator", description="Write what kubectl applies."
    )
    dataflow = platforms.add_parser(
        "dataflow", help="a Flex Template", description="Write what builds and runs a Flex Template."
    )
    for platform in (flink, dataflow):
        _job(platform)
        platform.add_argument("-o", "--output", metavar="DIR", type=Path, required=True, help="the folder to write")
        platform.add_argument(
            "--image", default=f"millrace:{__version__}", help=f"built from deploy/Dockerfile (millrace:{__version__})"
        )
        _json(platform)
    flink.add_argument(
        "--storage", metavar="URL", required=True, help="for checkpoints and savepoints: s3://, gs:// or abfss://"
    )
    flink.add_argument(
        "--mode",
        choices=("application", "session"),
        default="application",
        metavar="MODE",
        help="a cluster of the job's own, or a session cluster and a Job that submits (application)",
    )
    flink.add_argument("--parallelism", type=positive, default=1, metavar="N", help="TaskManagers, each a worker (1)")
    flink.add_argument("--namespace", metavar="NAME", help="written into each file (as kubectl says)")
    flink.add_argument("--flink-version", metavar="MINOR", default="1.19", help="the operator's cluster (1.19)")
    dataflow.add_argument("--project", metavar="ID", help="(the scripts take $PROJECT)")
    dataflow.add_argument("--region", metavar="NAME", help="(the scripts take $REGION)")
    dataflow.add_argument("--bucket", metavar="URL", help="gs://, for the template and staging (they take $BUCKET)")


def _accept_source(parser: argparse.ArgumentParser) -> None:
    _job_and_json(parser)
    parser.add_argument("--table", metavar="T", action="append", default=[], help="this table, may be repeated (all)")


def _plan(parser: argparse.ArgumentParser) -> None:
    _job(parser)
    text = "look at the schemas of this folder, not at the job's (<topic>-value.<id>.avsc, <topic>-key.<id>.avsc)"
    parser.add_argument("--schemas", type=Path, metavar="FOLDER", help=text)
    text = "exit with 0 where nothing would change, 4 for safe changes only, 3 where a decision is needed or values go"
    parser.add_argument("--exit-code", action="store_true", help=text)
    _json(parser)


def _rewind(parser: argparse.ArgumentParser) -> None:
    _job(parser)
    parser.add_argument("--table", metavar="T", required=True, help="the table whose topics are read again")
    text = "an offset, a time such as 2026-01-02T03:04:05Z, or earliest"
    parser.add_argument("--to", metavar="OFFSET|TIME", required=True, help=text)
    parser.add_argument("--plan", action="store_true", help="only say what it would do")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    _json(parser)


def _resync(parser: argparse.ArgumentParser) -> None:
    _job(parser)
    parser.add_argument("--table", metavar="T", required=True, help="the table that is built again")
    older = parser.add_mutually_exclusive_group()
    text = "carry rows over that rest on messages which the topic holds no more"
    older.add_argument("--keep-older", action="store_true", help=text)
    older.add_argument("--drop-older", action="store_true", help="let such rows go")
    parser.add_argument("--anew", action="store_true", help="do not take up what a killed resync has built")
    parser.add_argument("--plan", action="store_true", help="only say what it would do")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    _json(parser)


def _slot(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)
    text = "Make the slot and the publication now: the log is kept from here on. The first run does it, too."
    create = actions.add_parser("create", help="make them, as the first run does", description=text)
    text = "Drop the slot and the publication: the server keeps no log for the job any more."
    drop = actions.add_parser("drop", help="when the job is given up", description=text)
    for action in (create, drop):
        _job_and_json(action)


def _schema(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(json=True)


COMMANDS: Final[dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]]] = {
    "demo": ("the whole story in a minute, with an embedded broker, ending in a proof", _demo),
    "run": ("keep the job's tables equal to its topics", _run),
    "compact": ("rewrite small files of the target's tables and delete what nothing needs any more", _job_and_json),
    "verify": ("fold the topics up to the ledger's offsets and compare with the target, row by row", _job_and_json),
    "check": ("preflight: finds what would fail or lose data, and changes nothing", _check),
    "status": ("how far each topic is committed and how far behind, without a running job", _job_and_json),
    "plan": ("what the newest schemas would do to each table, and what people changed there", _plan),
    "apply": ("rename, add and widen columns as the job file and the newest schemas say", _job_and_json),
    "accept-source": ("go on with a source that was failed over, restored or replaced", _accept_source),
    "rewind": ("read a table's topics again from an earlier offset", _rewind),
    "resync": ("build a table again beside the live one, then swap the two in one step", _resync),
    "slot": ("make or drop what keeps a database's log for the job", _slot),
    "produce": ("send a made-up stream of orders to a topic", _produce),
    "render": ("write the files that run a job on Kubernetes (Flink) or Dataflow", _render),
    "schema": ("print the JSON Schema of the job file, for editors", _schema),
    "dead-letters": ("list, show, replay or discard the messages that could not be applied", _dead_letters),
}
