"""Every error Millrace raises on purpose.

MillraceError
├── JobError                    the job file or the command is wrong; exit status 2
│   └── MissingExtraError       an optional library is not installed
├── SourceError                 the topic or the broker
│   ├── LostOffsetsError        offsets deleted by retention, truncated, or of another topic
│   └── DeniedTopicsError       this user may not read some topics
├── RegistryError               the schema registry does not answer
├── RunnerError                 the cluster that runs the job does not answer, or refuses
├── UnknownSchemaError          the registry knows no such schema: a dead letter, not a failure
├── SchemaError                 a schema that cannot be decoded: a dead letter, not a failure
├── TableError                  one table stops, the others go on
│   ├── IncompatibleSchemaError
│   ├── TruncateError
│   ├── LedgerGapError
│   ├── NewSourceError
│   ├── CommitAgainError
│   │   ├── EpochBegunError
│   │   └── ColumnsDecidedError
│   ├── AccountingError
│   └── DeadLetterLimitError
└── SinkError                   the target
    ├── TransientSinkError      worth another try
    └── TerminalSinkError       a person has to act
"""

from collections.abc import Iterable

from .installation import how_to_install


class MillraceError(Exception):
    """Base of all; its text is one clear sentence for the person who runs the job."""


class JobError(MillraceError):
    """The job file or the command is wrong; the text names the place and the fix."""


class MissingExtraError(JobError):
    """A library that belongs to an optional extra is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra {extra!r}, which is not installed: {how_to_install(extra)}")


class SourceError(MillraceError):
    """A topic or broker cannot be read."""


class LostOffsetsError(SourceError):
    """The offsets to resume from are gone: retention passed them, or the topic was recreated."""


class DeniedTopicsError(SourceError):
    """The source does not let this user read `topics`; others it does."""

    def __init__(self, text: str, topics: Iterable[str]) -> None:
        # Beam makes an error of a step anew, from its arguments.
        super().__init__(text, topics)
        self.topics = tuple(sorted(topics))

    def __str__(self) -> str:
        return str(self.args[0])


class RegistryError(MillraceError):
    """The schema registry cannot be reached, or refuses us."""


class RunnerError(MillraceError):
    """The cluster that runs the job cannot be reached, or refuses what we ask."""


class UnknownSchemaError(MillraceError):
    """No schema with this id or fingerprint: the messages that name it become dead letters."""


class SchemaError(MillraceError):
    """A schema that Millrace cannot decode: the messages that name it become dead letters."""


class TableError(MillraceError):
    """One table cannot go on; nothing of this commit is applied to it."""


class NewSourceError(TableError):
    """Another server has taken over, or its log began anew: its positions cannot be compared with those before.

    `first` is the offset at which it begins, `proof` that of the change which shows it, and `time` its source's clock.
    """

    def __init__(self, text: str, first: int = -1, proof: int = -1, time: int = -1) -> None:
        super().__init__(text)
        self.first, self.proof, self.time = first, proof, time

    def __reduce__(self) -> tuple[type["NewSourceError"], tuple[str, int, int, int]]:
        return type(self), (str(self), self.first, self.proof, self.time)


class CommitAgainError(TableError):
    """The target has learned what the changes need, and none was committed: read them again from the ledger."""


class EpochBegunError(CommitAgainError):
    """The ledger has learned where changes of a new source begin."""


class ColumnsDecidedError(CommitAgainError):
    """The table has got the columns that take values of new types."""


class ReplayedError(TableError):
    """The ledger has this replay of dead letters already, or one that came after it."""


class IncompatibleSchemaError(TableError):
    """The stream's schema changed in a way that would lose data in the target."""


class TruncateError(TableError):
    """A TRUNCATE arrived and the job says `on_truncate: fail`."""


class LedgerGapError(TableError):
    """The offsets of a commit do not continue those in the target's ledger."""


class AccountingError(TableError):
    """Records read are not the sum of applied, superseded, filtered and dead."""


class DeadLetterLimitError(TableError):
    """More dead letters than `max_dead_letters` allows."""


class SinkError(MillraceError):
    """The target refuses."""


class TransientSinkError(SinkError):
    """Worth another try: a lost connection, a conflict, a timeout."""


class TerminalSinkError(SinkError):
    """Trying again cannot help: rights, missing objects, a full disk."""
