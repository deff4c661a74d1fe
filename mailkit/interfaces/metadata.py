"""The contract of entries about mailboxes and about the server (RFC 5464)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from zope.interface import Interface

from mailkit.model import MetadataChange


class IMetadataAccount(Interface):
    """An account that keeps entries about its mailboxes, and about the server.

    Names of entries are in lower case and begin with ``/private/`` (each user has values of their
    own) or ``/shared/`` (everybody who may use the mailbox has the same). Entries go with their
    mailbox when it is renamed or deleted. ``/private/specialuse`` is the mailbox's special use
    (RFC 6154 section 4).
    """

    def get_metadata(mailbox: str | None) -> Awaitable[Mapping[str, bytes]]:
        """All entries that the account may see.

        :param mailbox: None for those about the server.
        :raises NoSuchMailbox: there is none, or the account may not know of it.
        :raises PermissionDenied: it lacks the right to look into the mailbox.
        """

    def set_metadata(
        mailbox: str | None, entries: Mapping[str, bytes | None], origin: object = None
    ) -> Awaitable[None]:
        """Change some entries, all or none, durably; a value of None removes an entry.

        :param origin: whoever changes them, for those who watch.
        :raises NoSuchMailbox: there is none, or the account may not know of it.
        :raises PermissionDenied: the account may not change one of them.
        :raises EntryTooLarge: one has too many octets.
        :raises TooManyEntries: there would be too many, or too many octets of all.
        """

    def watch_metadata(callback: Callable[[MetadataChange], None]) -> Callable[[], None]:
        """Call ``callback()`` after each change that the account may see; not awaitable.

        :returns: a function that ends the watch; it may be called more than once.
        """
