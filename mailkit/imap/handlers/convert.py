"""CONVERT, UID CONVERT and CONVERSIONS: texts in another charset (RFC 5259)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError

from mailkit.errors import UnknownTransferEncoding
from mailkit.imap.content import MessageContent
from mailkit.imap.conversion import (
    CHARSET,
    DEFAULT_CHARSET,
    MAX_ITEMS,
    REPLACEMENT,
    TYPES,
    UID,
    ConversionError,
    Item,
    Request,
    check,
    convert,
    convert_header,
    parse_items,
    parse_pattern,
    parse_request,
    render_error,
)
from mailkit.imap.decoded import slice_of
from mailkit.imap.fetch import locate
from mailkit.imap.grammar import Command, SyntaxFault
from mailkit.imap.handlers.opened import opened
from mailkit.imap.handlers.sets import find_uids, resolve
from mailkit.imap.handlers.table import (
    AUTHENTICATED,
    SELECTED,
    Capability,
    Verb,
    Waiting,
    after_login,
)
from mailkit.imap.render import literal
from mailkit.mime import Part, bodystructure_octets, imap_string, parse_message

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: Messages of one CONVERT.
MAX_MESSAGES = 100
#: Octets of a part, before and after.
MAX_OCTETS = 8 * 1024 * 1024
#: Fields that a part keeps.
_KEPT = (b"Content-ID", b"Content-Description", b"Content-Disposition", b"Content-Language")


def conversions(connection: IMAPProtocol, command: Command) -> Waiting:
    """RFC 5259 section 5.1"""
    arguments = command.arguments
    arguments.space()
    source = parse_pattern(arguments)
    arguments.space()
    target = parse_pattern(arguments)
    arguments.end()
    for kind in sorted(TYPES):
        if source.fullmatch(kind) and target.fullmatch(kind):
            name = kind.encode("ascii")
            connection.write(
                b'* CONVERSION "%b" "%b" ("%b" "%b")\r\n'
                % (name, name, CHARSET.encode("ascii"), REPLACEMENT.encode("ascii"))
            )
    connection.ok("CONVERSIONS completed")
    return None


async def convert_parts(connection: IMAPProtocol, command: Command) -> None:
    """RFC 5259 section 6"""
    selection = connection.selection
    assert selection is not None
    spans = await resolve(connection, command)
    arguments = command.arguments
    arguments.space()
    request = parse_request(arguments)
    arguments.space()
    items = parse_items(arguments)
    arguments.end()
    _check(request, items)
    if selection.state.uid_only:
        raise SyntaxFault("There is no CONVERTED response without numbers", b"UIDREQUIRED")
    if request.target is not None and request.target not in TYPES:
        connection.no("No part can be converted to that type")
        return
    uids = await find_uids(connection, spans)
    if len(uids) > MAX_MESSAGES:
        connection.no(
            "These are too many messages to convert", b"MAXCONVERTMESSAGES %d" % MAX_MESSAGES
        )
        return
    if len(items) > MAX_ITEMS:
        connection.no("These are too many parts to convert", b"MAXCONVERTPARTS %d" % MAX_ITEMS)
        return
    by_uid = command.verb.startswith(b"UID ")
    if by_uid:
        items = [UID, *(item for item in items if item != UID)]
    done = failed = 0
    for uid, number in zip(uids, selection.state.numbers_of(uids), strict=True):
        async with opened(selection.mailbox, uid) as content:
            if content is None:
                continue
            converting = _Converting(connection, content, request)
            # First: where the store fails, nothing has been begun.
            await converting.load()
            begin = b"* %d CONVERTED (TAG %b) (" % (number, imap_string(command.tag))
            if not await _send(connection, converting, begin, items, uid):
                return
        done += converting.done
        failed += converting.failed
    if failed and not done:
        await connection.announce()
        connection.no("All conversions failed")
    else:
        await connection.complete("CONVERT completed")


async def _send(
    connection: IMAPProtocol,
    converting: _Converting,
    begin: bytes,
    items: Sequence[Item],
    uid: int,
) -> bool:
    """Send the response for one message; false when the connection has ended in it."""
    try:
        for item in items:
            # One at a time: each may be large.
            await connection.send(begin + await converting.answer(item, uid))
            begin = b" "
    except CancelledError:
        raise
    except Exception:
        # What was begun cannot be ended.
        connection.log.failure("a part could not be converted")
        connection.abort()
        return False
    await connection.send(b")\r\n")
    return True


def _check(request: Request, items: Sequence[Item]) -> None:
    if any(item.kind == b"BODY" for item in items):
        # RFC 5259 section 6
        if request.target is not None:
            raise SyntaxFault("A header takes NIL in the place of a media type")
        if CHARSET not in request.parameters:
            raise SyntaxFault("A header takes the parameter CHARSET")


class _Converting:
    """Converts parts of one message.

    :ivar done: what could be converted.
    :ivar failed: what could not.
    """

    def __init__(self, connection: IMAPProtocol, content: MessageContent, request: Request) -> None:
        self.connection = connection
        self.content = content
        self.request = request
        self.done = self.failed = 0
        # The part that was converted last, and what has come out.
        self._last: tuple[tuple[int, ...], bytes] | None = None

    async def load(self) -> None:
        """Have the whole message at hand, so that only a bug can make :meth:`answer` fail."""
        if self.content.large:
            await self.content.load(self.connection.drain)
            await self.content.parse(self.connection.drain)

    async def answer(self, item: Item, uid: int) -> bytes:
        """An item with its value, or with the reason why there is none."""
        if item.kind == b"UID":
            return b"UID %d" % uid
        part = self.content.structure().find(item.section.parts)
        if part is not None and not item.section.parts and not item.section.kind:
            source = "message/rfc822"
        elif part is not None:
            source = f"{part.type.decode('latin-1')}/{part.subtype.decode('latin-1')}"
        try:
            if part is None:
                raise ConversionError("There is no such part")
            value = await self._value(item, part, source)
        except ConversionError as error:
            self.failed += 1
            target = self.request.target or "text/plain"
            text = self.connection.line(error.text)
            value = render_error(
                error, text, None if part is None else source, target, self.request
            )
        else:
            self.done += 1
        return b"%b %b" % (item.name, value)

    async def _value(self, item: Item, part: Part, source: str) -> bytes:
        if item.kind == b"BODY":
            return self._header(item)
        lists = item.kind == b"AVAILABLECONVERSIONS"
        if lists and self.request.target is None and source not in TYPES:
            return b"(())"
        target = check(self.request, source)
        if lists:
            return b'(("%b"))' % target.encode("ascii")
        octets = await self._convert(item, part)
        if item.kind == b"BINARY.SIZE":
            return b"%d" % len(octets)
        if item.kind == b"BODYPARTSTRUCTURE":
            return self._structure(part, octets)
        if item.section.partial is not None:
            first, count = item.section.partial
            octets = octets[first : first + count]
        # RFC 3516 section 4.3: a literal8 where there may be NUL.
        tilde = b"~" if b"\0" in octets else b""
        return b"%b{%d}\r\n%b" % (tilde, len(octets), octets)

    def _header(self, item: Item) -> bytes:
        found = locate(item.section, self.content)
        if not isinstance(found, tuple):
            raise ConversionError("There is no such part")
        return literal(convert_header(self.content.read(*found), self.request))

    async def _convert(self, item: Item, part: Part) -> bytes:
        """The part in the charset that is wanted."""
        parts = item.section.parts
        if self._last is not None and self._last[0] == parts:
            return self._last[1]
        try:
            await self.content.measure(parts, self.connection.drain)
        except UnknownTransferEncoding as error:
            raise ConversionError(error.text) from None
        decoded = self.content.decoded(parts)
        if decoded is None:
            raise ConversionError("There is no such part")
        if decoded.size > MAX_OCTETS:
            raise _too_large()
        pieces, size = [], 0
        octets = self.content.slice(slice_of(decoded, None))
        for piece in convert(octets, part.charset, self.request):
            await self.connection.drain()
            size += len(piece)
            if size > MAX_OCTETS:
                raise _too_large()
            pieces.append(piece)
        self._last = parts, b"".join(pieces)
        return self._last[1]

    def _structure(self, part: Part, octets: bytes) -> bytes:
        """The BODYSTRUCTURE of the part as it is then (RFC 5259 section 8.2)."""
        charset = self.request.parameters.get(CHARSET, DEFAULT_CHARSET)
        header = b"Content-Type: %b/%b; charset=%b\r\n" % (
            part.type,
            part.subtype,
            charset,
        )
        kept = part.header.raw_fields(_KEPT, blank_line=False)
        encoding = b"binary" if b"\0" in octets else b"8bit"
        message = b"%b%bContent-Transfer-Encoding: %b\r\n\r\n%b" % (header, kept, encoding, octets)
        return bodystructure_octets(message, parse_message(message))


def _too_large() -> ConversionError:
    return ConversionError(f"A part that is converted has at most {MAX_OCTETS} octets")


VERBS: Mapping[bytes, Verb] = {
    b"CONVERSIONS": Verb(AUTHENTICATED, conversions, extension=b"CONVERT"),
    b"CONVERT": Verb(SELECTED, convert_parts, expunges=False, extension=b"CONVERT"),
    b"UID CONVERT": Verb(SELECTED, convert_parts, by_uid=True, extension=b"CONVERT"),
}

CAPABILITIES: Sequence[Capability] = (
    # RFC 5259 section 3
    Capability(b"CONVERT", after_login, needs=b"BINARY"),
)
