"""What the options of all of twistd's commands share."""

from __future__ import annotations

from twisted.python import usage

from mailkit._typing import override


class StrictOptions(usage.Options):
    """Options and nothing else: a word that is left over is named in the error."""

    @override
    def parseArgs(self, *words: str) -> None:
        if words:
            raise usage.UsageError(
                f"{words[0]!r} belongs to no option: each value needs its option before it"
            )
