"""What POP3 makes of an account's mail."""

from __future__ import annotations

from collections.abc import Awaitable

from zope.interface import Interface

from mailkit.model import MaildropLimits, MaildropSettings


class IMaildropAccount(Interface):
    """An account with settings of its own for POP3; without them INBOX is its maildrop."""

    def get_maildrop_settings() -> Awaitable[MaildropSettings]:
        """What holds for the session that begins now."""


class IMaildropDirectory(Interface):
    """A directory that says what POP3 makes of accounts' mail.

    Its accounts provide :class:`~mailkit.interfaces.IMaildropAccount`.
    """

    def get_maildrop_settings(account: str) -> Awaitable[MaildropSettings]:
        """:raises NoSuchAccount: there is none."""

    def set_maildrop_settings(account: str, settings: MaildropSettings) -> Awaitable[None]:
        """Holds from the next login on; nobody asks whether the mailboxes exist.

        :raises NoSuchAccount: there is none.
        :raises LimitExceeded: there are no mailboxes, or too many, or a number is out of range.
        :raises InvalidMailboxName: that cannot be the name of a mailbox.
        """

    def find_maildrop_limits() -> Awaitable[MaildropLimits]:
        """What clients have to reckon with before it is known who they are; cheap to ask for."""
