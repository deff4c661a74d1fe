"""One function per verb, and the table of those that each server has.

A handler writes one reply or raises :class:`~mailkit.smtp.grammar.Refused` or a
:class:`~mailkit.errors.MailError`, and then nothing has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from mailkit.errors import AuthorizationFailed, MailError
from mailkit.interfaces import IMessageDelivery, ISenderPolicy
from mailkit.login import SASLExchange
from mailkit.model import Envelope, Recipient
from mailkit.smtp import replies
from mailkit.smtp.grammar import (
    Parameters,
    Refused,
    Reply,
    parse_helo,
    parse_mail,
    parse_rcpt,
    rendered,
)
from mailkit.smtp.state import (
    ANY,
    AUTHENTICATING,
    GREETED,
    RECIPIENTS,
    REFUSED,
    SENDER,
)
from mailkit.wire.sasl import ExchangeCancelled, SASLError, encode_base64

if TYPE_CHECKING:
    from mailkit.smtp.extensions.extension import Extension
    from mailkit.smtp.protocol import SMTPProtocol

_Waiting = Coroutine[Any, Any, None]


class Command(NamedTuple):
    """What the server knows of a verb."""

    #: Phases of the session in which it is legal.
    phases: int
    run: Callable[[SMTPProtocol, bytes], _Waiting | None]
    #: What HELP says.
    syntax: str
    #: It moves no mail: too many of them in a row end the connection.
    idle: bool = True


# The session.


def helo(connection: SMTPProtocol, argument: bytes) -> _Waiting | None:
    """HELO (RFC 5321 section 4.1.1.1)."""
    return _hello(connection, argument, esmtp=False)


def ehlo(connection: SMTPProtocol, argument: bytes) -> _Waiting | None:
    """EHLO (RFC 5321 section 4.1.1.1)."""
    return _hello(connection, argument, esmtp=True)


def _hello(connection: SMTPProtocol, argument: bytes, esmtp: bool) -> _Waiting | None:
    name = parse_helo(argument, connection.factory.limits)
    if connection.hooks is not None and (asking := connection.hooks.hello(name, esmtp)) is not None:
        return _greet_if_welcome(connection, asking, name, esmtp)
    _greet(connection, name, esmtp)
    return None


async def _greet_if_welcome(
    connection: SMTPProtocol, asking: _Waiting, name: str, esmtp: bool
) -> None:
    await asking
    _greet(connection, name, esmtp)


def _greet(connection: SMTPProtocol, name: str, esmtp: bool) -> None:
    connection.drop_content()
    connection.session.greet(name, esmtp)
    extensions = connection.extensions() if esmtp else b""
    first = Reply(250, "", f"{connection.factory.hostname} greets {name}").render()
    if extensions:
        # RFC 5321 section 4.2.1: more lines follow.
        blank = first.rfind(b"\n", 0, -1) + 4
        first = b"%b-%b" % (first[:blank], first[blank + 1 :])
    connection.write(first + extensions)


def hello_of_another_protocol(connection: SMTPProtocol, argument: bytes) -> None:
    """HELO and EHLO in LMTP, LHLO in SMTP (RFC 2033 section 4.1)."""
    raise Refused(
        500, "5.5.1", f"This is {connection.trace_name}, begin with {connection.session.hello}"
    )


def rset(connection: SMTPProtocol, argument: bytes) -> None:
    """RSET (RFC 5321 section 4.1.1.5)."""
    _no_argument(argument)
    connection.drop_content()
    connection.session.end()
    connection.write(replies.RESET)


def noop(connection: SMTPProtocol, argument: bytes) -> None:
    """NOOP (RFC 5321 section 4.1.1.9): a parameter is ignored."""
    connection.write(replies.OK)


def quit_(connection: SMTPProtocol, argument: bytes) -> None:
    """QUIT (RFC 5321 section 4.1.1.10)."""
    _no_argument(argument)
    connection.write(rendered(221, "2.0.0", f"{connection.factory.hostname} closing connection"))
    connection.close(asked_for=True)


def help_(connection: SMTPProtocol, argument: bytes) -> None:
    """HELP (RFC 5321 section 4.1.1.8): what this client may use now."""
    extensions = connection.factory.extension_set
    syntaxes = {
        verb: command.syntax
        for verb, command in connection.factory.commands.items()
        if command.syntax and extensions.serves(verb, connection)
    }
    if not argument:
        verbs = b" ".join(syntaxes).decode("ascii")
        connection.reply(Reply(214, "2.0.0", f"Commands:\n{verbs}\nHELP VERB says more"))
        return
    syntax = syntaxes.get(argument.upper())
    if syntax is None:
        raise Refused(504, "5.5.4", "No such command")
    connection.reply(Reply(214, "2.0.0", f"Syntax: {syntax}"))


def not_implemented(connection: SMTPProtocol, argument: bytes) -> None:
    """What RFC 5321 section 4.2.4 calls recognized, but not implemented."""
    raise Refused(*COMMAND_NOT_IMPLEMENTED)


def http(connection: SMTPProtocol, argument: bytes) -> None:
    """A web client: what it sends next might be somebody's mail commands."""
    connection.give_up("This is a mail server")


