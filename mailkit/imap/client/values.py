"""What a server says, as values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, Union

from mailkit._typing import override
from mailkit.client.content import Content
from mailkit.hiding import hiding
from mailkit.mime.decoding import make_decoder
from mailkit.mime.envelope import MessageEnvelope
from mailkit.mime.headers import unfold
from mailkit.mime.lexical import join_sections
from mailkit.mime.words import decode_charset, decode_text, parameter_text
from mailkit.model import Flags

#: Ranges of UIDs or message numbers, both ends included, ascending.
Ranges = tuple[tuple[int, int], ...]

#: URLs of a response code REFERRAL that are kept.
MAX_REFERRALS = 100


class ResponseCode(NamedTuple):
    """What stands in brackets before the text of OK, NO, BAD, BYE (RFC 9051 section 7.1)."""

    #: In capitals.
    name: str
    #: The octets behind the name, as they came.
    arguments: bytes = b""

    @property
    def referrals(self) -> tuple[str, ...]:
        """URLs of where to go (RFC 2221, RFC 2193), the first :data:`MAX_REFERRALS` of them."""
        if self.name != "REFERRAL":
            return ()
        urls = self.arguments.split(None, MAX_REFERRALS)[:MAX_REFERRALS]
        return tuple([url.decode("utf-8", "replace") for url in urls])


class Status(NamedTuple):
    """OK, NO, BAD, PREAUTH or BYE."""

    condition: str
    code: ResponseCode | None
    #: For people.
    text: str


class Tagged(NamedTuple):
    """The end of a command."""

    tag: bytes
    status: Status


class Continuation(NamedTuple):
    """``+``: the server waits for more of the command."""

    text: bytes


class Capabilities(NamedTuple):
    """CAPABILITY."""

    names: frozenset[str]


class Enabled(NamedTuple):
    """ENABLED (RFC 5161): in capitals."""

    names: frozenset[str]


class MailboxFlags(NamedTuple):
    """FLAGS: those that messages of the mailbox may have."""

    flags: Flags


class Exists(NamedTuple):
    """EXISTS: so many messages are in the mailbox."""

    messages: int


class Recent(NamedTuple):
    """RECENT."""

    messages: int


class Expunge(NamedTuple):
    """EXPUNGE: the message with this number is gone, those behind it move up."""

    number: int
    #: Its UID, where that is known.
    uid: int | None = None


class Vanished(NamedTuple):
    """VANISHED (RFC 7162 section 3.2.10)."""

    uids: Ranges
    #: It happened before, and does not change message numbers.
    earlier: bool


class SearchNumbers(NamedTuple):
    """SEARCH or SORT: UIDs or message numbers, as the command asked."""

    numbers: Sequence[int]
    modseq: int | None = None
    #: A SORT response (RFC 5256): the order counts.
    sorted: bool = False


#: Of THREAD: a UID or message number, or what branches off there: to any depth, which those
#: decide who write to each other, so whoever walks it does so without recursion.
ThreadNode: TypeAlias = Union[int, "list[ThreadNode]"]

#: Levels of a thread that its ``repr()`` shows.
MAX_SHOWN_DEPTH = 50


class Branch(list[ThreadNode]):
    """A thread, or a branch of one; a list whose ``repr()`` shows :data:`MAX_SHOWN_DEPTH` levels."""

    __slots__ = ()

    @override
    def __repr__(self) -> str:
        return _show(self, MAX_SHOWN_DEPTH)


def _show(node: ThreadNode, depth: int) -> str:
    if isinstance(node, int):
        return str(node)
    if not depth:
        return "[...]"
    return f"[{', '.join([_show(each, depth - 1) for each in node])}]"


class Threads(NamedTuple):
    """THREAD (RFC 5256): each a list of numbers, in which a list is a branch."""

    threads: Sequence[Sequence[ThreadNode]]


class ResultChange(NamedTuple):
    """ADDTO or REMOVEFROM: how the result of a search has changed (RFC 5267 section 4.3)."""

    added: bool
    #: Where, from 1; 0 for the place that mailbox order has.
    position: int
    #: UIDs or message numbers, as the search asked, in their order.
    uids: Ranges


class ExtendedSearch(NamedTuple):
    """ESEARCH (RFC 4731)."""

    tag: bytes | None
    by_uid: bool
    minimum: int | None = None
    maximum: int | None = None
    #: COUNT.
    total: int | None = None
    #: None when it was not asked for.
    all: Ranges | None = None
    modseq: int | None = None
    #: Of the page that was asked for (RFC 9394); None when none was.
    partial: Ranges | None = None
    #: Which was searched, of many (RFC 7377): its name, decoded, and its UIDVALIDITY.
    mailbox: str | None = None
    uid_validity: int = 0
    #: In a result that was told before.
    changes: tuple[ResultChange, ...] = ()


class Listing(NamedTuple):
    """LIST or LSUB: one mailbox."""

    #: Decoded; INBOX in capitals.
    name: str
    #: ``\\NoSelect``, ``\\HasChildren``, ``\\Sent``, ..., as the server writes them.
    attributes: frozenset[str]
    #: Between the levels; None for a flat name.
    separator: str | None
    #: An LSUB response.
    lsub: bool = False
    #: What it was called before it was renamed (RFC 5465 section 5.4).
    old_name: str | None = None

    def has(self, attribute: str) -> bool:
        """Whether it has an attribute, in whatever case."""
        return attribute.lower() in {each.lower() for each in self.attributes}


class MailboxStatus(NamedTuple):
    """STATUS: items by name in capitals (``MESSAGES``, ``UIDNEXT``, ``SIZE``, ...)."""

    name: str
    items: Mapping[str, int | str]


class Namespace(NamedTuple):
    """One namespace (RFC 2342)."""

    prefix: str
    separator: str | None


class Namespaces(NamedTuple):
    """NAMESPACE."""

    personal: tuple[Namespace, ...] = ()
    other_users: tuple[Namespace, ...] = ()
    shared: tuple[Namespace, ...] = ()


class AccessList(NamedTuple):
    """ACL (RFC 4314): letters by identifier."""

    mailbox: str
    rights: Mapping[str, str]


class MyRights(NamedTuple):
    """MYRIGHTS (RFC 4314)."""

    mailbox: str
    rights: str


class ResourceUse(NamedTuple):
    """How much of a resource there is."""

    used: int
    limit: int


class Quota(NamedTuple):
    """QUOTA (RFC 9208): by resource, ``STORAGE`` (in KiB), ``MESSAGE``, ...; without limits empty."""

    root: str
    resources: Mapping[str, ResourceUse]


class QuotaRoots(NamedTuple):
    """QUOTAROOT: the quotas that a mailbox counts for."""

    mailbox: str
    roots: tuple[str, ...]


class Identification(NamedTuple):
    """ID (RFC 2971): what the server says of itself."""

    fields: Mapping[str, str | None]


class Metadata(NamedTuple):
    """METADATA with values (RFC 5464 section 4.4.1)."""

    #: None for the server.
    mailbox: str | None
    entries: Mapping[str, bytes | None]


class MetadataChanged(NamedTuple):
    """METADATA that names what others have changed (RFC 5464 section 4.4.2); ENABLE has it told."""

    #: None for the server.
    mailbox: str | None
    entries: tuple[str, ...]


@hiding("urls")
class AuthorizedURLs(NamedTuple):
    """GENURLAUTH (RFC 4467)."""

    urls: tuple[str, ...]


@hiding("contents")
class FetchedURLs(NamedTuple):
    """URLFETCH (RFC 4467): octets by URL, None for what is not given."""

    contents: Mapping[str, bytes | None]


class PassedOver(NamedTuple):
    """A response that was larger than the limits allow; its values are not known."""

    #: ``FETCH``, ``LIST``, ``OK``, ...: in capitals.
    name: str
    #: Of the message, in a FETCH response; else 0.
    number: int
    #: Of the command that it answers, where it says so.
    tag: bytes | None


class Unknown(NamedTuple):
    """A response that is not known here, or one about rights, quotas or threads that cannot be read."""

    name: str
    octets: bytes


@dataclass
class AnnotationValues:
    """What a FETCH response tells of an annotation's entry (RFC 5257).

    None where there is no value, or nobody has asked.
    """

    private: bytes | None = None
    shared: bytes | None = None
    #: Octets.
    private_size: int | None = None
    shared_size: int | None = None


@dataclass
class Message:
    """What a FETCH response tells of one message: what was not asked for is None."""

    #: 0 where the server tells UIDs alone (UIDONLY, RFC 9586).
    number: int
    uid: int | None = None
    #: Without ``\\Recent``, which is no flag of the message but of the session.
    flags: Flags | None = None
    #: Nobody was told of it before this session; None where its flags were not told.
    recent: bool | None = None
    #: Seconds since the epoch.
    internal_date: int | None = None
    size: int | None = None
    modseq: int | None = None
    envelope: MessageEnvelope | None = None
    structure: BodyPart | None = None
    email_id: str | None = None
    thread_id: str | None = None
    #: Seconds since the epoch (RFC 8514).
    save_date: int | None = None
    #: RFC 8970.
    preview: str | None = None
    #: By entry, with the values that were asked for; without any where the server tells that
    #: somebody has changed them (RFC 5257 sections 4.3, 4.4).
    annotations: Mapping[str, AnnotationValues] | None = None
    #: Decoded (X-GM-EXT-1).
    labels: frozenset[str] | None = None
    #: Gmail's numbers of the message and of its thread (X-GM-EXT-1).
    gmail_id: int | None = None
    gmail_thread: int | None = None
    #: By item as the server names it: ``BODY[]``, ``BODY[HEADER]``, ``BINARY[1]``, ``RFC822``.
    #: None where there is no such section.
    sections: dict[str, Content | None] = field(default_factory=dict)
    #: Items that are not known here, as they came.
    others: dict[str, bytes] = field(default_factory=dict)
    #: Names of the items that came, in capitals.
    items: set[str] = field(default_factory=set)

    def content(self, section: str = "") -> Content | None:
        """The octets of a section (``""``, ``HEADER``, ``1.2``, ...): of ``BODY[section]``, or decoded
        of ``BINARY[section]``."""
        return _find_content(self.sections, section)

    @property
    def subject(self) -> str:
        """The subject of the envelope as people read it; empty where there is none."""
        # lenient: servers are to unfold it, and some do not.
        return decode_text(unfold((self.envelope and self.envelope.subject) or b""))

    def update(self, other: Message) -> None:
        """Take over what another response says of the same message."""
        for name in _PLAIN_FIELDS:
            value = getattr(other, name)
            if value is not None:
                setattr(self, name, value)
        self.sections.update(other.sections)
        self.others.update(other.others)
        self.items |= other.items

    def close(self) -> None:
        """Forget the contents now."""
        for content in self.sections.values():
            if content is not None:
                content.close()


class ConversionFailed(NamedTuple):
    """Why a part could not be converted (RFC 5259 section 9)."""

    #: For people.
    text: str
    #: ``BADPARAMETERS``, ``MISSINGPARAMETERS``, ``TEMPFAIL``, ...
    code: str


class Conversion(NamedTuple):
    """CONVERSION (RFC 5259): media types between which a server converts."""

    source: str
    target: str
    #: That may say how.
    parameters: tuple[str, ...] = ()


@dataclass
class Converted:
    """CONVERTED (RFC 5259): parts of one message in another form, by item as the server names it."""

    number: int
    #: Of the command that it answers.
    tag: bytes | None = None
    uid: int | None = None
    #: ``BINARY[1]``, ``BODY[HEADER]``.
    sections: dict[str, Content | None] = field(default_factory=dict)
    #: ``BINARY.SIZE[1]``, in octets.
    sizes: dict[str, int] = field(default_factory=dict)
    #: ``BODYPARTSTRUCTURE[1]``.
    structures: dict[str, BodyPart] = field(default_factory=dict)
    #: Items that are not known here, as they came.
    others: dict[str, bytes] = field(default_factory=dict)
    #: Items that could not be had.
    failures: dict[str, ConversionFailed] = field(default_factory=dict)

    def content(self, section: str = "") -> Content | None:
        """The octets of a section, as :meth:`Message.content` gives them."""
        return _find_content(self.sections, section)

    def close(self) -> None:
        """Forget the contents now."""
        for content in self.sections.values():
            if content is not None:
                content.close()


def _find_content(sections: Mapping[str, Content | None], section: str) -> Content | None:
    wanted = f"BODY[{section.upper()}]", f"BINARY[{section.upper()}]"
    for name, content in sections.items():
        if name.partition("<")[0] in wanted:
            return content
    return None


_PLAIN_FIELDS = (
    "number",
    "uid",
    "flags",
    "recent",
    "internal_date",
    "size",
    "modseq",
    "envelope",
    "structure",
    "email_id",
    "thread_id",
    "save_date",
    "preview",
    "annotations",
    "labels",
    "gmail_id",
    "gmail_thread",
)


@dataclass
class BodyPart:
    """A part of a message, from BODYSTRUCTURE (RFC 9051 section 7.5.2).

    Types, subtypes and names of parameters are in lower case; values are octets as they came.
    """

    type: str
    subtype: str
    #: For a section of FETCH: ``1.2``; empty for a multipart that is the whole message.
    section: str = ""
    parameters: Mapping[str, bytes] = field(default_factory=dict)
    content_id: bytes | None = None
    description: bytes | None = None
    #: ``base64``, ``quoted-printable``, ``7bit``, ...
    encoding: str = ""
    #: Octets as encoded.
    size: int = 0
    #: Of text and message/rfc822.
    lines: int | None = None
    md5: bytes | None = None
    #: ``attachment``, ``inline``, ...; None where the part does not say.
    disposition: str | None = None
    disposition_parameters: Mapping[str, bytes] = field(default_factory=dict)
    languages: tuple[str, ...] = ()
    location: bytes | None = None
    #: Of message/rfc822.
    envelope: MessageEnvelope | None = None
    #: Of a multipart; of message/rfc822 the one that is inside.
    parts: tuple[BodyPart, ...] = ()

    @property
    def filename(self) -> str | None:
        """What the sender calls it, decoded (RFC 2183 section 2.3), or None.

        It may be anything: ``../x`` too.
        """
        for fields, name in (
            (self.disposition_parameters, b"filename"),
            (self.parameters, b"name"),
        ):
            parameters = [(key.encode("utf-8"), value) for key, value in fields.items()]
            # RFC 2231 section 6 has servers put continued ones together; not all do.
            found = parameter_text(tuple(join_sections(parameters)), name)
            if found:
                return found
        return None

    def decode(self, octets: bytes) -> bytes:
        """What ``BODY[section]`` stands for: base64 and the like undone, where they are known."""
        decoder = make_decoder(self.encoding.encode("utf-8"))
        if decoder is None:
            return octets
        decoded = decoder.feed(octets) + decoder.finish()
        return decoded if decoder.found else octets

    def text(self, octets: bytes) -> str:
        """The same as text, by the charset of the part; never raises."""
        return decode_charset(self.decode(octets), self.parameters.get("charset"))

    def walk(self) -> Iterator[BodyPart]:
        """This part and all below it, in order."""
        stack = [self]
        while stack:
            part = stack.pop()
            yield part
            stack.extend(reversed(part.parts))
