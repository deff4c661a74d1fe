"""The contracts of URLs that let others read parts of messages (RFC 4467)."""

from __future__ import annotations

from collections.abc import Awaitable

from zope.interface import Interface

from mailkit.interfaces.account import IMailAccount
from mailkit.model import URLContent


class IURLKeys(Interface):
    """An account whose owner can authorize others by URL to read parts of messages.

    Each of its own mailboxes may have an access key: random octets that nobody else knows, which last
    until they are replaced or the mailbox is deleted. Whoever has one can make URLs.
    """

    def get_access_key(mailbox: str) -> Awaitable[bytes]:
        """The access key of a mailbox; made, durably, if there is none.

        :raises NoSuchMailbox: the account has no mailbox of its own of that name.
        """

    def find_access_key(mailbox: str) -> Awaitable[bytes | None]:
        """The access key of a mailbox, if there is one."""

    def reset_access_key(mailbox: str) -> Awaitable[None]:
        """Give a mailbox another access key, so that no URL holds that was made with the old one.

        :raises NoSuchMailbox: the account has no mailbox of its own of that name.
        """

    def remove_access_keys() -> Awaitable[None]:
        """Remove the access keys of all mailboxes."""

    def open_owner(owner: str) -> Awaitable[IMailAccount]:
        """The account of that name, for what its owner has authorized: with all its rights.

        :raises NoSuchAccount: there is none.
        """


class IURLResolver(Interface):
    """Finds what URLs name that users submit in the place of a message's content (RFC 4468)."""

    def open_url(url: bytes, account: str) -> Awaitable[URLContent]:
        """What a URL names.

        :param account: who submits it.
        :raises BadURL: it names nothing that is there, or was not made for this account.
        """
