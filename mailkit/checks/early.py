"""Clients that talk before they were greeted."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from mailkit._typing import override
from mailkit.checks.base import Action, Finding, FindingCheck, check_actions, given_or_default
from mailkit.hooks import Answers, MailSession, Reject
from mailkit.model import Envelope

#: Seconds for which an honest client waits for the greeting (RFC 5321 section 4.5.3.2.1).
MAX_DELAY = 300.0


class EarlyTalkers(FindingCheck):
    """Lets clients wait for the greeting, and sees who does not (RFC 5321 section 3.1).

    Programs that only want to get rid of spam often send at once whatever they have to say.

    :param delay: seconds before the greeting, :data:`MAX_DELAY` at most.
    :param action: what happens to those who talk; ``reject`` refuses them instead of a greeting.
    :param points: for the action ``score``.
    :raises ValueError: a setting makes no sense.
    """

    name = "early-talkers"

    def __init__(
        self,
        *,
        delay: float = 2.0,
        action: Action = "reject",
        points: float = 3.0,
        exempt: Sequence[str] = (),
        spare_postmaster: bool = True,
        clock: IReactorTime | None = None,
    ) -> None:
        super().__init__(exempt=exempt, spare_postmaster=spare_postmaster)
        check_actions(action=action)
        if not 0 <= delay <= MAX_DELAY:
            raise ValueError(f"the delay is 0 to {MAX_DELAY:g} seconds")
        self._delay = delay
        self._action = action
        self._points = points
        self._clock = given_or_default(clock)

    @override
    async def connect(self, session: MailSession) -> Answers:
        if not self.concerns(session):
            return None
        if not session.has_input():
            await deferLater(self._clock, self._delay)
        if not session.has_input():
            return None
        session.facts[self.key] = True
        if self._action != "reject":
            return None
        return Reject("You must wait for the greeting", 554, "5.5.1")

    @override
    async def find(self, session: MailSession, envelope: Envelope) -> Finding | None:
        if not session.facts.get(self.key):
            return None
        return Finding("You must wait for the greeting", self._action, self._points, "5.1")
