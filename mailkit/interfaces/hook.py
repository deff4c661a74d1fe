"""The contract of hooks, which judge and edit mail while it is received."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from zope.interface import Attribute, Interface

import mailkit.hooks
from mailkit.hooks import MailSession, Result
from mailkit.model import Envelope, Outcome, Recipient
from mailkit.spool import Spool


class IMailHook(Interface):
    """Judges and edits mail while it is received. Every step is optional: see `mailkit.hooks`.

    A step answers None to go on, an answer of :mod:`mailkit.hooks`, or a sequence of them, at once or
    as an awaitable. Hooks are asked one after the other, in the order of the listener's setting; the
    first that refuses ends the step. A step that raises anything but a ``MailError``, or takes too
    long, counts as the listener's setting says: as a temporary refusal, or as None.

    ``Accept``, ``Reject`` and ``Defer`` may be answered in each step up to ``message``;
    ``Quarantine``, ``Discard`` and edits of sender and header fields from ``mail`` on; edits of
    recipients and ``ReplaceBody`` in ``message``.
    """

    name: str = Attribute(
        """Names the hook in the log and in records; the class's name if empty."""
    )

    def connect(session: MailSession) -> Result:
        """A client has connected; nothing was sent to it yet.

        ``Reject`` is told as 554 instead of the greeting, ``Defer`` as 421 (RFC 5321 section 3.1).
        """

    def ehlo(session: MailSession) -> Result:
        """The client has said who it is: HELO, EHLO or LHLO, before the reply."""

    def auth(session: MailSession) -> Result:
        """The client has logged in, before the reply; ``session.account`` says as whom."""

    def mail(session: MailSession, envelope: Envelope) -> Result:
        """MAIL, after the delivery's ``check_sender`` and before the reply."""

    def rcpt(session: MailSession, envelope: Envelope, recipient: Recipient) -> Result:
        """RCPT, after the delivery's ``check_recipient``; it is not in the envelope yet."""

    def header(
        session: MailSession,
        envelope: Envelope,
        # Whole, for the documentation knows others of the name.
        fields: Sequence[mailkit.hooks.HeaderField],
    ) -> Result:
        """The header is complete, the body perhaps still on its way."""

    def message(session: MailSession, envelope: Envelope, message: Spool) -> Result:
        """The message is complete, without our trace fields, and not delivered yet."""

    def delivered(
        session: MailSession, envelope: Envelope, outcomes: Sequence[Outcome]
    ) -> Awaitable[None] | None:
        """It was delivered, or was not, recipient by recipient. Nothing waits for this step."""

    def disconnect(session: MailSession) -> Awaitable[None] | None:
        """The client is gone. Nothing waits for this step."""
