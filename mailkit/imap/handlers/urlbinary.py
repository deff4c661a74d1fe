"""URLAUTH=BINARY: parts of messages by URL, without their transfer encoding (RFC 5524)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mailkit.errors import UnknownTransferEncoding
from mailkit.imap.decoded import slice_of
from mailkit.imap.grammar import Arguments, SyntaxFault
from mailkit.imap.handlers.table import Capability
from mailkit.imap.urlparts import URLPart
from mailkit.interfaces import IURLKeys
from mailkit.mime import bodystructure_octets

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

_STRUCTURE, _BINARY, _BODY = b"BODYPARTSTRUCTURE", b"BINARY", b"BODY"


def read_parameters(arguments: Arguments) -> tuple[bytes, ...]:
    """What is wanted of a URL, behind it in its parentheses (RFC 5524 section 3.1)."""
    wanted: list[bytes] = []
    while not arguments.accept(b")"):
        arguments.space()
        name = arguments.word("BODYPARTSTRUCTURE, BINARY or BODY")
        if name not in (_STRUCTURE, _BINARY, _BODY):
            raise SyntaxFault("Of a URL there are BODYPARTSTRUCTURE, BINARY and BODY")
        # RFC 5524 section 3.1: BINARY and BODY exclude each other.
        if name in wanted or {name, *wanted} >= {_BINARY, _BODY}:
            raise SyntaxFault("The octets of a URL can be asked for once")
        wanted.append(name)
    return tuple(wanted)


async def send_metadata(connection: IMAPProtocol, part: URLPart, wanted: Sequence[bytes]) -> bool:
    """What stands behind the URL in its response (RFC 5524 section 3.2).

    :returns: false when the message is shorter than it was: the response cannot be ended.
    """
    for name in wanted:
        await connection.send(b" (%b " % name)
        if name == _STRUCTURE:
            await connection.send(await _structure(connection, part))
        elif name == _BODY:
            if not await send_literal(connection, part.size, part.octets()):
                return False
        elif not await _send_decoded(connection, part):
            return False
        await connection.send(b")")
    return True


async def send_literal(
    connection: IMAPProtocol, size: int, octets: Iterable[bytes], tilde: bytes = b""
) -> bool:
    """Octets of which it is known how many there are; false when there are less."""
    await connection.send(b"%b{%d}\r\n" % (tilde, size))
    for piece in octets:
        size -= len(piece)
        await connection.send(piece)
    return not size


async def _structure(connection: IMAPProtocol, part: URLPart) -> bytes:
    if part.section.kind:
        # A header is no part that a structure could be told of.
        return b"NIL"
    content = part.content
    if content.large:
        await content.load(connection.drain)
        await content.parse(connection.drain)
    found = content.structure().find(part.section.parts)
    if found is None:
        return b"NIL"
    return bodystructure_octets(content.octets(), found, rev2=connection.rev2)


async def _send_decoded(connection: IMAPProtocol, part: URLPart) -> bool:
    section, content = part.section, part.content
    if section.kind:
        return await send_literal(connection, part.size, part.octets())
    if content.large:
        await content.load(connection.drain)
        await content.parse(connection.drain)
    try:
        await content.measure(section.parts, connection.drain)
    except UnknownTransferEncoding:
        # RFC 5524 section 5, url-meta-binary: what cannot be decoded.
        await connection.send(b"NIL")
        return True
    decoded = content.decoded(section.parts)
    assert decoded is not None
    wanted = slice_of(decoded, section.partial)
    tilde = b"~" if decoded.has_nul else b""
    return await send_literal(connection, wanted.last - wanted.first, content.slice(wanted), tilde)


CAPABILITIES: Sequence[Capability] = (
    Capability(b"URLAUTH=BINARY", needs=(b"URLAUTH", b"BINARY"), provides=IURLKeys),
)
