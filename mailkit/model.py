"""Value objects that cross the contracts in :mod:`mailkit.interfaces`."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from mailkit._typing import override
from mailkit.annotations import Annotation
from mailkit.errors import MailError, OverQuota
from mailkit.spool import Spool

#: Flags of a message: system flags in their canonical case (``\\Seen``), keywords as first spelt.
Flags = frozenset[str]

SEEN = "\\Seen"
ANSWERED = "\\Answered"
FLAGGED = "\\Flagged"
DELETED = "\\Deleted"
DRAFT = "\\Draft"
#: The system flags that a client may set (RFC 3501 section 2.3.2). ``\\Recent`` is session state.
SYSTEM_FLAGS = (SEEN, ANSWERED, FLAGGED, DELETED, DRAFT)

#: Mail that matters to its owner (RFC 8457).
IMPORTANT = "$Important"
#: Flags that Gmail's clients take for labels.
LABEL_FLAGS: Flags = frozenset((FLAGGED, IMPORTANT))

#: The mailbox that each account has (RFC 3501 section 5.1).
INBOX = "INBOX"
#: Separates the levels of a mailbox name, in every contract and on the IMAP wire.
SEPARATOR = "/"

#: Special-use attributes of the mailboxes that a new account gets (RFC 6154 section 2).
NEW_ACCOUNT_MAILBOXES: Mapping[str, str | None] = {
    INBOX: None,
    "Archive": "\\Archive",
    "Drafts": "\\Drafts",
    "Junk": "\\Junk",
    "Sent": "\\Sent",
    "Trash": "\\Trash",
}

#: Header fields (lower case) whose raw octets :attr:`MessageSummary.header` carries: what mail
#: clients ask for when they list a mailbox.
SUMMARY_FIELDS: frozenset[bytes] = frozenset(
    b"date from sender reply-to to cc bcc subject message-id in-reply-to references newsgroups "
    b"content-type content-transfer-encoding mime-version list-id list-post list-unsubscribe "
    b"priority x-priority importance auto-submitted delivered-to return-path".split()
)


class FlagOp(enum.Enum):
    """What ``store_flags`` does with the flags that it is given."""

    ADD = "+"
    REMOVE = "-"
    REPLACE = "="


class MessageInfo(NamedTuple):
    """What a list of messages shows without opening any."""

    uid: int
    flags: Flags
    #: Seconds since the epoch, UTC: when the message arrived (RFC 3501 section 2.3.3).
    internal_date: int
    #: Octets of the whole message as it is sent to a client.
    size: int
    #: Modification sequence of the last change of this message (RFC 7162); grows in each mailbox.
    modseq: int
    #: Names the content: equal for copies of one message (RFC 8474 EMAILID).
    email_id: str | None = None
    #: Names the conversation (RFC 8474 THREADID).
    thread_id: str | None = None
    #: Seconds since the epoch: when it was put into this mailbox (RFC 8514).
    save_date: int | None = None


class MessageSummary(NamedTuple):
    """Ready-to-send octets of a message, made by :mod:`mailkit.mime`."""

    uid: int
    #: The ENVELOPE value (RFC 3501 section 7.4.2).
    envelope: bytes
    #: The BODYSTRUCTURE value; perhaps empty when it was not asked for.
    body_structure: bytes
    #: Raw octets of those header fields that are in :data:`SUMMARY_FIELDS`, in message order,
    #: without the empty line.
    header: bytes


class MailboxInfo(NamedTuple):
    """State of a mailbox, from kept counters: cheap to ask for."""

    #: Full name, levels parted by :data:`SEPARATOR`, decoded; INBOX in capitals.
    name: str
    #: Survives renaming (RFC 8474 MAILBOXID).
    mailbox_id: str
    uid_validity: int
    uid_next: int
    highest_modseq: int
    messages: int
    unseen: int
    #: Octets of all messages together.
    size: int
    #: Messages with this UID or a higher one have not been shown to any session (\\Recent).
    first_recent_uid: int
    #: A special-use attribute such as ``\\Sent`` (RFC 6154), or None.
    special_use: str | None = None
    subscribed: bool = True
    #: False for a name that holds only mailboxes below it (\\Noselect).
    selectable: bool = True
    #: After a restored backup, pairs of a UID and a UIDVALIDITY that was: UIDL still tells messages
    #: below that UID, and not below the pair's before, by that one. Ascending.
    older_validities: Sequence[tuple[int, int]] = ()


class OtherNamespaces(NamedTuple):
    """Where others' mailboxes are: what their names begin with, the separator included.

    RFC 2342; a user's own mailboxes have nothing before their names. None where there are none.
    """

    other_users: str | None = None
    shared: str | None = None


class MailboxView(NamedTuple):
    """A mailbox as a session finds it that opens it."""

    info: MailboxInfo
    #: Of all messages, ascending.
    uids: Sequence[int]
    #: Of the first message without ``\\Seen``; None without one, or where it takes long to find.
    first_unseen_uid: int | None
    #: Keywords that its messages may have, as far as they are quickly told.
    keywords: Collection[str] = ()


class AppendMessage(NamedTuple):
    """A message to be put into a mailbox."""

    content: Spool
    flags: Flags = frozenset()
    #: Seconds since the epoch; None for now.
    internal_date: int | None = None
    #: For a mailbox that keeps annotations.
    annotations: Sequence[Annotation] = ()


#: Keyword of messages that POP3 has deleted, where it only hides them; Dovecot's name for it.
POP3_DELETED = "$POP3Deleted"


class MaildropSettings(NamedTuple):
    """What POP3 makes of an account's mail."""

    #: Whose messages it shows, one mailbox behind the other.
    mailboxes: tuple[str, ...] = (INBOX,)
    #: DELE only hides a message from POP3: it stays in its mailbox, with :data:`POP3_DELETED`.
    keep: bool = False
    #: Messages that are \\Seen are not shown.
    hide_seen: bool = False
    #: Days after its arrival at which a message is removed from these mailboxes; None for never.
    expire: int | None = None
    #: Seconds between two logins; None for what is set for all.
    login_delay: int | None = None


