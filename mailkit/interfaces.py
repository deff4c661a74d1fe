"""The contracts between protocols, authentication, delivery and stores.

Every method annotated with ``Awaitable`` may be written as ``async def`` or return a Deferred;
callers always ``await`` it and pass arguments **by keyword**, so parameter names are part of the
contract. Methods refuse by raising a subclass of :class:`mailkit.errors.MailError`. Everything is
called on the reactor's thread and must not block it.

Mailboxes speak UIDs and modification sequences. Message sequence numbers exist in the IMAP session
alone. Optional abilities are interfaces of their own, found with ``providedBy``; a protocol takes a
slower path, or does not announce an extension, where one is missing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import BinaryIO

from zope.interface import Attribute, Interface

import mailkit.hooks
from mailkit.dns.records import Answer, RecordType
from mailkit.hooks import MailSession, Result
from mailkit.model import (
    Ability,
    AppendMessage,
    AppendResult,
    Changes,
    CopyResult,
    Envelope,
    FlagOp,
    Flags,
    LocalDelivery,
    LocalResult,
    Login,
    MailboxInfo,
    MailboxView,
    MessageInfo,
    MessageSummary,
    Outcome,
    Path,
    Quota,
    Recipient,
    Resolution,
    StoreResult,
)
from mailkit.query import Query
from mailkit.spool import Spool


class IMailbox(Interface):
    """The messages of one mailbox. Required of every backend; read-only by itself."""

    name: str = Attribute("""Full name, levels parted by ``/``; ``INBOX`` in capitals.""")

    def get_info() -> Awaitable[MailboxInfo]:
        """State of the mailbox now.

        :raises NoSuchMailbox: it has been deleted since it was opened.
        """

    def list_uids() -> Awaitable[Sequence[int]]:
        """UIDs of all messages, ascending.

        UIDs are 1 to 2**32-1, strictly ascending in order of arrival and never used again under
        one UIDVALIDITY (RFC 3501 section 2.3.1.1). The caller does not change the sequence, so a
        backend may give the same one to many callers.
        """

    def get_messages(uids: Sequence[int]) -> Awaitable[Sequence[MessageInfo]]:
        """Details of some messages, by ascending UID; UIDs that do not exist are left out.

        :param uids: ascending.
        """

    def open_message(uid: int) -> Awaitable[BinaryIO]:
        """The octets of a message, as a seekable binary file that the caller closes.

        :raises NoSuchMessage: it does not exist (any more).
        """

    def get_changes(since: int) -> Awaitable[Changes]:
        """What happened after modification sequence ``since``.

        ``since`` is a ``highest_modseq`` seen before, or 0 for everything. A vanished message is
        never also in ``added`` or ``changed``.
        """


class IWritableMailbox(IMailbox):
    """A mailbox that takes messages and changes. Each change has a new modification sequence."""

    def append(messages: Sequence[AppendMessage]) -> Awaitable[AppendResult]:
        """Add messages, all or none, durably, with ascending new UIDs (RFC 3501 section 6.3.11).

        The caller keeps the spools and closes them afterwards.
        """

    def store_flags(
        uids: Sequence[int], op: FlagOp, flags: Flags, unchanged_since: int | None = None
    ) -> Awaitable[StoreResult]:
        """Change flags of messages (RFC 3501 section 6.4.6); UIDs that do not exist are ignored.

        :param unchanged_since: leave messages alone whose modseq is higher (RFC 7162
            section 3.1.3).

        A message whose flags stay the same keeps its modification sequence.
        """

    def expunge(uids: Sequence[int]) -> Awaitable[Sequence[int]]:
        """Remove messages for good, whatever their flags.

        :returns: the UIDs that were there and are gone, ascending.
        """


class ICopyingMailbox(Interface):
    """A mailbox that can copy or move messages inside its account without reading them."""

    def copy_messages(uids: Sequence[int], destination: str) -> Awaitable[CopyResult]:
        """Copy messages with their flags and internal dates, all or none (RFC 3501 6.4.7).

        UIDs that do not exist are left out of the result.

        :raises NoSuchMailbox: there is no mailbox ``destination``.
        """

    def move_messages(uids: Sequence[int], destination: str) -> Awaitable[CopyResult]:
        """Move messages in one step that nobody sees half done (RFC 6851 section 3.3)."""


class IWatchableMailbox(Interface):
    """A mailbox that tells of changes, whoever makes them."""

    def watch(callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback()`` on the reactor's thread after each change; not awaitable.

        The callback asks ``get_changes`` for details. Calls may be merged.

        :returns: a function that ends the watch; it may be called more than once.
        """


