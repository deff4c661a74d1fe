"""Refusing clients by the sum of what several checks have found."""

from __future__ import annotations

from collections.abc import Sequence

from mailkit._typing import override
from mailkit.checks.base import Finding, FindingCheck, scores, shown
from mailkit.hooks import MailSession
from mailkit.model import Envelope


class ScoreLimit(FindingCheck):
    """Adds up the points of checks whose action is ``score``; comes after them.

    :param reject: points from which on mail is refused; 0 for never.
    :param quarantine: points from which on mail is kept apart; 0 for never.
    """

    name = "score"

    def __init__(
        self,
        *,
        reject: float = 5.0,
        quarantine: float = 3.0,
        exempt: Sequence[str] = (),
        spare_postmaster: bool = True,
    ) -> None:
        super().__init__(exempt=exempt, spare_postmaster=spare_postmaster)
        self._reject = reject
        self._quarantine = quarantine

    @override
    async def find(self, session: MailSession, envelope: Envelope) -> Finding | None:
        found = scores(session).values()
        points = sum(each for each, _ in found)
        text = shown("Too many reasons against it: " + "; ".join(reason for _, reason in found))
        if 0 < self._reject <= points:
            return Finding(text, "reject")
        if 0 < self._quarantine <= points:
            return Finding(text, "quarantine")
        return None