class MaildropLimits(NamedTuple):
    """The strictest of the settings of all accounts."""

    #: The fewest days; None where nothing ever expires.
    expire: int | None = None
    login_delay: int = 0


class FetchedMessage(NamedTuple):
    """A message of another server's maildrop, to be put into a mailbox."""

    #: What identifies it there, as long as it is there.
    unique_id: str
    message: AppendMessage
    #: Of its content; what tells whether another message has its unique-id some day.
    digest: str
    #: What may have identified it, too: unique-ids of messages that had the same one at the source.
    others: Sequence[str] = ()


class FetchedBefore(NamedTuple):
    """What is remembered of a message that was fetched."""

    #: When it was taken, in seconds since the epoch.
    time: int
    #: It is not at the source any more, or should not be: another may have its unique-id now.
    gone: bool


class URLContent(NamedTuple):
    """What a URL names, to be read once; whoever gets it calls :attr:`close`."""

    size: int
    #: Some octets at a time.
    octets: Iterator[bytes]
    close: Callable[[], None]


class AppendResult(NamedTuple):
    """Where appended messages went (RFC 4315 APPENDUID)."""

    uid_validity: int
    uids: Sequence[int]


class CopyResult(NamedTuple):
    """Where copied or moved messages went (RFC 4315 COPYUID); the sequences run in parallel."""

    uid_validity: int
    source_uids: Sequence[int]
    destination_uids: Sequence[int]


class StoreResult(NamedTuple):
    """Outcome of ``store_flags``."""

    #: The messages as they are now, by ascending UID; those whose flags did not change included.
    messages: Sequence[MessageInfo]
    #: UIDs left alone because their modseq exceeds ``unchanged_since`` (RFC 7162 MODIFIED).
    modified: Sequence[int] = ()


