"""The contract of what remembers failed logins."""

from __future__ import annotations

from collections.abc import Awaitable

from zope.interface import Interface

from mailkit.model import LoginAttempt, LoginOutcome


class ILoginRecords(Interface):
    """What a :class:`~mailkit.guard.LoginGuard` remembers; one process may keep it for several.

    Times are in seconds, of one clock.
    """

    def begin(attempt: LoginAttempt, now: float) -> Awaitable[float]:
        """A login is to be judged.

        :returns: 0 for now, and :meth:`end` will be called; else seconds after which to ask again.
        """

    def end(attempt: LoginAttempt, outcome: LoginOutcome, now: float) -> Awaitable[float]:
        """It has been judged.

        :returns: seconds until the next one of its kind is judged; 0 after a success.
        """
