"""VRFY and EXPN (RFC 5321 section 3.5): who has an address, for those who may know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mailkit.errors import RelayDenied
from mailkit.interfaces import IAddressQueries
from mailkit.model import Ability, Path
from mailkit.smtp.extensions.extension import Extension, OfListener, Promised
from mailkit.smtp.extensions.settings import Access, ExtensionSettings
from mailkit.smtp.grammar import MAX_REPLY_LINES, Refused, Reply
from mailkit.smtp.handlers import Command
from mailkit.smtp.state import ANY

if TYPE_CHECKING:
    from mailkit.smtp.protocol import SMTPProtocol

# RFC 5321 section 7.3: a server that tells nothing answers 252 to both.
_CANNOT_VERIFY = Reply(
    252, "2.0.0", "Cannot VRFY user, but will accept message and attempt delivery"
)
_CANNOT_EXPAND = Reply(252, "2.0.0", "Cannot EXPN list, but will accept message for it")


def vrfy_refused(connection: SMTPProtocol, argument: bytes) -> None:
    """VRFY where it is switched off."""
    _parse(argument, "VRFY")
    connection.reply(_CANNOT_VERIFY)


def expn_refused(connection: SMTPProtocol, argument: bytes) -> None:
    """EXPN where it is switched off."""
    _parse(argument, "EXPN")
    connection.reply(_CANNOT_EXPAND)


async def vrfy(connection: SMTPProtocol, argument: bytes) -> None:
    """VRFY (RFC 5321 section 4.1.1.6)."""
    text, utf8 = _parse(argument, "VRFY")
    queries = await _ask(connection, connection.factory.extensions.vrfy)
    if queries is None:
        connection.reply(_CANNOT_VERIFY)
        return
    try:
        found = await queries.verify_address(text=text)
    except RelayDenied:
        connection.reply(_CANNOT_VERIFY)
        return
    if len(found) == 1:
        await _list(connection, 250, "2.1.5", [], found, utf8)
    else:
        # RFC 5321 section 3.5.1
        await _list(connection, 553, "5.1.4", ["Ambiguous; possibilities are"], found, utf8)


async def expn(connection: SMTPProtocol, argument: bytes) -> None:
    """EXPN (RFC 5321 section 4.1.1.7)."""
    text, utf8 = _parse(argument, "EXPN")
    queries = await _ask(connection, connection.factory.extensions.expn)
    if queries is None:
        connection.reply(_CANNOT_EXPAND)
        return
    await _list(connection, 250, "2.1.5", [], await queries.expand_list(text=text), utf8)


def _parse(argument: bytes, verb: str) -> tuple[str, bool]:
    """What is asked for, and whether replies may be UTF-8 (RFC 6531 section 3.7.4.1)."""
    text, _, parameter = argument.rpartition(b" ")
    utf8 = bool(text) and parameter.upper() == b"SMTPUTF8"
    try:
        wanted = (text.rstrip() if utf8 else argument).decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(501, "5.5.4", "The address is not UTF-8") from None
    if not wanted:
        raise Refused(501, "5.5.4", f"Syntax: {verb} address")
    if not wanted.isascii() and not utf8:
        raise Refused(553, "5.6.7", "A non-ASCII address needs the parameter SMTPUTF8")
    if wanted.startswith("<") and wanted.endswith(">"):
        wanted = wanted[1:-1]
    return wanted, utf8


async def _ask(connection: SMTPProtocol, access: Access) -> IAddressQueries | None:
    """Whom to ask; None when this client is told nothing."""
    if not access.allows(connection.session.account):
        return None
    delivery = connection.delivery or await connection.log_in_anonymously()
    queries: IAddressQueries | None = IAddressQueries(delivery, None)
    return queries


async def _list(
    connection: SMTPProtocol,
    code: int,
    enhanced: str,
    head: list[str],
    paths: Sequence[Path],
    utf8: bool,
) -> None:
    if not utf8 and not all(path.is_ascii for path in paths):
        # RFC 6531 section 3.7.4.2
        text = "The answer needs UTF-8; ask with the parameter SMTPUTF8"
        connection.reply(Reply(252, "2.6.8", text))
        return
    lines = [*head, *(f"<{path}>" for path in paths)]
    for start in range(0, len(lines), MAX_REPLY_LINES):
        await connection.drain()
        for number in range(start, min(start + MAX_REPLY_LINES, len(lines))):
            separator = " " if number == len(lines) - 1 else "-"
            connection.write(f"{code}{separator}{enhanced} {lines[number]}\r\n".encode())


def _allowed(
    access: Callable[[ExtensionSettings], Access],
) -> tuple[Promised, Callable[[SMTPProtocol], str | None]]:
    """Whether there is something to announce, and to whom."""

    def is_anybody(connection: SMTPProtocol) -> bool:
        return access(connection.factory.extensions) is not Access.NEVER

    def announce(connection: SMTPProtocol) -> str | None:
        settings, account = connection.factory.extensions, connection.session.account
        return "" if access(settings).allows(account) else None

    return Promised(Ability.QUERIES, OfListener(is_anybody)), announce


VRFY = Extension(
    "VRFY",
    *_allowed(lambda settings: settings.vrfy),
    commands={b"VRFY": Command(ANY, vrfy, "VRFY address")},
    commands_off={b"VRFY": Command(ANY, vrfy_refused, "")},
)
EXPN = Extension(
    "EXPN",
    *_allowed(lambda settings: settings.expn),
    commands={b"EXPN": Command(ANY, expn, "EXPN list")},
    commands_off={b"EXPN": Command(ANY, expn_refused, "")},
)
