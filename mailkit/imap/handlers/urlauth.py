"""URLAUTH: GENURLAUTH, URLFETCH, RESETKEY (RFC 4467)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError

from mailkit.errors import BadURL, MailError
from mailkit.imap.grammar import Arguments, Command, SyntaxFault
from mailkit.imap.handlers.table import AUTHENTICATED, Capability, Verb, Waiting
from mailkit.imap.handlers.urlbinary import read_parameters, send_literal, send_metadata
from mailkit.imap.url import IMAPURL, URLFault, parse_url
from mailkit.imap.urlauth import MECHANISMS, same_user, sign
from mailkit.imap.urlparts import URLPart, open_authorized
from mailkit.interfaces import IURLKeys
from mailkit.mime import imap_string

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: URLs of one command.
MAX_URLS = 100
#: What SELECT and RESETKEY tell.
URLMECH = b"URLMECH INTERNAL"


def _read_urls(arguments: Arguments) -> list[tuple[bytes, str]]:
    urls = []
    while True:
        arguments.space()
        url = arguments.astring("A URL")
        arguments.space()
        mechanism = arguments.word("The name of a mechanism").decode("ascii")
        urls.append((url, mechanism))
        if len(urls) > MAX_URLS:
            raise SyntaxFault(f"At most {MAX_URLS} URLs can be named at once")
        if arguments.at_end():
            return urls


def reset_key(connection: IMAPProtocol, command: Command) -> Waiting:
    """RESETKEY: revoke what was authorized."""
    arguments = command.arguments
    name = None
    if not arguments.at_end():
        arguments.space()
        name = arguments.mailbox()
        while not arguments.at_end():
            arguments.space()
            if arguments.word("The name of a mechanism").decode("ascii") not in MECHANISMS:
                raise MailError("The only mechanism is INTERNAL")
    arguments.end()
    return _reset_key(connection, name)


async def _reset_key(connection: IMAPProtocol, name: str | None) -> None:
    account: Any = connection.account
    if name is None:
        await account.remove_access_keys()
        await connection.complete("All keys removed")
    else:
        await account.reset_access_key(mailbox=name)
        await connection.complete("RESETKEY completed", URLMECH)


def generate(connection: IMAPProtocol, command: Command) -> Waiting:
    """GENURLAUTH: sign URLs."""
    urls = []
    for url, mechanism in _read_urls(command.arguments):
        try:
            parsed = parse_url(url)
        except URLFault as fault:
            raise SyntaxFault(f"{fault}") from None
        if not parsed.access:
            raise SyntaxFault("An access identifier is missing in the URL")
        if parsed.mechanism:
            raise SyntaxFault("The URL is authorized already")
        assert connection.account is not None
        # RFC 4467 section 7: the owner of the mailbox, who is the one who asks.
        if not parsed.user or not same_user(parsed.user, connection.account.name):
            raise SyntaxFault("The URL does not name its owner, or that is somebody else")
        if mechanism not in MECHANISMS:
            raise SyntaxFault("The only mechanism is INTERNAL")
        urls.append(parsed)
    return _generate(connection, urls)


async def _generate(connection: IMAPProtocol, urls: Sequence[IMAPURL]) -> None:
    account: Any = connection.account
    response = [b"* GENURLAUTH"]
    for url in urls:
        key = await account.get_access_key(mailbox=url.mailbox)
        signed = b"%b:internal:%b" % (url.rump, sign(url.rump, key))
        response.append(b" " + imap_string(signed))
    await connection.send(b"".join([*response, b"\r\n"]))
    await connection.complete("GENURLAUTH completed")


def fetch_urls(connection: IMAPProtocol, command: Command) -> Waiting:
    """URLFETCH: the octets that authorized URLs name; RFC 5524: more about them."""
    arguments = command.arguments
    extended = connection.offers(b"URLAUTH=BINARY")
    urls: list[tuple[bytes, tuple[bytes, ...]]] = []
    while True:
        arguments.space()
        if extended and arguments.accept(b"("):
            urls.append((arguments.astring("A URL"), read_parameters(arguments)))
        else:
            urls.append((arguments.astring("A URL"), ()))
        if len(urls) > MAX_URLS:
            raise SyntaxFault(f"At most {MAX_URLS} URLs can be named at once")
        if arguments.at_end():
            return _fetch_urls(connection, urls)


async def _fetch_urls(
    connection: IMAPProtocol, urls: Sequence[tuple[bytes, tuple[bytes, ...]]]
) -> None:
    for url, wanted in urls:
        # One response each: a literal may be large, and nothing is known of the next one.
        prefix = b"* URLFETCH " + imap_string(url)
        try:
            part = await _open_authorized(connection, url)
        except MailError:
            # RFC 4467 section 7: whatever the reason, and nobody is told which.
            await connection.send(prefix + b" NIL\r\n")
            continue
        try:
            connection.write(prefix if wanted else prefix + b" ")
            if wanted:
                complete = await send_metadata(connection, part, wanted)
            else:
                complete = await send_literal(connection, part.size, part.octets())
            if not complete:
                connection.log.error("a message is shorter than it was")
                connection.abort()
                return
            await connection.send(b"\r\n")
        except CancelledError:
            raise
        except Exception:
            # What was begun cannot be ended.
            connection.log.failure("a message could not be read to its end")
            connection.abort()
            return
        finally:
            part.close()
    await connection.complete("URLFETCH completed")


async def _open_authorized(connection: IMAPProtocol, octets: bytes) -> URLPart:
    account: Any = connection.account
    try:
        url = parse_url(octets)
    except URLFault as fault:
        raise BadURL(str(fault)) from None
    is_submission = account.name in connection.factory.submission_accounts
    return await open_authorized(
        url, account, connection.clock.seconds(), connection.drain, is_submission
    )


def _where_kept(
    run: Callable[[IMAPProtocol, Command], Waiting],
) -> Callable[[IMAPProtocol, Command], Waiting]:
    """A handler for accounts whose store keeps access keys."""

    def handler(connection: IMAPProtocol, command: Command) -> Waiting:
        if not connection.offers(b"URLAUTH"):
            raise SyntaxFault("There is no such command for this account")
        return run(connection, command)

    return handler


CAPABILITIES: Sequence[Capability] = (Capability(b"URLAUTH", provides=IURLKeys),)

VERBS: Mapping[bytes, Verb] = {
    b"GENURLAUTH": Verb(AUTHENTICATED, _where_kept(generate), extension=b"URLAUTH"),
    b"URLFETCH": Verb(AUTHENTICATED, _where_kept(fetch_urls), extension=b"URLAUTH"),
    b"RESETKEY": Verb(AUTHENTICATED, _where_kept(reset_key), extension=b"URLAUTH"),
}
