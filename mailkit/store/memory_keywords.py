"""The keywords of a mailbox of the store in memory (RFC 3501 section 2.3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mailkit.errors import LimitExceeded
from mailkit.model import SYSTEM_FLAGS, Flags, MessageInfo

#: Different keywords that one mailbox remembers.
MAX_KEYWORDS = 1000

_SYSTEM_FLAGS = {flag.lower(): flag for flag in SYSTEM_FLAGS}


class Keywords:
    """Keywords as they were first spelt.

    :param infos: the messages that are there, now and later.
    """

    def __init__(self, infos: Mapping[int, MessageInfo]) -> None:
        self._infos = infos
        # In lower case, to the first spelling.
        self._known: dict[str, str] = {}

    def canonical(self, sets: Sequence[Flags], remember: bool = True) -> list[Flags]:
        """Flags in the spelling of this mailbox; new keywords are remembered, all or none.

        \\Recent and system flags that nobody defined are left out (RFC 3501 section 7.1).

        :raises LimitExceeded: too many keywords.
        """
        if remember:
            self._remember(flag for flags in sets for flag in sorted(flags))
        known = {**self._known, **_SYSTEM_FLAGS}
        return [
            frozenset(known[flag.lower()] for flag in flags if flag.lower() in known)
            for flags in sets
        ]

    def _remember(self, flags: Iterable[str]) -> None:
        new: dict[str, str] = {}
        for flag in flags:
            if not flag.startswith("\\") and flag.lower() not in self._known:
                new.setdefault(flag.lower(), flag)
        if len(self._known) + len(new) > MAX_KEYWORDS:
            used = frozenset[str]().union(*(info.flags for info in self._infos.values()))
            kept = {lower: flag for lower, flag in self._known.items() if flag in used}
            if len(kept) + len(new) > MAX_KEYWORDS:
                raise LimitExceeded(f"A mailbox has at most {MAX_KEYWORDS} different keywords")
            self._known = kept
        self._known.update(new)