class Changes(NamedTuple):
    """What happened in a mailbox after a modification sequence."""

    highest_modseq: int
    #: UIDs, ascending, that came and are still there.
    added: Sequence[int]
    #: UIDs, ascending, that were there before and whose flags changed.
    changed: Sequence[int]
    #: UIDs, ascending, that are gone. May name UIDs that the caller never saw.
    vanished: Sequence[int]


class ConnectionInfo(NamedTuple):
    """The connection that a login or a transaction comes over; the ``mind`` of ``Portal.login``."""

    #: ``smtp``, ``submission``, ``lmtp``, ``pop3``, ``imap`` or ``ftp``.
    protocol: str
    #: Address of the client, ``""`` when it has none (UNIX socket).
    peer: str = ""
    peer_port: int = 0
    #: Address that the client connected to.
    local: str = ""
    local_port: int = 0
    #: The connection is encrypted.
    tls: bool = False


class Path(NamedTuple):
    """A reverse-path or forward-path without its source route (RFC 5321 section 4.1.2).

    The local part is unquoted. The null reverse-path has neither part; ``<Postmaster>`` has no domain.
    """

    local_part: str
    domain: str

    @property
    def is_null(self) -> bool:
        return not self.local_part and not self.domain

    @property
    def is_ascii(self) -> bool:
        return self.local_part.isascii() and self.domain.isascii()

    @override
    def __str__(self) -> str:
        local, domain = self
        if not _is_dot_string(local):
            if not local and not domain:
                return ""
            local = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{local}@{domain}" if domain else local


# RFC 5321 section 4.1.2 Dot-string; RFC 6531 section 3.3 adds all non-ASCII to atext.
_ATOM = r"[a-zA-Z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+"
_is_dot_string = re.compile(rf"{_ATOM}(?:\.{_ATOM})*").fullmatch


class Ability(enum.Enum):
    """What a delivery can promise, so that SMTP announces the extension of that name."""

    #: It keeps every octet of a message that is no text (RFC 3030).
    BINARYMIME = "BINARYMIME"
    #: It sends the reports that ``notify``, ``ret`` and the like ask for (RFC 3461).
    DSN = "DSN"
    #: It never passes a message on without verified TLS (RFC 8689).
    REQUIRETLS = "REQUIRETLS"
    #: It delivers before ``deliver_by``, or gives up and says so (RFC 2852).
    DELIVERBY = "DELIVERBY"
    #: It prefers messages of a higher ``priority`` (RFC 6710).
    PRIORITY = "MT-PRIORITY"
    #: It keeps a message until ``hold_until`` (RFC 4865).
    HOLD = "FUTURERELEASE"
    #: It knows since when addresses have had their owners, or passes ``rrvs`` on (RFC 7293).
    VALID_SINCE = "RRVS"
    #: It provides ``IQueueStarter`` (RFC 1985).
    START_QUEUE = "ETRN"
    #: It provides ``IAddressQueries`` (RFC 5321 section 3.5).
    QUERIES = "EXPN"

    # Each is there once; Enum's own is a function in Python.
    __hash__ = object.__hash__


class OriginalRecipient(NamedTuple):
    """To whom the sender addressed the message (RFC 3461 section 4.2)."""

    #: Such as ``rfc822`` or ``utf-8``.
    address_type: str
    #: Decoded; not necessarily an address of the Internet.
    address: str


class ValidSince(NamedTuple):
    """How long the recipient must have had the address (RFC 7293 section 3.1)."""

    #: Seconds since the epoch.
    since: int
    #: What a relay does when the next server does not know RRVS: ``R`` reject, ``C`` continue.
    action: str = "R"


@dataclass(frozen=True)
class Recipient:
    """One RCPT command."""

    path: Path
    #: ESMTP parameters by upper-case keyword (``ORCPT``, ``NOTIFY``); None for one without value.
    parameters: Mapping[str, str | None] = field(default_factory=dict)
    #: Of ``NEVER``, ``SUCCESS``, ``FAILURE``, ``DELAY``, or None (RFC 3461 section 4.1).
    notify: frozenset[str] | None = None
    orcpt: OriginalRecipient | None = None
    rrvs: ValidSince | None = None


