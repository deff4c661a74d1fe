"""CHUNKING and BINARYMIME (RFC 3030): content in counted chunks instead of up to a dot."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailkit.model import Ability
from mailkit.smtp import handlers
from mailkit.smtp.extensions.extension import Extension, Promised
from mailkit.smtp.grammar import Refused
from mailkit.smtp.handlers import Command
from mailkit.smtp.state import ANY, CHUNKS, RECIPIENTS

if TYPE_CHECKING:
    from mailkit.smtp.protocol import SMTPProtocol

_ARGUMENT = re.compile(rb"(\d{1,20})(?: +((?i:LAST)))?")


def bdat(connection: SMTPProtocol, argument: bytes) -> None:
    """BDAT (RFC 3030 section 2): legal or not, the chunk follows and must be read over."""
    size, last = _parse(argument)
    session = connection.session
    try:
        if not session.phase & (RECIPIENTS | CHUNKS):
            raise Refused(*session.out_of_order(b"BDAT"))
        if not size and not last:
            # Nothing else would end a stream of empty chunks.
            session.idle_commands += 1
            if session.idle_commands > connection.factory.max_idle_commands:
                handlers.too_idle(connection, argument)
                return
        connection.begin_chunk(size, last)
    except Refused as refused:
        connection.discard_chunk(size, last, refused.reply)


def bdat_off(connection: SMTPProtocol, argument: bytes) -> None:
    """BDAT where it is switched off: the chunk follows all the same."""
    size, last = _parse(argument)
    connection.discard_chunk(size, last, handlers.COMMAND_NOT_IMPLEMENTED)


def _parse(argument: bytes) -> tuple[int, bool]:
    found = _ARGUMENT.fullmatch(argument)
    if found is None:
        raise Refused(501, "5.5.4", "Syntax: BDAT octets [LAST]")
    return int(found[1]), found[2] is not None


CHUNKING = Extension(
    "CHUNKING",
    commands={b"BDAT": Command(ANY, bdat, "BDAT octets [LAST]", idle=False)},
    commands_off={b"BDAT": Command(ANY, bdat_off, "")},
)
# The value of BODY is judged in `basic`.
BINARYMIME = Extension(
    "BINARYMIME", available=Promised(Ability.BINARYMIME), needs=("CHUNKING", "8BITMIME")
)
