"""The contracts of one user's account: what IMAP and POP3 see of a store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

from zope.interface import Attribute, Interface

from mailkit.interfaces.mailbox import IMailbox
from mailkit.model import MailboxInfo
from mailkit.spool import Spool


class IMailAccount(Interface):
    """One user's mailboxes: the avatar that IMAP and POP3 ask a portal for."""

    name: str = Attribute("""Canonical name, usually the full address.""")

    def list_mailboxes() -> Awaitable[Sequence[MailboxInfo]]:
        """All mailboxes, sorted by name, INBOX first, non-selectable names included.

        Any order by name will do, with or without regard to letter case, level by level or not:
        clients are shown it.
        """

    def open_mailbox(name: str) -> Awaitable[IMailbox]:
        """The mailbox of that name; may be the same object for several callers.

        Any case of ``inbox`` names INBOX.

        :raises NoSuchMailbox: there is none, or it is not selectable.
        """


class IReferringRealm(Interface):
    """A realm that may send a user to another server (RFC 2221).

    Its ``requestAvatar`` then raises :class:`mailkit.errors.Referral`, whose URL names the user and
    no mailbox: ``imap://ann@mail2.example.org/``.
    """


class IRemoteMailboxes(Interface):
    """An account some of whose mailboxes are on other servers (RFC 2193).

    Methods of the account that are given the name of one, and those that copy or move messages to
    one, raise :class:`mailkit.errors.Referral` with the mailbox's URLs.
    """

    def list_remote_mailboxes() -> Awaitable[Sequence[str]]:
        """Their names, which ``list_mailboxes`` does not tell."""


class IObjectIdentifiers(Interface):
    """An account whose messages and mailboxes have names that last (RFC 8474).

    It promises that ``MailboxInfo.mailbox_id`` and ``MessageInfo.email_id`` are never empty, are made
    of letters, digits, ``_`` and ``-``, at most 255 of them, and that copies of a message keep its
    ``email_id``. ``thread_id`` may be None; see :class:`IThreadNamingMailbox`.
    """


class IMailboxAdmin(Interface):
    """An account whose mailboxes can be made, renamed and deleted."""

    def create_mailbox(name: str, special_use: str | None = None) -> Awaitable[MailboxInfo]:
        """Make a mailbox and the levels above it (RFC 3501 section 6.3.3).

        The name is kept in normalization form C (RFC 9051 section 5.1), and found by any other
        form of it in all methods.

        :param special_use: is taken from the mailbox that has it (RFC 6154 section 3).
        :raises MailboxExists: it exists already.
        :raises InvalidMailboxName: empty level, control characters, too long, too deep.
        """

    def delete_mailbox(name: str) -> Awaitable[None]:
        """Delete a mailbox and its messages; one with mailboxes below stays as \\Noselect.

        A mailbox made later under the same name has a higher UIDVALIDITY (RFC 3501 6.3.4).

        :raises NoSuchMailbox: there is none.
        :raises MailboxHasChildren: it is \\Noselect and has mailboxes below.
        :raises InvalidMailboxName: it is INBOX.
        """

    def rename_mailbox(name: str, new_name: str) -> Awaitable[None]:
        """Rename a mailbox and those below it; INBOX moves its messages (RFC 3501 6.3.5)."""

    def subscribe(name: str) -> Awaitable[None]:
        """Add to the subscribed names; the mailbox need not exist (RFC 3501 section 6.3.6)."""

    def unsubscribe(name: str) -> Awaitable[None]:
        """Remove from the subscribed names."""

    def list_subscriptions() -> Awaitable[Sequence[str]]:
        """The subscribed names, sorted, those without a mailbox included."""


class ICapabilityMask(Interface):
    """An account whose clients are not offered everything that the server can do."""

    imap_without: Collection[str] = Attribute(
        """Names of IMAP capabilities, in capitals; read at each login. Unknown ones mean nothing."""
    )


class IWatchableAccount(Interface):
    """An account that tells when names of its mailboxes change, or subscriptions.

    Its mailboxes provide :class:`~mailkit.interfaces.IWatchableMailbox`, and their ``mailbox_id`` lasts
    as :class:`IObjectIdentifiers` promises.
    """

    def watch(callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback()`` on the reactor's thread after each change of names; not awaitable.

        The callback asks ``list_mailboxes`` for details. Calls may be merged. Names of others'
        mailboxes that the account may see, or may see no longer, are watched too.

        :returns: a function that ends the watch; it may be called more than once.
        """


class ISpooling(Interface):
    """An account, delivery or store that wants message content spooled in a place of its own."""

    def new_spool() -> Spool:
        """An empty spool; not awaitable."""
