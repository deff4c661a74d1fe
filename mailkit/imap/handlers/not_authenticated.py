"""Commands before login (RFC 3501 section 6.2, RFC 4959)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.errors import AuthenticationFailed, AuthorizationFailed, LimitExceeded
from mailkit.imap.grammar import Command, SyntaxFault
from mailkit.imap.handlers.table import NOT_AUTHENTICATED, Capability, Facts, Verb, Waiting
from mailkit.interfaces import IMailAccount
from mailkit.wire.sasl import (
    MECHANISMS,
    SASLError,
    SASLPassword,
    SASLServer,
    decode_base64,
    encode_base64,
)

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol


def starttls(connection: IMAPProtocol, command: Command) -> Waiting:
    """RFC 3501 section 6.2.1"""
    command.arguments.end()
    if connection.can_start_tls:
        connection.ok("Begin TLS negotiation now")
        connection.begin_tls()
    elif connection.encrypted:
        connection.bad("TLS is active already")
    else:
        connection.bad("This server has no TLS certificate")
    return None


def login(connection: IMAPProtocol, command: Command) -> Waiting:
    """RFC 3501 section 6.2.3"""
    arguments = command.arguments
    arguments.space()
    user = arguments.text(arguments.astring("The user name"), "The user name")
    arguments.space()
    password = arguments.astring("The password")
    arguments.end()
    if not connection.may_send_plaintext_passwords():
        connection.no("Use STARTTLS first", b"PRIVACYREQUIRED")
        return None
    return _log_in(connection, SASLPassword("", user, password), "LOGIN completed")


def authenticate(connection: IMAPProtocol, command: Command) -> Waiting:
    """RFC 3501 section 6.2.2; RFC 4959: with an initial response."""
    arguments = command.arguments
    arguments.space()
    name = arguments.word("The mechanism").decode("ascii")
    initial = None
    if not arguments.at_end():
        arguments.space()
        initial = arguments.data[arguments.position :]
    mechanism = MECHANISMS.get(name)
    if mechanism is None:
        connection.no("There is no such mechanism")
        return None
    server = mechanism()
    if server.plaintext and not connection.may_send_plaintext_passwords():
        connection.no("Use STARTTLS first", b"PRIVACYREQUIRED")
        return None
    if initial is None:
        return _step(connection, server, None)
    return _respond(connection, server, initial)


def _respond(connection: IMAPProtocol, server: SASLServer, line: bytes | None) -> Waiting:
    """Take a line that the client answered a challenge with."""
    if line is None:
        raise SyntaxFault("The response is too long")
    if line == b"*":
        raise SyntaxFault("AUTHENTICATE cancelled")
    try:
        response = decode_base64(line)
    except SASLError as error:
        raise SyntaxFault(str(error)) from None
    return _step(connection, server, response)


def _step(connection: IMAPProtocol, server: SASLServer, response: bytes | None) -> Waiting:
    try:
        challenge = server.step(response)
    except SASLError as error:
        connection.no(str(error), b"AUTHENTICATIONFAILED")
        return None
    if server.result is not None:
        return _log_in(connection, server.result, "AUTHENTICATE completed")
    connection.write(b"+ %b\r\n" % encode_base64(challenge or b""))
    connection.expect_line(lambda answered, line: _respond(answered, server, line))
    return None


async def _log_in(connection: IMAPProtocol, secret: SASLPassword, text: str) -> None:
    try:
        account = await connection.login(secret, IMailAccount)
    except (AuthenticationFailed, AuthorizationFailed) as error:
        connection.refuse_command(error)
        if connection.logins_exhausted:
            connection.bye("Too many failed logins")
            connection.close()
        return
    try:
        connection.logged_in(account)
    except LimitExceeded as error:
        connection.refuse_command(error)
        return
    # RFC 3501 sections 6.2.2, 6.2.3: saves the client a CAPABILITY command.
    connection.ok(text, b"CAPABILITY " + connection.capabilities())


def _before_login(facts: Facts) -> bool:
    return not facts.logged_in


def _may_start_tls(facts: Facts) -> bool:
    return not facts.logged_in and facts.can_start_tls


def _login_disabled(facts: Facts) -> bool:
    return not facts.logged_in and not facts.takes_passwords


def _may_authenticate(facts: Facts) -> bool:
    return not facts.logged_in and facts.takes_passwords


VERBS: Mapping[bytes, Verb] = {
    b"STARTTLS": Verb(NOT_AUTHENTICATED, starttls),
    b"LOGIN": Verb(NOT_AUTHENTICATED, login),
    b"AUTHENTICATE": Verb(NOT_AUTHENTICATED, authenticate),
}


def _refers(facts: Facts) -> bool:
    return not facts.logged_in and b"LOGIN-REFERRALS" in facts.choices


CAPABILITIES: Sequence[Capability] = (
    Capability(b"LOGIN-REFERRALS", _refers),
    Capability(b"SASL-IR", _before_login),
    Capability(b"STARTTLS", _may_start_tls),
    Capability(b"LOGINDISABLED", _login_disabled),
    *(Capability(b"AUTH=" + name.encode("ascii"), _may_authenticate) for name in MECHANISMS),
)