class ISearchableMailbox(Interface):
    """A mailbox that searches faster than by reading all messages."""

    def search(query: Query) -> Awaitable[Sequence[int]]:
        """UIDs of the messages that match, ascending: exactly those a plain scan would find."""


class ISummarizingMailbox(Interface):
    """A mailbox that keeps the ENVELOPE and the like ready to send."""

    def get_summaries(
        uids: Sequence[int], structure: bool = True
    ) -> Awaitable[Sequence[MessageSummary]]:
        """Summaries by ascending UID; UIDs that do not exist are left out.

        Callers ask for at most some hundred at a time.

        :param structure: the BODYSTRUCTURE is wanted too. Without it, ``body_structure`` may be
            empty: all else stands in the header, so that the message need not be read whole.
        """


class IRecentMailbox(Interface):
    """A mailbox that remembers which messages were announced as \\Recent (RFC 3501 2.3.2)."""

    def claim_recent() -> Awaitable[int]:
        """Take all messages that are recent now for the calling session.

        :returns: ``first_recent_uid`` as it was: messages from this UID on are recent in the
            calling session and in no later one.
        """


class IViewableMailbox(Interface):
    """A mailbox that answers at once all that a session asks when it opens it."""

    def get_view(claim_recent: bool) -> Awaitable[MailboxView]:
        """The present state; UIDs may be newer than the counters, never older.

        :param claim_recent: do what :meth:`IRecentMailbox.claim_recent` does; the info tells
            ``first_recent_uid`` as it was.
        """


class IMailAccount(Interface):
    """One user's mailboxes: the avatar that IMAP and POP3 ask a portal for."""

    name: str = Attribute("""Canonical name, usually the full address.""")

    def list_mailboxes() -> Awaitable[Sequence[MailboxInfo]]:
        """All mailboxes, sorted by name, INBOX first, non-selectable names included."""

    def open_mailbox(name: str) -> Awaitable[IMailbox]:
        """The mailbox of that name; may be the same object for several callers.

        Any case of ``inbox`` names INBOX.

        :raises NoSuchMailbox: there is none, or it is not selectable.
        """


class IObjectIdentifiers(Interface):
    """An account whose messages and mailboxes have names that last (RFC 8474).

    It promises that ``MailboxInfo.mailbox_id`` and ``MessageInfo.email_id`` are never empty, are made
    of letters, digits, ``_`` and ``-``, at most 255 of them, and that copies of a message keep its
    ``email_id``. ``thread_id`` may be None.
    """


class IMailboxAdmin(Interface):
    """An account whose mailboxes can be made, renamed and deleted."""

    def create_mailbox(name: str, special_use: str | None = None) -> Awaitable[MailboxInfo]:
        """Make a mailbox and the levels above it (RFC 3501 section 6.3.3).

        :raises MailboxExists: it exists already.
        :raises InvalidMailboxName: empty level, control characters, too long, too deep.
        """

    def delete_mailbox(name: str) -> Awaitable[None]:
        """Delete a mailbox and its messages; one with mailboxes below stays as \\Noselect.

        A mailbox made later under the same name has a higher UIDVALIDITY (RFC 3501 6.3.4).

        :raises NoSuchMailbox: there is none, or it is \\Noselect and has mailboxes below.
        :raises PermissionDenied: it is INBOX.
        """

    def rename_mailbox(name: str, new_name: str) -> Awaitable[None]:
        """Rename a mailbox and those below it; INBOX moves its messages (RFC 3501 6.3.5)."""

    def subscribe(name: str) -> Awaitable[None]:
        """Add to the subscribed names; the mailbox need not exist (RFC 3501 section 6.3.6)."""

    def unsubscribe(name: str) -> Awaitable[None]:
        """Remove from the subscribed names."""

    def list_subscriptions() -> Awaitable[Sequence[str]]:
        """The subscribed names, sorted, those without a mailbox included."""


class ISpooling(Interface):
    """An account, delivery or store that wants message content spooled in a place of its own."""

    def new_spool() -> Spool:
        """An empty spool; not awaitable."""