class DeliverBy(NamedTuple):
    """Until when a message must be delivered (RFC 2852 section 4)."""

    #: Seconds since the epoch, by our clock.
    deadline: int
    #: What happens then: ``R`` it is returned, ``N`` the sender is notified.
    mode: str
    #: Relays report each step.
    trace: bool = False


class HookRecord(NamedTuple):
    """What one hook said of a message, for people who ask why."""

    hook: str
    #: The step in which it was asked, as :class:`mailkit.hooks.Step` names it.
    step: str
    #: Name of the answer: ``accept``, ``reject``, ``add-header``, ...
    answer: str
    reason: str
    #: How long the hook took.
    seconds: float


#: The times that an envelope may have: from the first one that is a date, to one (the beginning of the
#: year 9999) behind which there is room for a message's lifetime.
MIN_TIME = -62_135_596_800
MAX_TIME = 253_370_764_800


@dataclass
class Envelope:
    """A mail transaction: what RFC 5321 section 2.3.1 calls the envelope, and where it came from."""

    connection: ConnectionInfo
    #: What the client called itself in HELO, EHLO or LHLO.
    helo: str
    reverse_path: Path
    #: ESMTP parameters of MAIL by upper-case keyword (``SIZE``, ``BODY``, ``SMTPUTF8``), as given.
    parameters: Mapping[str, str | None] = field(default_factory=dict)
    recipients: list[Recipient] = field(default_factory=list)
    #: Name of the authenticated account, or None.
    account: str | None = None
    #: Identifies the transaction in the Received field and in the log.
    transaction_id: str = ""
    #: Why the message is to be kept apart from good mail; None for a good one.
    quarantine: str | None = None
    #: What the hooks said, in order.
    history: list[HookRecord] = field(default_factory=list)

    # What the parameters of MAIL mean. Times are seconds since the epoch, by our clock.

    #: Octets that the client says the message has (RFC 1870); None when it does not say.
    declared_size: int | None = None
    #: ``7BIT``, ``8BITMIME`` (RFC 6152) or ``BINARYMIME`` (RFC 3030).
    body: str = "7BIT"
    #: Addresses and header may be UTF-8 (RFC 6531).
    smtputf8: bool = False
    #: What a report of failure shall contain: ``FULL``, ``HDRS`` or None (RFC 3461 section 4.3).
    ret: str | None = None
    #: The sender's name for the transaction, decoded (RFC 3461 section 4.4).
    envid: str | None = None
    #: Never to be sent without verified TLS (RFC 8689).
    require_tls: bool = False
    deliver_by: DeliverBy | None = None
    #: -9 to 9 (RFC 6710).
    priority: int = 0
    #: Not to be sent before (RFC 4865).
    hold_until: int | None = None
    #: Solicitation class keywords (RFC 3865).
    solicitation: tuple[str, ...] = ()
    #: An address, or ``<>``: who a trusted client says submitted it (RFC 4954 section 5), or None.
    submitter: str | None = None
    #: The client may send without a login, and ``account`` is the reverse-path that it has named.
    trusted: bool = False
    #: The Date of the message is ours, as its sender has given none (RFC 6409 section 8.2).
    date_added: bool = False


def normal_envelope(envelope: Envelope) -> Envelope:
    """An envelope that a program may have written, with the types that its fields have.

    A time with a fraction, such as ``time.time() + 3600``, is rounded up to a whole second, a list of
    solicitation classes is a tuple, and what ``notify`` lists is a frozenset.

    :returns: another envelope, or the same where nothing changes.
    :raises ValueError: ``hold_until`` or the deadline of ``deliver_by`` is no number, or before
        :data:`MIN_TIME` or behind :data:`MAX_TIME`.
    """
    changes: dict[str, Any] = {}
    if envelope.hold_until is not None:
        changes["hold_until"] = _whole_seconds("hold_until", envelope.hold_until)
    by = envelope.deliver_by
    if isinstance(by, DeliverBy):
        deadline = _whole_seconds("the deadline of deliver_by", by.deadline)
        changes["deliver_by"] = by._replace(deadline=deadline)
    if isinstance(envelope.solicitation, list):
        changes["solicitation"] = tuple(envelope.solicitation)
    if any(_lists_words(each) for each in envelope.recipients):
        changes["recipients"] = [
            replace(each, notify=frozenset(each.notify or ())) if _lists_words(each) else each
            for each in envelope.recipients
        ]
    return replace(envelope, **changes) if changes else envelope


