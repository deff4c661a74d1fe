"""One function a command, and the table of them.

A handler that need not wait is a plain function; one that must returns its coroutine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError

from mailkit.errors import (
    AuthenticationFailed,
    AuthorizationFailed,
    MailError,
    NoSuchMailbox,
    ReadOnly,
)
from mailkit.interfaces import IMailAccount, IMailbox, IMaildropDirectory, IWritableMailbox
from mailkit.login import SASLExchange
from mailkit.model import POP3_DELETED, FlagOp, MaildropLimits
from mailkit.pop3.grammar import (
    CommandError,
    parse_auth,
    parse_nothing,
    parse_number,
    parse_optional_number,
    parse_password,
    parse_user,
)
from mailkit.pop3.replies import END, code_of, listing
from mailkit.pop3.retrieval import retr, top
from mailkit.pop3.state import Maildrop, State
from mailkit.sasl.cram import read_digest
from mailkit.sasl.plain import with_password
from mailkit.translation import LANGUAGES, find_language, is_language_range, translate
from mailkit.wire.sasl import ExchangeCancelled, SASLError, Success, encode_base64

if TYPE_CHECKING:
    from mailkit.pop3.protocol import POP3Connection

#: Lines of a listing that are written in one go: under 64 KiB.
LIST_CHUNK = 2000

_HIDDEN = frozenset((POP3_DELETED,))

_Waiting = Coroutine[Any, Any, None] | None
Handler = Callable[["POP3Connection", bytes], _Waiting]


@dataclass(frozen=True, slots=True)
class Entry:
    """A command of the table."""

    #: In a tuple, as members of an Enum take long to be hashed.
    states: tuple[State, ...]
    handler: Handler


# Any state.


def capa(connection: POP3Connection, argument: bytes) -> _Waiting:
    parse_nothing(argument)
    if connection.session.state is State.AUTHORIZATION:
        directory = connection.factory.directory()
        if IMaildropDirectory.providedBy(directory):
            return _list_capabilities(connection, directory)
    own = connection.maildrop_settings
    delay = own.login_delay if own.login_delay is not None else connection.factory.locks.login_delay
    _write_capabilities(connection, MaildropLimits(own.expire, delay))
    return None


async def _list_capabilities(connection: POP3Connection, directory: IMaildropDirectory) -> None:
    # RFC 2449 sections 6.5 and 6.7: the strictest value of all users, marked as such.
    limits = await directory.find_maildrop_limits()
    delay = max(limits.login_delay, connection.factory.locks.login_delay)
    _write_capabilities(connection, limits._replace(login_delay=delay), b" USER")


def _write_capabilities(
    connection: POP3Connection, limits: MaildropLimits, mark: bytes = b""
) -> None:
    first = connection.ok_line("Capability list follows")
    connection.write(listing(first, capabilities(connection, limits, mark)))


def capabilities(
    connection: POP3Connection, limits: MaildropLimits, mark: bytes = b""
) -> Iterator[bytes]:
    """RFC 2449 section 5: what is announced before login is announced after it too.

    :param mark: behind limits that other users may not have.
    """
    yield b"TOP"
    yield b"UIDL"
    if connection.may_send_plaintext_passwords():
        yield b"USER"
    if names := connection.mechanisms():
        yield b"SASL " + " ".join(names).encode("ascii")
    # RFC 2595 section 4: STLS tells that the command is permitted in the current state.
    if connection.can_start_tls and connection.session.state is State.AUTHORIZATION:
        yield b"STLS"
    # RFC 6856 section 2.2: names and passwords too.
    yield b"UTF8 USER"
    yield b"LANG"
    yield b"RESP-CODES"
    yield b"AUTH-RESP-CODE"
    yield b"PIPELINING"
    if limits.login_delay:
        yield b"LOGIN-DELAY %d%b" % (limits.login_delay, mark)
    yield b"EXPIRE NEVER" if limits.expire is None else b"EXPIRE %d%b" % (limits.expire, mark)
    yield b"IMPLEMENTATION " + connection.factory.implementation.encode("ascii", "replace")


def quit_(connection: POP3Connection, argument: bytes) -> _Waiting:
    parse_nothing(argument)
    session = connection.session
    maildrop = session.maildrop
    if maildrop is None:
        connection.end_session(connection.ok_line("Goodbye"))
        return None
    session.state = State.UPDATE
    if uids := maildrop.deleted_uids():
        return _update(connection, maildrop, uids)
    connection.end_session(_goodbye(connection, maildrop))
    return None


async def _update(
    connection: POP3Connection, maildrop: Maildrop, deleted: Mapping[int, Sequence[int]]
) -> None:
    # RFC 1939 section 6: whatever comes of it, the lock is released and the connection ends.
    try:
        for index, uids in deleted.items():
            # One that is gone has taken its messages along.
            with suppress(NoSuchMailbox):
                await _remove(connection, connection.mailboxes[index], uids)
        reply = _goodbye(connection, maildrop)
    except MailError as error:
        reason = translate(error.text, connection.session.language)
        reply = connection.err_line(
            f"Some deleted messages were not removed: {reason}", code_of(error)
        )
    except CancelledError:
        raise
    except Exception:
        # A bug; the session must end all the same, and QUIT say that nothing was removed.
        connection.log.failure("messages could not be removed")
        reply = connection.err_line(
            "Some deleted messages were not removed: internal error", "SYS/TEMP"
        )
    connection.end_session(reply)


async def _remove(connection: POP3Connection, mailbox: IMailbox, uids: Sequence[int]) -> None:
    if not IWritableMailbox.providedBy(mailbox):
        raise ReadOnly
    if connection.maildrop_settings.keep:
        await mailbox.store_flags(uids=uids, op=FlagOp.ADD, flags=_HIDDEN)
    else:
        await mailbox.expunge(uids=uids)


def _goodbye(connection: POP3Connection, maildrop: Maildrop) -> bytes:
    count = maildrop.count
    if not count:
        return connection.ok_line("Goodbye (maildrop empty)")
    return connection.ok_line(
        "Goodbye (1 message left)" if count == 1 else f"Goodbye ({count} messages left)"
    )


# Both states.


def lang(connection: POP3Connection, argument: bytes) -> None:
    """LANG (RFC 6856 section 3.2)."""
    wanted = argument.strip(b" ").decode("ascii", "replace")
    session = connection.session
    if not wanted:
        lines = (f"{tag} {name}".encode() for tag, name in LANGUAGES.items())
        connection.write(listing(connection.ok_line("Language listing follows"), lines))
        return
    if not is_language_range(wanted):
        raise CommandError("A language is named as in: LANG de-AT")
    found = find_language([wanted], connection.factory.language)
    if found is None:
        connection.err("That language is not known here")
        return
    session.language = found
    # The tag stands before the text: "+OK de ...".
    status, _, text = connection.ok_line("Now speaking English").partition(b" ")
    connection.write(b"%b %b %b" % (status, found.encode("ascii"), text))


# AUTHORIZATION state.


def stls(connection: POP3Connection, argument: bytes) -> None:
    parse_nothing(argument)
    if connection.session.utf8:
        # RFC 6856 section 2.1
        connection.err("STLS comes before UTF8")
    elif connection.encrypted:
        connection.err("TLS is active already")
    elif not connection.can_start_tls:
        connection.err("TLS is not available here")
    else:
        connection.forget_login()
        connection.ok("Begin TLS negotiation")
        connection.start_tls()


def utf8(connection: POP3Connection, argument: bytes) -> None:
    """UTF8 (RFC 6856 section 2.1)."""
    parse_nothing(argument)
    connection.session.utf8 = True
    connection.ok("UTF-8 mode is on")


def user(connection: POP3Connection, argument: bytes) -> None:
    if not _passwords_allowed(connection):
        return
    # RFC 1939 section 13: the answer does not tell whether that user exists.
    connection.session.user = parse_user(argument)
    connection.ok("Now send PASS")


def pass_(connection: POP3Connection, argument: bytes) -> _Waiting:
    # lenient: other commands may stand between USER and PASS.
    name, connection.session.user = connection.session.user, None
    if name is None:
        if _passwords_allowed(connection):
            connection.err("Send USER first")
        return None
    success = with_password(name, parse_password(argument))
    account = connection.login_at_once(success, IMailAccount)
    if account is not None:
        maildrop = connection.open_at_once(account)
        if maildrop is None:
            return _enter(connection, account)
        _welcome(connection, maildrop)
        return None
    return _log_in(connection, connection.judge_login(success, IMailAccount))


def apop(connection: POP3Connection, argument: bytes) -> _Waiting:
    if not connection.timestamp:
        raise CommandError("APOP is not available here")
    name, _, digest = argument.rpartition(b" ")
    try:
        login = read_digest(name, digest, connection.timestamp, "APOP")
    except SASLError as error:
        raise CommandError(str(error)) from None
    success = Success(login, login.username)
    return _log_in(connection, connection.login(success, IMailAccount, "APOP"))


def auth(connection: POP3Connection, argument: bytes) -> _Waiting:
    connection.forget_login()
    name, initial = parse_auth(argument)
    if not name and (names := connection.mechanisms()):
        # lenient: a bare AUTH asks old servers for their mechanisms.
        lines = (name.encode("ascii") for name in names)
        connection.write(listing(connection.ok_line("Mechanisms follow"), lines))
        return None
    mechanism = connection.find_mechanism(name)
    if mechanism is None:
        if name or _passwords_allowed(connection):
            connection.err("That mechanism is not known here; see CAPA")
        return None
    if not connection.may_use(mechanism):
        _refuse_plaintext(connection)
        return None
    return auth_response(connection, connection.begin_exchange(mechanism, IMailAccount), initial)


async def auth_response(
    connection: POP3Connection, exchange: SASLExchange, line: bytes | None
) -> None:
    """Take one step of the exchange (RFC 5034 section 4).

    :param line: the client's line as it stands; None where AUTH brought no initial response.
    """
    connection.exchange = None
    try:
        challenge = await exchange.take(line)
    except ExchangeCancelled:
        connection.err("Authentication was cancelled")
    except SASLError as error:
        connection.err(str(error))
    except MailError as error:
        _refuse_login(connection, error)
    else:
        if challenge is None:
            await _enter(connection, exchange.avatar)
            return
        connection.exchange = exchange
        connection.write(b"+ " + encode_base64(challenge) + b"\r\n")


def _passwords_allowed(connection: POP3Connection) -> bool:
    if connection.may_send_plaintext_passwords():
        return True
    _refuse_plaintext(connection)
    return False


def _refuse_plaintext(connection: POP3Connection) -> None:
    # RFC 3206 section 5: AUTH also stands for an attempt in violation of policy.
    connection.err(
        "Passwords are taken under TLS only: send STLS first"
        if connection.can_start_tls
        else "Passwords are taken under TLS only",
        "AUTH",
    )


async def _log_in(connection: POP3Connection, logging_in: Awaitable[IMailAccount]) -> None:
    try:
        account = await logging_in
    except MailError as error:
        _refuse_login(connection, error)
    else:
        await _enter(connection, account)


def _refuse_login(connection: POP3Connection, error: MailError) -> None:
    connection.refuse_command(error)
    refused = isinstance(error, AuthenticationFailed | AuthorizationFailed)
    if refused and connection.logins_exhausted:
        connection.close()


async def _enter(connection: POP3Connection, account: IMailAccount) -> None:
    try:
        maildrop = await connection.open_maildrop(account)
    except MailError as error:
        connection.refuse_command(error)
    else:
        _welcome(connection, maildrop)


def _welcome(connection: POP3Connection, maildrop: Maildrop) -> None:
    count, octets = maildrop.count, maildrop.octets
    connection.ok(
        f"Logged in, 1 message ({octets} octets)"
        if count == 1
        else f"Logged in, {count} messages ({octets} octets)"
    )


# TRANSACTION state.


def stat(connection: POP3Connection, argument: bytes) -> None:
    parse_nothing(argument)
    maildrop = connection.maildrop
    connection.write(b"+OK %d %d\r\n" % (maildrop.count, maildrop.octets))


def list_(connection: POP3Connection, argument: bytes) -> _Waiting:
    maildrop = connection.maildrop
    number = parse_optional_number(argument)
    if number is not None:
        connection.write(b"+OK %d %d\r\n" % (number, maildrop.size(number)))
        return None
    first = connection.ok_line(
        f"1 message ({maildrop.octets} octets)"
        if maildrop.count == 1
        else f"{maildrop.count} messages ({maildrop.octets} octets)"
    )
    return _write_listing(connection, first, maildrop.list_sizes(LIST_CHUNK))


def uidl(connection: POP3Connection, argument: bytes) -> _Waiting:
    maildrop = connection.maildrop
    number = parse_optional_number(argument)
    if number is not None:
        connection.write(b"+OK %d %b\r\n" % (number, maildrop.unique_id(number)))
        return None
    return _write_listing(connection, connection.ok_line(), maildrop.list_unique_ids(LIST_CHUNK))


def _write_listing(connection: POP3Connection, first: bytes, pieces: Iterator[bytes]) -> _Waiting:
    if connection.maildrop.count <= LIST_CHUNK and not connection.must_drain:
        connection.write(first + b"".join(pieces) + END)
        return None
    return _stream_listing(connection, first, pieces)


async def _stream_listing(
    connection: POP3Connection, first: bytes, pieces: Iterator[bytes]
) -> None:
    connection.write(first)
    for piece in pieces:
        await connection.drain()
        connection.write(piece)
    connection.write(END)


def dele(connection: POP3Connection, argument: bytes) -> None:
    number = parse_number(argument)
    index, _ = connection.maildrop.place(number)
    if not IWritableMailbox.providedBy(connection.mailboxes[index]):
        connection.refuse_command(ReadOnly())
        return
    connection.maildrop.delete(number)
    connection.ok(f"Message {number} deleted")


def noop(connection: POP3Connection, argument: bytes) -> None:
    parse_nothing(argument)
    connection.ok()


def rset(connection: POP3Connection, argument: bytes) -> None:
    parse_nothing(argument)
    maildrop = connection.maildrop
    maildrop.reset()
    connection.ok(
        f"Maildrop has 1 message ({maildrop.octets} octets)"
        if maildrop.count == 1
        else f"Maildrop has {maildrop.count} messages ({maildrop.octets} octets)"
    )


_ANY = tuple(State)
_AUTHORIZATION = (State.AUTHORIZATION,)
_TRANSACTION = (State.TRANSACTION,)

COMMANDS: Mapping[bytes, Entry] = {
    b"CAPA": Entry(_ANY, capa),
    b"LANG": Entry(_ANY, lang),
    b"QUIT": Entry(_ANY, quit_),
    b"STLS": Entry(_AUTHORIZATION, stls),
    b"UTF8": Entry(_AUTHORIZATION, utf8),
    b"USER": Entry(_AUTHORIZATION, user),
    b"PASS": Entry(_AUTHORIZATION, pass_),
    b"APOP": Entry(_AUTHORIZATION, apop),
    b"AUTH": Entry(_AUTHORIZATION, auth),
    b"STAT": Entry(_TRANSACTION, stat),
    b"LIST": Entry(_TRANSACTION, list_),
    b"UIDL": Entry(_TRANSACTION, uidl),
    b"RETR": Entry(_TRANSACTION, retr),
    b"TOP": Entry(_TRANSACTION, top),
    b"DELE": Entry(_TRANSACTION, dele),
    b"NOOP": Entry(_TRANSACTION, noop),
    b"RSET": Entry(_TRANSACTION, rset),
}