class IMessageDelivery(Interface):
    """Takes mail: the avatar that SMTP, submission and LMTP ask a portal for."""

    def check_sender(envelope: Envelope) -> Awaitable[None]:
        """Judge MAIL FROM; the reverse-path and parameters are in the envelope, no recipient yet.

        :raises MailError: refused.
        """

    def check_recipient(envelope: Envelope, recipient: Recipient) -> Awaitable[None]:
        """Judge one RCPT TO; ``recipient`` is not in the envelope yet.

        :raises NoSuchRecipient: a domain of ours without such a user.
        :raises RelayDenied: not a domain of ours, and the client may not relay.
        """

    def deliver(envelope: Envelope, message: Spool) -> Awaitable[Sequence[Outcome]]:
        """Take the message for all recipients; durable when this returns.

        The spool holds the message with its Received field; the caller closes it afterwards.

        :returns: one outcome a recipient, in the envelope's order.
        """


class IClosableDelivery(Interface):
    """A delivery that holds connections or the like."""

    def close() -> Awaitable[None]:
        """Release them. No message may follow."""


class IDeliveryAbilities(Interface):
    """A delivery that can promise more than to deliver or refuse at once.

    A realm may provide it too: it then speaks for the deliveries that it gives, to clients that
    have not logged in yet. Without either nothing is promised, and what needs the promise is not
    announced.
    """

    abilities: frozenset[Ability] = Attribute("""What it can promise.""")


class IQueueStarter(Interface):
    """A delivery that can be asked to send now what waits for a host (ETRN, RFC 1985)."""

    def start_queue(node: str, account: str | None) -> Awaitable[int | None]:
        """Try to send what waits; returns at once.

        :param node: a domain; ``@`` and a domain for its subdomains too; ``#`` and the name of a
            queue.
        :param account: who asks, None for somebody who has not logged in.
        :returns: how many messages wait, None when that is not known.
        :raises PermissionDenied: not for this client, with the reason.
        """


class IAddressQueries(Interface):
    """A delivery that tells who has an address (VRFY and EXPN, RFC 5321 section 3.5)."""

    def verify_address(text: str) -> Awaitable[Sequence[Path]]:
        """The mailboxes that somebody may mean: one, or several when that is not clear.

        :param text: an address, or a name.
        :raises NoSuchRecipient: there is none.
        """

    def expand_list(text: str) -> Awaitable[Sequence[Path]]:
        """The members of a mailing list or an alias.

        :raises NoSuchRecipient: there is none.
        """


class ISenderPolicy(Interface):
    """A delivery that knows under which addresses its user may write (RFC 6409 section 6.1)."""

    account: str | None = Attribute("""Canonical name of the user, or None for everybody.""")

    def owns_address(path: Path) -> Awaitable[bool]:
        """Whether the user may send as that address."""


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


class IMailStore(Interface):
    """Keeps the mail of many accounts."""

    def open_account(name: str) -> Awaitable[IMailAccount]:
        """The account of that canonical name.

        :raises NoSuchAccount: there is none.
        """

    def deliver(
        message: Spool, deliveries: Sequence[LocalDelivery]
    ) -> Awaitable[Sequence[LocalResult]]:
        """Put one message into several mailboxes, keeping its octets once; durable on return.

        A mailbox that is missing is replaced by INBOX. Failures are told by recipient.
        """

    def close() -> Awaitable[None]:
        """Finish what was accepted, flush, and release the files. No call may follow."""


class IDirectory(Interface):
    """Knows which domains, accounts and aliases are ours."""

    def resolve(path: Path) -> Awaitable[Resolution]:
        """Who gets mail for that address: account, sub-address, alias, catch-all.

        Domains compare without regard to case, local parts as well. ``Postmaster`` without domain
        is accepted (RFC 5321 section 4.5.1).

        :raises RelayDenied: the domain is not ours.
        :raises NoSuchRecipient: the domain is ours, the local part is nobody's.
        """

    def owns_address(account: str, path: Path) -> Awaitable[bool]:
        """Whether the account may send as that address: its own, a sub-address, an alias, or one
        that was delegated to it (:class:`IDelegateAdmin`)."""

    def find_account(login: str) -> Awaitable[str | None]:
        """Canonical account name for what a user typed as user name, or None.

        The bare local part is enough where only one domain is served.
        """

    def get_password_hash(account: str) -> Awaitable[str | None]:
        """The account's password hash in PHC string format; None without account or password."""


class ILoginDirectory(IDirectory):
    """A directory that answers both questions of a login at once."""

    def find_login(login: str) -> Awaitable[Login | None]:
        """What ``find_account`` finds, and its password hash; None when it finds nothing."""


class IAccountHistory(Interface):
    """A directory that knows how long accounts have been somebody's (RFC 7293)."""

    def get_creation_time(account: str) -> Awaitable[int | None]:
        """Seconds since the epoch: the account is not older; None without such an account."""