def _whole_seconds(name: str, value: object) -> int:
    if not isinstance(value, (int, float)) or not MIN_TIME <= value <= MAX_TIME:
        raise ValueError(f"{name} is seconds since the epoch, not {value!r:.50}")
    return math.ceil(value)


def _lists_words(recipient: Recipient) -> bool:
    """Whether its ``notify`` is of words, but no frozenset."""
    words: object = getattr(recipient, "notify", None)
    return isinstance(words, (set, list, tuple)) and all(isinstance(each, str) for each in words)


class Outcome(NamedTuple):
    """What became of one recipient."""

    recipient: Recipient
    #: None when the message is safely stored or queued for this recipient.
    error: MailError | None = None


class LocalDelivery(NamedTuple):
    """Put one message into one account's mailbox."""

    account: str
    mailbox: str = INBOX
    flags: Flags = frozenset()
    #: The mailbox with this special use (RFC 6154), where there is one, goes before ``mailbox``.
    special_use: str | None = None


class LocalResult(NamedTuple):
    """Outcome of one :class:`LocalDelivery`."""

    uid_validity: int = 0
    uid: int = 0
    error: MailError | None = None


class Quota(NamedTuple):
    """How much an account has, and may have (RFC 9208 section 5: STORAGE, MESSAGE, MAILBOX)."""

    #: Octets and number of the messages in all mailboxes; a copy counts as a message.
    octets: int
    messages: int
    #: The limits; None for none.
    max_octets: int | None = None
    max_messages: int | None = None
    #: Mailboxes, without names that only stand above others.
    mailboxes: int = 0
    max_mailboxes: int | None = None

    def check(self, octets: int, messages: int = 1) -> None:
        """Whether so much more fits.

        :raises OverQuota: it does not.
        """
        octets_left = None if self.max_octets is None else self.max_octets - self.octets
        messages_left = None if self.max_messages is None else self.max_messages - self.messages
        if (octets_left is not None and octets_left <= 0) or (
            messages and messages_left is not None and messages_left <= 0
        ):
            raise OverQuota
        if (octets_left is not None and octets_left < octets) or (
            messages_left is not None and messages_left < messages
        ):
            raise OverQuota("There is not enough room left in the mailbox")

    def check_mailboxes(self, mailboxes: int) -> None:
        """Whether so many more mailboxes fit.

        :raises OverQuota: they do not.
        """
        if self.max_mailboxes is not None and self.mailboxes + mailboxes > self.max_mailboxes:
            raise OverQuota(f"There may be {self.max_mailboxes} mailboxes, and no more")


class MetadataChange(NamedTuple):
    """Entries about a mailbox, or about the server, have changed (RFC 5464 section 4.4)."""

    #: As the account that is told calls it; None for the server.
    mailbox: str | None
    entries: Sequence[str]
    #: Whoever has changed them.
    origin: object = None


class DeletedCount(NamedTuple):
    """What an expunge of a whole mailbox would remove (RFC 9208 section 4.1.4)."""

    messages: int
    octets: int


class Resolution(NamedTuple):
    """Where mail for an address of ours goes."""

    #: Accounts of this store that get it.
    accounts: Sequence[str]
    #: The part after the sub-address separator (RFC 5233): ``lists`` in ``ann+lists@example.org``.
    detail: str = ""
    #: Addresses elsewhere that an alias names.
    remote: Sequence[Path] = ()
    #: Those of the accounts where the detail leads to no mailbox.
    inbox_only: Collection[str] = ()
