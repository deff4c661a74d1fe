"""The contract of what remembers failed logins."""

from __future__ import annotations

from collections.abc import Awaitable

from zope.interface import Interface

from mailkit.identity import LoginAttempt, LoginOutcome


class ILoginRecords(Interface):
    """What a :class:`~mailkit.guard.LoginGuard` remembers; one process may keep it for several.

    Times are in seconds, of one clock.
    """

    def begin(attempt: LoginAttempt, now: float) -> Awaitable[float | None]:
        """A login is to be judged; it gets its turn.

        :returns: seconds until then, and :meth:`end` will be called; None when that would be too
            long: it is not judged.
        """

    def end(attempt: LoginAttempt, outcome: LoginOutcome, now: float) -> Awaitable[float]:
        """It has been judged, or has given up waiting for that.

        A client that goes meanwhile does not make it sooner: what is judged is judged to the end.

        :returns: seconds for which the answer is to be held back; 0 after a success.
        """