class IDirectoryAdmin(Interface):
    """A directory that can be changed."""

    def list_domains() -> Awaitable[Sequence[str]]:
        """The domains, sorted."""

    def add_domain(domain: str) -> Awaitable[None]:
        """:raises AccountExists: it is there already."""

    def remove_domain(domain: str) -> Awaitable[None]:
        """:raises NoSuchAccount: it is not there.
        :raises PermissionDenied: accounts or aliases are still in it.
        """

    def list_accounts() -> Awaitable[Sequence[str]]:
        """Canonical account names, sorted."""

    def add_account(name: str, password_hash: str | None = None) -> Awaitable[None]:
        """Make an account with the mailboxes of :data:`mailkit.model.NEW_ACCOUNT_MAILBOXES`.

        A domain that is not served yet is added.

        :raises AccountExists: it is there already.
        """

    def remove_account(name: str) -> Awaitable[None]:
        """Remove an account with all its mail and the aliases that name only it."""

    def set_password_hash(account: str, password_hash: str | None) -> Awaitable[None]:
        """:raises NoSuchAccount: there is none."""

    def list_aliases() -> Awaitable[Sequence[tuple[str, Sequence[str]]]]:
        """Aliases with their targets, sorted."""

    def add_alias(alias: str, targets: Sequence[str]) -> Awaitable[None]:
        """Send mail for ``alias`` to the targets; ``@example.org`` is the domain's catch-all.

        A target ``@example.org`` of such a catch-all stands for the same local part there: the one
        domain is an alias of the other.

        :raises AccountExists: an account has that address.
        """

    def remove_alias(alias: str) -> Awaitable[None]:
        """:raises NoSuchAccount: there is none."""


class IQuotaDirectory(Interface):
    """A directory that limits how much mail an account may have. The store enforces the limits."""

    def get_quota(account: str) -> Awaitable[Quota]:
        """What the account has and may have, from kept counters: cheap to ask for.

        :raises NoSuchAccount: there is none.
        """

    def set_quota(
        account: str | None, max_octets: int | None, max_messages: int | None
    ) -> Awaitable[None]:
        """Limit an account. Mail that is there already stays, however much it is.

        :param account: None for all accounts that have no limit of their own.
        :param max_octets: 0 for no limit, None for that of all accounts.
        :param max_messages: the same for the number of messages.
        :raises NoSuchAccount: there is none.
        """


class IDelegateAdmin(Interface):
    """A directory in which accounts may be allowed to send as somebody else."""

    def list_delegates() -> Awaitable[Sequence[tuple[str, str]]]:
        """Accounts, each with an address as which it may send, sorted."""

    def add_delegate(account: str, address: str) -> Awaitable[None]:
        """Let an account send as an address, or with ``@example.org`` as all of that domain.

        :raises NoSuchAccount: there is none.
        :raises AccountExists: it may do so already.
        """

    def remove_delegate(account: str, address: str) -> Awaitable[None]:
        """:raises NoSuchAccount: there is no such account, or it has not been allowed that."""


class IRecipientVerifier(Interface):
    """Knows whether the server that mail goes on to would take it for an address."""

    def verify(path: Path) -> Awaitable[None]:
        """Return when it would.

        :raises MailError: it would not; or, when the error is temporary, nobody can tell now.
        """


class IKeyValueStore(Interface):
    """A store that also remembers small things for a time, such as whom greylisting has seen.

    Nothing of it is worth a flush of its own: values are missing after a crash, and when there are
    too many of their kind.
    """

    def get_value(kind: str, key: str) -> Awaitable[str | None]:
        """The value of a key, or None when there is none (any more).

        :param kind: what the values are about; keys of different kinds are apart.
        """

    def set_value(kind: str, key: str, value: str, seconds: float) -> Awaitable[None]:
        """Keep a value for so long, instead of the one that the key had; readable on return.

        :param key: some hundred characters at most.
        :raises StoreUnavailable: it cannot be kept just now.
        """


class IDNSResolver(Interface):
    """Asks the domain name system. :class:`mailkit.dns.resolver.DNSResolver` is one."""

    def lookup(name: str, type: RecordType) -> Awaitable[Answer]:
        """The records of one type that a name has, at the end of its aliases.

        :param name: in any case, with A-labels or U-labels, with or without the last dot. What
            can't be a name is one that does not exist.
        :raises DNSTimeout: no name server has answered.
        :raises DNSFailure: they have answered, and do not know (SERVFAIL, REFUSED).
        """