def too_idle(connection: SMTPProtocol, argument: bytes) -> None:
    """The client does nothing but keep us busy (RFC 5321 section 7.8)."""
    connection.give_up("Too many commands without mail")


def starttls(connection: SMTPProtocol, argument: bytes) -> None:
    """STARTTLS (RFC 3207 section 4)."""
    _no_argument(argument)
    if connection.encrypted:
        raise Refused(503, "5.5.1", "TLS is active already")
    if not connection.can_start_tls:
        raise Refused(502, "5.5.1", "TLS is not available here")
    connection.reply(Reply(220, "2.0.0", "Ready to start TLS"))
    connection.forget_client()
    connection.start_tls()


# Authentication (RFC 4954).


def auth(connection: SMTPProtocol, argument: bytes) -> _Waiting | None:
    """AUTH (RFC 4954 section 4)."""
    if connection.session.account is not None:
        raise Refused(503, "5.5.1", "You are authenticated already")
    if not connection.takes_logins:
        raise Refused(502, "5.5.1", "Authentication is not available here")
    name, _, initial = argument.partition(b" ")
    if not name:
        raise Refused(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
    mechanism = connection.find_mechanism(name.decode("ascii", "replace").upper())
    if mechanism is None:
        raise Refused(504, "5.5.4", f"Mechanisms here: {' '.join(connection.mechanisms())}")
    if not connection.may_use(mechanism):
        raise Refused(538, "5.7.11", "Encryption required, use STARTTLS first")
    exchange = connection.begin_exchange(mechanism, IMessageDelivery)
    return _auth_step(connection, exchange, initial.strip(b" ") or None)


def auth_response(connection: SMTPProtocol, line: bytes) -> _Waiting:
    """A line of the exchange that AUTH has begun."""
    exchange, connection.exchange = connection.exchange, None
    connection.session.phase = GREETED
    assert exchange is not None
    return _auth_step(connection, exchange, line)


async def _auth_step(connection: SMTPProtocol, exchange: SASLExchange, line: bytes | None) -> None:
    try:
        challenge = await exchange.take(line)
    except ExchangeCancelled:
        raise Refused(501, "5.7.0", "Authentication cancelled") from None
    except SASLError as error:
        raise Refused(501, "5.5.2", str(error)) from None
    except MailError as error:
        if error.temporary:
            raise Refused(454, "4.7.0", "Temporary authentication failure") from error
        if isinstance(error, AuthorizationFailed):
            connection.reply(replies.for_error(error))
        else:
            connection.reply(Reply(535, "5.7.8", "User name or password is not right"))
        if connection.logins_exhausted:
            connection.give_up("Too many failed logins")
        return
    if challenge is None:
        await _enter(connection, exchange)
        return
    connection.exchange = exchange
    connection.session.phase = AUTHENTICATING
    connection.write(b"334 %b\r\n" % encode_base64(challenge))


async def _enter(connection: SMTPProtocol, exchange: SASLExchange) -> None:
    connection.delivery = delivery = exchange.avatar
    policy = ISenderPolicy(delivery, None)
    connection.session.account = policy.account if policy else exchange.username
    if connection.hooks is not None:
        try:
            await connection.hooks.auth(connection.session.account, exchange.name)
        except Refused:
            connection.log_out()
            raise
    connection.reply(Reply(235, "2.7.0", "Authentication successful"))


# The mail transaction.


async def mail(connection: SMTPProtocol, argument: bytes) -> None:
    """MAIL (RFC 5321 section 4.1.1.2)."""
    session = connection.session
    factory = connection.factory
    path, given = parse_mail(argument, factory.limits)
    connection.check_client()
    if session.transactions >= factory.max_transactions:
        connection.give_up("Too many messages on one connection")
        return
    delivery = connection.delivery or connection.recall_anybody()
    if delivery is None:
        delivery = await connection.log_in_anonymously()
    envelope = Envelope(connection.client, session.helo, path, account=session.account)
    reply = _judge_mail(connection, envelope, given) if given else None
    if not (envelope.smtputf8 or argument.isascii() or path.is_ascii):
        # RFC 6531 section 3.5
        raise Refused(550, "5.6.7", "A non-ASCII address needs the parameter SMTPUTF8")
    envelope.transaction_id = factory.new_transaction_id()
    await delivery.check_sender(envelope=envelope)
    hooks = connection.hooks
    if hooks is not None and (asking := hooks.mail(envelope)) is not None:
        await asking
    session.begin(envelope)
    if session.forwarded:
        connection.log.info(
            "message {id} is passed on for {client}",
            id=envelope.transaction_id,
            client=" ".join(f"{name}={value}" for name, value in session.forwarded.items()),
        )
    connection.write(reply.render() if reply else replies.SENDER_OK)


async def rcpt(connection: SMTPProtocol, argument: bytes) -> None:
    """RCPT (RFC 5321 section 4.1.1.3)."""
    session = connection.session
    envelope, delivery = session.envelope, connection.delivery
    assert envelope is not None and delivery is not None
    path, parameters = parse_rcpt(argument, connection.factory.limits)
    if len(envelope.recipients) >= connection.factory.max_recipients:
        # RFC 5321 section 4.5.3.1.10
        raise Refused(452, "4.5.3", "Too many recipients, send the others in another transaction")
    if not (envelope.smtputf8 or argument.isascii() or path.is_ascii):
        # RFC 6531 section 3.5
        raise Refused(553, "5.6.7", "A non-ASCII address needs the parameter SMTPUTF8 of MAIL")
    recipient = Recipient(path, parameters)
    if parameters:
        recipient = _judge_recipient(connection, envelope, recipient)
    await delivery.check_recipient(envelope=envelope, recipient=recipient)
    hooks = connection.hooks
    if hooks is not None and (asking := hooks.rcpt(envelope, recipient)) is not None:
        await asking
    session.add(recipient)
    connection.write(replies.RECIPIENT_OK)


def data(connection: SMTPProtocol, argument: bytes) -> None:
    """DATA (RFC 5321 section 4.1.1.4): what follows is read by the protocol."""
    _no_argument(argument)
    envelope = connection.session.envelope
    if envelope is not None and envelope.body == "BINARYMIME":
        # RFC 3030 section 3
        raise Refused(503, "5.5.1", "A BINARYMIME message is sent by BDAT")
    connection.begin_content()
    connection.write(replies.START_CONTENT)


def _no_argument(argument: bytes) -> None:
    # RFC 5321 section 4.3.2: 501 if arguments are supplied.
    if argument:
        raise Refused(501, "5.5.4", "This command takes no parameters")


# Parameters of MAIL and RCPT: the extensions judge them.


def _judge_mail(connection: SMTPProtocol, envelope: Envelope, given: Parameters) -> Reply | None:
    envelope.parameters = given
    known = connection.factory.extension_set.mail_parameters
    reply = None
    for keyword, value in given.items():
        extension, judge = known.get(keyword) or _not_recognized(keyword)
        if not extension.available(connection):
            raise _not_available(extension, keyword)
        reply = judge(connection, envelope, value) or reply
    return reply


def _judge_recipient(
    connection: SMTPProtocol, envelope: Envelope, recipient: Recipient
) -> Recipient:
    known = connection.factory.extension_set.recipient_parameters
    for keyword, value in recipient.parameters.items():
        extension, judge = known.get(keyword) or _not_recognized(keyword)
        if not extension.available(connection):
            raise _not_available(extension, keyword)
        recipient = judge(connection, envelope, recipient, value)
    return recipient


def _not_recognized(keyword: str) -> NoReturn:
    # RFC 5321 section 4.1.1.11
    raise Refused(555, "5.5.4", f"Parameter not recognized: {keyword}")


def _not_available(extension: Extension, keyword: str) -> Refused:
    if extension.refusal is not None:
        return Refused(*extension.refusal)
    return Refused(555, "5.5.4", f"Parameter not available here: {keyword}")


COMMAND_NOT_IMPLEMENTED = Reply(502, "5.5.1", "Command not implemented")

#: What a verb does whose extension is switched off.
NOT_IMPLEMENTED = Command(ANY, not_implemented, "")

#: The verbs; extensions have more.
COMMANDS: Mapping[bytes, Command] = {
    b"EHLO": Command(ANY, ehlo, "EHLO host"),
    b"HELO": Command(ANY, helo, "HELO host"),
    b"MAIL": Command(GREETED, mail, "MAIL FROM:<address> [parameters of extensions]", idle=False),
    b"RCPT": Command(
        SENDER | RECIPIENTS, rcpt, "RCPT TO:<address> [parameters of extensions]", idle=False
    ),
    b"DATA": Command(RECIPIENTS, data, "DATA", idle=False),
    b"RSET": Command(ANY, rset, "RSET"),
    b"NOOP": Command(ANY, noop, "NOOP [text]"),
    b"QUIT": Command(ANY | REFUSED, quit_, "QUIT"),
}

#: Verbs that RFC 5321 appendix F names and that do nothing here, that of LMTP, and those of a web
#: browser or proxy that was led here.
OTHER_VERBS: Mapping[bytes, Command] = {
    **dict.fromkeys((b"SEND", b"SOML", b"SAML", b"TURN"), NOT_IMPLEMENTED),
    b"LHLO": Command(ANY, hello_of_another_protocol, ""),
    **{
        verb: Command(ANY, http, "")
        for verb in (b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"CONNECT", b"OPTIONS", b"PATCH")
    },
}

#: What any command becomes when there were too many without mail.
TOO_IDLE = Command(ANY, too_idle, "")
