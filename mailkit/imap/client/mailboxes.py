"""Commands about mailboxes, for :class:`~mailkit.imap.client.session.Session`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from mailkit.annotations import Annotation
from mailkit.client.errors import ProtocolError
from mailkit.imap.client.answers import Asked, Listed
from mailkit.imap.client.commands import (
    Command,
    Literal,
    Part,
    Source,
    annotation_list,
    atom,
    flag_list,
    mailbox,
    nstring,
    pattern,
)
from mailkit.imap.client.connection import Connection
from mailkit.imap.client.errors import NotOffered
from mailkit.imap.client.opening import capability
from mailkit.imap.client.reader import ResponseLimits
from mailkit.imap.client.responses import Typed
from mailkit.imap.client.selected import code_ranges
from mailkit.imap.client.sets import expand
from mailkit.imap.client.values import (
    Identification,
    Listing,
    MailboxStatus,
    Namespaces,
    Ranges,
    Status,
)
from mailkit.mime.dates import format_imap_datetime
from mailkit.model import AppendResult

_Value = TypeVar("_Value")

# RFC 9051 section 1.1 and appendix E: what IMAP4rev2 has in it.
_REV2 = frozenset(
    [
        "BINARY",
        "ENABLE",
        "ESEARCH",
        "IDLE",
        "LIST-EXTENDED",
        "LIST-STATUS",
        "LITERAL-",
        "MOVE",
        "NAMESPACE",
        "SASL-IR",
        "SEARCHRES",
        "SPECIAL-USE",
        "STATUS=SIZE",
        "UIDPLUS",
        "UNSELECT",
    ]
)
#: Messages of one MULTIAPPEND command.
MAX_MULTIAPPEND = 100


class NewMessage:
    """A message to be appended.

    :param content: octets with CRLF as line ends, a spool or fetched content, or a binary file that
        can seek.
    :param flags: a text is one flag.
    :param internal_date: seconds since the epoch; None for now.
    :param binary: it may hold NUL; needs BINARY (RFC 3516).
    :param annotations: need ANNOTATE-EXPERIMENT-1 (RFC 5257).
    """

    def __init__(
        self,
        content: Source,
        flags: str | Iterable[str] = (),
        internal_date: int | None = None,
        *,
        binary: bool = False,
        annotations: Iterable[Annotation] = (),
    ) -> None:
        self._annotations = tuple(annotations)
        self._content = content
        self._flags = (flags,) if isinstance(flags, str) else tuple(flags)
        self._date = internal_date
        self._binary = binary

    def parts(self) -> list[Part]:
        """As APPEND has them (RFC 9051 section 6.3.12)."""
        parts: list[Part] = []
        if self._flags:
            parts += [b" ", flag_list(self._flags)]
        if self._date is not None:
            parts += [b' "', format_imap_datetime(self._date), b'"']
        if self._annotations:
            parts += [b" ANNOTATION ", *annotation_list(self._annotations)]
        return [*parts, b" ", Literal(self._content, binary=self._binary)]


class MailboxCommands:
    """Commands that need no selected mailbox."""

    _connection: Connection

    @property
    def capabilities(self) -> frozenset[str]:
        """What the server can do, in capitals, with all that IMAP4rev2 has in it."""
        facts = self._connection.facts
        names = facts.announced
        if "IMAP4REV2" in names and ("IMAP4REV1" not in names or "IMAP4REV2" in facts.enabled):
            return names | _REV2
        return names

    def has(self, *names: str) -> bool:
        """Whether the server announces one of some capabilities."""
        return not self.capabilities.isdisjoint(name.upper() for name in names)

    def _need(self, *names: str) -> None:
        if not self.has(*names):
            raise NotOffered(f"The mail server has no {names[0]}", command=names[0])

    @property
    def _utf8(self) -> bool:
        return not self._connection.facts.enabled.isdisjoint(("IMAP4REV2", "UTF8=ACCEPT"))

    def _mailbox(self, name: str) -> Part:
        return mailbox(name, self._utf8)

    # The session.

    async def refresh_capabilities(self) -> frozenset[str]:
        """Ask what the server can do."""
        await capability(self._connection)
        return self.capabilities

    async def noop(self) -> None:
        """Let the server tell what has changed."""
        await self._connection.run(Command("NOOP"))

    async def enable(self, *names: str) -> frozenset[str]:
        """Switch extensions on (RFC 5161); gives all that are on now."""
        self._need("ENABLE")
        command = Command("ENABLE", alone=True)
        for name in names:
            command.add(atom(name.upper()))
        await self._connection.run(command)
        return self._connection.facts.enabled

    async def compress(self) -> None:
        """Let both sides compress from here on (RFC 4978).

        :raises NotOffered: the server does not, or does already.
        """
        self._need("COMPRESS=DEFLATE")
        connection = self._connection
        if connection.facts.compressed:
            raise NotOffered("The connection is compressed already", command="COMPRESS")

        def done(status: Status) -> None:
            if status.condition == "OK":
                connection.start_deflate()

        await connection.run(Command("COMPRESS", alone=True, done=done).add("DEFLATE"))

    async def identify(self, fields: Mapping[str, str | None] | None = None) -> Identification:
        """Tell who we are and hear who the server is (RFC 2971)."""
        self._need("ID")
        parts: list[Part] = []
        for name, value in (fields or {}).items():
            parts += [b" " if parts else b"(", nstring(name), b" ", nstring(value)]
        found: list[Identification] = []
        command = Command("ID", answers=frozenset(("ID",)), collect=_into(found, Identification))
        await self._connection.run(command.add(*(parts and [*parts, b")"]) or [b"NIL"]))
        return found[-1] if found else Identification({})

    async def namespaces(self) -> Namespaces:
        """RFC 2342"""
        self._need("NAMESPACE")
        found: list[Namespaces] = []
        command = Command(
            "NAMESPACE", answers=frozenset(("NAMESPACE",)), collect=_into(found, Namespaces)
        )
        await self._connection.run(command)
        return found[-1] if found else Namespaces()

    # Names.

    async def create(self, name: str, *, special_use: str | None = None) -> None:
        """
        :param special_use: ``\\Archive``, ``\\Sent``, ... (RFC 6154 section 3).
        """
        command = Command("CREATE").add(self._mailbox(name))
        if special_use is not None:
            self._need("CREATE-SPECIAL-USE")
            command.add(b"(USE ", flag_list([special_use]), b")")
        await self._connection.run(command)

    async def delete(self, name: str) -> None:
        await self._connection.run(Command("DELETE").add(self._mailbox(name)))

    async def rename(self, name: str, new_name: str) -> None:
        command = Command("RENAME").add(self._mailbox(name)).add(self._mailbox(new_name))
        await self._connection.run(command)

    async def subscribe(self, name: str) -> None:
        await self._connection.run(Command("SUBSCRIBE").add(self._mailbox(name)))

    async def unsubscribe(self, name: str) -> None:
        await self._connection.run(Command("UNSUBSCRIBE").add(self._mailbox(name)))

    async def list(
        self,
        patterns: str | Sequence[str] = "*",
        *,
        reference: str = "",
        selection: Iterable[str] = (),
        options: Iterable[str] = (),
    ) -> Sequence[Listing]:
        """The mailboxes that match.

        :param patterns: ``*`` matches everything, ``%`` one level.
        :param selection: ``SUBSCRIBED``, ``SPECIAL-USE``, ... (RFC 5258 section 3.1).
        :param options: ``CHILDREN``, ``SUBSCRIBED``, ``SPECIAL-USE``.
        """
        selection = tuple(selection)
        listed = self._listed(patterns, reference, selection)
        returned: list[list[Part]] = [[atom(option)] for option in options]
        command = self._list_command(patterns, reference, selection, returned)
        command.answers, command.collect = frozenset(("LIST",)), listed.collect
        await self._connection.run(command)
        return listed.found

    @staticmethod
    def _listed(patterns: str | Sequence[str], reference: str, selection: Iterable[str]) -> Listed:
        """What takes the answer to LIST."""
        names = (patterns,) if isinstance(patterns, str) else patterns
        return Listed(
            [reference + each for each in names],
            with_gone="SUBSCRIBED" in [each.upper() for each in selection],
        )

    def _list_command(
        self,
        patterns: str | Sequence[str],
        reference: str,
        selection: Sequence[str],
        returned: Sequence[Sequence[Part]],
    ) -> Command:
        """
        :param returned: options of RETURN.
        """
        command, parts = Command("LIST"), list[Part]()
        if selection or returned or not isinstance(patterns, str):
            self._need("LIST-EXTENDED")
        if selection:
            command.add(b"(", b" ".join(map(atom, selection)), b")")
        command.add(self._mailbox(reference) if reference else b'""')
        if isinstance(patterns, str):
            command.add(pattern(patterns, self._utf8))
        else:
            for each in patterns:
                parts += [b" " if parts else b"(", pattern(each, self._utf8)]
            command.add(*parts, b")")
        if returned:
            parts = []
            for option in returned:
                parts += [b" " if parts else b"RETURN (", *option]
            command.add(*parts, b")")
        return command

    async def lsub(self, pattern_: str = "*", *, reference: str = "") -> Sequence[Listing]:
        """The subscribed names that match."""
        found: list[Listing] = []
        command = Command(
            "LSUB",
            answers=frozenset(("LSUB",)),
            collect=lambda each: isinstance(each, Listing) and each.lsub and _add(found, each),
        )
        command.add(self._mailbox(reference) if reference else b'""')
        await self._connection.run(command.add(pattern(pattern_, self._utf8)))
        return found

    async def status(
        self,
        name: str,
        items: Iterable[str] = ("MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN"),
    ) -> MailboxStatus:
        """Facts about a mailbox that need not be selected."""
        items = tuple(items)
        asked = Asked(name, items, news=self._connection.notified)
        command = Command("STATUS", answers=frozenset(("STATUS",)), collect=asked.collect)
        command.add(self._mailbox(name))
        command.add(b"(", b" ".join(atom(item.upper()) for item in items), b")")
        await self._connection.run(command)
        if asked.found is None:
            raise ProtocolError("The mail server says nothing of the mailbox", command="STATUS")
        return asked.found

    # Messages that come in.

    async def append(
        self, mailbox_name: str, *messages: NewMessage | Source
    ) -> AppendResult | None:
        """Put messages into a mailbox: all of them or none where the server has MULTIAPPEND, else
        one after the other.

        :returns: where they are; None where the server does not tell (RFC 4315).
        """
        new = [each if isinstance(each, NewMessage) else NewMessage(each) for each in messages]
        size = MAX_MULTIAPPEND if self.has("MULTIAPPEND") else 1
        validity, told = 0, True
        uids: list[int] = []
        for start in range(0, len(new), size):
            command = Command("APPEND").add(self._mailbox(mailbox_name))
            for each in new[start : start + size]:
                command.parts += each.parts()
            status = await self._connection.run(command)
            found = append_uids(status, size, self._connection.settings.limits)
            if found is None:
                told = False
            else:
                validity = found.uid_validity
                uids += found.uids
        return AppendResult(validity, uids) if told and new else None


def append_uids(status: Status, most: int, limits: ResponseLimits) -> AppendResult | None:
    """APPENDUID (RFC 4315 section 3).

    :param most: so many messages were appended, or fewer.
    """
    if status.code is None or status.code.name != "APPENDUID":
        return None
    validity, _, uids = status.code.arguments.partition(b" ")
    if not validity.isdigit():
        raise ProtocolError("APPENDUID without UIDVALIDITY")
    return AppendResult(int(validity), code_uids(uids, most, limits))


def code_uids(octets: bytes, most: int, limits: ResponseLimits) -> Sequence[int]:
    """The UIDs of a response code, in its order.

    :param most: as many as it may name.
    :raises ProtocolError: it has none, or too many.
    """
    ranges: Ranges = code_ranges(octets, limits)
    if sum(last - first + 1 for first, last in ranges) > most:
        raise ProtocolError("The mail server names more messages than there can be")
    return list(expand(ranges))


def _add(found: list[_Value], value: _Value) -> bool:
    found.append(value)
    return True


def _into(found: list[_Value], kind: type[_Value]) -> Callable[[Typed], bool]:
    return lambda response: isinstance(response, kind) and _add(found, response)
