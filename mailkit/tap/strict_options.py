"""What the options of all of twistd's commands share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from getopt import GetoptError
from typing import Any, ClassVar

from twisted.python import usage

from mailkit._typing import override


class StrictOptions(usage.Options):
    """Options and nothing else: a word that is left over is named in the error."""

    #: What a settings file has as lists, options that may be repeated, and as tables: each class names
    #: its own, as it does in Twisted's ``optParameters``.
    list_settings: ClassVar[list[str]] = []
    table_settings: ClassVar[list[str]] = []

    def __init__(self) -> None:
        #: What was said of each of these; nothing of one that the command does not have.
        self.lists: defaultdict[str, list[str]] = defaultdict(list)
        self.tables: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        super().__init__()  # type: ignore[no-untyped-call]
        # Twisted shows docstrings with the indentation of their lines.
        self.docs = {name: " ".join((doc or "").split()) for name, doc in self.docs.items()}
        self._refused = False

    @override
    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except usage.UsageError as error:
            self._refused = True
            likely = self._likely(error.__context__)
            if likely is None:
                raise
            raise usage.UsageError(f"{error}; did you mean --{likely}?") from error

    def option_names(self) -> list[str]:
        """All that can be given on a command line."""
        return [name.rstrip("=") for name in self.longOpt]

    def _likely(self, cause: object) -> str | None:
        """The option that was meant by one that there is not."""
        known = self.option_names()
        if not isinstance(cause, GetoptError) or cause.opt in known:
            return None
        return closest(cause.opt, known)

    @override
    def getUsage(self, width: int | None = None) -> str:
        # twistd shows it above an error, which is hard to find below some hundred lines.
        if self._refused:
            return "With --help it tells what the options are."
        text: str = super().getUsage(width)
        return text

    @override
    def parseArgs(self, *words: str) -> None:
        if words:
            raise usage.UsageError(
                f"{words[0]!r} belongs to no option: each value needs its option before it"
            )


def closest(name: str, known: Sequence[str]) -> str | None:
    """Which of the known names may have been meant; None where none is like it."""
    # Rarely needed.
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, known, n=1)), None)
