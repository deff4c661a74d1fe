"""BURL (RFC 4468): content from where a URL says, in the place of DATA or among chunks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailkit.errors import MailError
from mailkit.smtp import handlers
from mailkit.smtp.extensions.extension import Extension, OfListener
from mailkit.smtp.grammar import Refused
from mailkit.smtp.handlers import Command
from mailkit.smtp.state import ANY, CHUNKS, RECIPIENTS

if TYPE_CHECKING:
    from mailkit.smtp.protocol import SMTPProtocol

# RFC 4468 section 3.5
_ARGUMENT = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*:[!-~]+)(?: +((?i:LAST)))?")


async def burl(connection: SMTPProtocol, argument: bytes) -> None:
    """BURL (RFC 4468 section 3.2)."""
    if not _available(connection):
        raise Refused(*handlers.COMMAND_NOT_IMPLEMENTED)
    found = _ARGUMENT.fullmatch(argument)
    if found is None:
        raise Refused(501, "5.5.4", "Syntax: BURL URL [LAST]")
    session = connection.session
    if not session.phase & (RECIPIENTS | CHUNKS):
        raise Refused(*session.out_of_order(b"BURL"))
    resolver = connection.factory.url_resolver
    assert resolver is not None and session.account is not None
    try:
        content = await resolver.open_url(url=found[1], account=session.account)
    except MailError:
        # RFC 4468 section 3.2: the whole transaction fails.
        connection.drop_content()
        session.end()
        raise
    try:
        connection.begin_chunk(content.size, found[2] is not None)
        await connection.read_chunk(content.octets)
    finally:
        content.close()


def _available(connection: SMTPProtocol) -> bool:
    # RFC 4468 section 3.1: never of a relay.
    return connection.is_submission and connection.factory.url_resolver is not None


def _announce(connection: SMTPProtocol) -> str | None:
    # RFC 4468 section 3.1: without arguments, who wants to use it has to log in.
    return "" if connection.session.account is None else "imap"


BURL = Extension(
    "BURL",
    available=OfListener(_available),
    announce=_announce,
    commands={b"BURL": Command(ANY, burl, "BURL URL [LAST]", idle=False)},
    needs=("CHUNKING", "8BITMIME"),
)
