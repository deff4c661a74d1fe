"""Commands before login (RFC 3501 section 6.2, RFC 4959)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.errors import AuthenticationFailed, AuthorizationFailed, LimitExceeded, MailError
from mailkit.imap.grammar import Command, SyntaxFault
from mailkit.imap.handlers.table import NOT_AUTHENTICATED, Capability, Facts, Verb, Waiting
from mailkit.interfaces import IMailAccount
from mailkit.login import SASLExchange
from mailkit.sasl.plain import with_password
from mailkit.wire.sasl import (
    ExchangeCancelled,
    ResponseError,
    SASLError,
    Success,
    encode_base64,
)

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol


def greeting(connection: IMAPProtocol) -> bytes:
    """RFC 3501 section 7.1.1, with the capabilities of section 7.2.1"""
    if connection.account is not None or connection.encrypted:
        kind = b"OK" if connection.account is None else b"PREAUTH"
        if connection.may_offer_more():
            # Or who believes the greeting would not ask again, and never hear of EXTERNAL.
            return b"* %b mailkit is ready\r\n" % kind
        return b"* %b [CAPABILITY %b] mailkit is ready\r\n" % (kind, connection.capabilities())
    # Clients without TLS are alike.
    factory, passwords = connection.factory, connection.may_send_plaintext_passwords()
    facts = (
        passwords,
        factory.offered_without_tls(passwords, connection.choose_mechanisms),
        connection.can_start_tls,
        connection.extensions,
        factory.choices,
    )
    octets = factory.greetings.get(facts)
    if octets is None:
        octets = b"* OK [CAPABILITY %b] mailkit is ready\r\n" % connection.capabilities()
        factory.greetings[facts] = octets
    return octets


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
    # lenient: wildcards too, as in "ann*boss", which imaplib's login() does not quote.
    user = arguments.text(arguments.list_octets("The user name"), "The user name")
    arguments.space()
    password = arguments.astring("The password")
    arguments.end()
    if not connection.may_send_plaintext_passwords():
        connection.no("Use STARTTLS first", b"PRIVACYREQUIRED")
        return None
    success = with_password(user, password)
    account = connection.login_at_once(success, IMailAccount)
    if account is None:
        return _log_in(connection, success, "LOGIN completed")
    _enter(connection, account, "LOGIN completed")
    return None


def authenticate(connection: IMAPProtocol, command: Command) -> Waiting:
    """RFC 3501 section 6.2.2; RFC 4959: with an initial response."""
    arguments = command.arguments
    arguments.space()
    name = arguments.word("The mechanism").decode("ascii")
    initial = None
    if not arguments.at_end():
        arguments.space()
        initial = arguments.data[arguments.position :]
    mechanism = connection.find_mechanism(name)
    if mechanism is None:
        connection.no("There is no such mechanism")
        return None
    if not connection.may_use(mechanism):
        connection.no("Use STARTTLS first", b"PRIVACYREQUIRED")
        return None
    return _respond(connection, connection.begin_exchange(mechanism, IMailAccount), initial)


async def _respond(connection: IMAPProtocol, exchange: SASLExchange, line: bytes | None) -> None:
    """Take a line that the client answered a challenge with."""
    try:
        challenge = await exchange.take(line)
    except ExchangeCancelled:
        raise SyntaxFault("AUTHENTICATE cancelled") from None
    except ResponseError as error:
        raise SyntaxFault(str(error)) from None
    except SASLError as error:
        connection.no(str(error), b"AUTHENTICATIONFAILED")
    except (AuthenticationFailed, AuthorizationFailed) as error:
        _refuse_login(connection, error)
    else:
        if challenge is None:
            _enter(connection, exchange.avatar, "AUTHENTICATE completed")
            return
        connection.write(b"+ %b\r\n" % encode_base64(challenge))
        connection.expect_line(lambda answered, line: _next_line(answered, exchange, line))


def _next_line(connection: IMAPProtocol, exchange: SASLExchange, line: bytes | None) -> Waiting:
    if line is None:
        exchange.drop()
        raise SyntaxFault("The response is too long")
    return _respond(connection, exchange, line)


async def _log_in(connection: IMAPProtocol, success: Success, text: str) -> None:
    try:
        account = await connection.judge_login(success, IMailAccount)
    except (AuthenticationFailed, AuthorizationFailed) as error:
        _refuse_login(connection, error)
    else:
        _enter(connection, account, text)


def _refuse_login(connection: IMAPProtocol, error: MailError) -> None:
    connection.refuse_command(error)
    if connection.logins_exhausted:
        connection.bye("Too many failed logins")
        connection.close()


def _enter(connection: IMAPProtocol, account: IMailAccount, text: str) -> None:
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
    return not facts.logged_in and bool(facts.mechanisms)


def _mechanisms(facts: Facts) -> bytes:
    return ("=" + " AUTH=".join(facts.mechanisms)).encode("ascii")


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
    # One word for each mechanism.
    Capability(b"AUTH", _may_authenticate, value=_mechanisms),
)
