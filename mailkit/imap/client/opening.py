"""From the greeting to the login: what the settings ask for."""

from __future__ import annotations

from mailkit.client.errors import (
    AuthFailed,
    ClientError,
    ProtocolError,
    TLSFailed,
)
from mailkit.client.security import TLSMode
from mailkit.imap.client.commands import Command, astring, atom
from mailkit.imap.client.connection import Connection, judge
from mailkit.imap.client.errors import CommandFailed, FarewellSaid, LoginRefused
from mailkit.imap.client.values import Status
from mailkit.wire.sasl import SASLError, decode_base64, encode_base64
from mailkit.wire.sasl_client import Credentials, NoMechanism, SASLClient, choose_mechanism

#: Questions that a server may ask in one AUTHENTICATE.
MAX_CHALLENGES = 30


async def open_connection(connection: Connection) -> None:
    """
    :raises ClientError: the connection cannot be used; it is closed.
    """
    await connection.depend_on(_open(connection))


async def _open(connection: Connection) -> None:
    settings, facts = connection.settings, connection.facts
    greeting = await connection.wait_for_greeting()
    facts.greeting = greeting.text
    if greeting.condition == "BYE":
        raise FarewellSaid(greeting.text, command="greeting", response_code=greeting.code)
    if settings.tls.mode is not TLSMode.NONE and facts.tls is None:
        await _start_tls(connection, greeting)
    if greeting.condition == "PREAUTH":
        facts.account = ""
    elif settings.credentials is not None:
        await log_in(connection, settings.credentials)
    if not facts.announced:
        await capability(connection)


async def log_in_anew(connection: Connection, credentials: Credentials) -> None:
    """For another user.

    :raises AuthFailed: the server refuses, or there is no safe way.
    """
    await log_in(connection, credentials)
    if not connection.facts.announced:
        await capability(connection)


async def capability(connection: Connection) -> frozenset[str]:
    """Ask for the capabilities."""
    await connection.run(Command("CAPABILITY", patience=connection.settings.timeouts.login))
    return connection.facts.announced


async def _start_tls(connection: Connection, greeting: Status) -> None:
    settings, facts = connection.settings, connection.facts
    policy = settings.tls
    if greeting.condition == "PREAUTH":
        # RFC 9051 section 7.1.4: then there is no STARTTLS any more.
        if policy.mandatory:
            raise TLSFailed("The server has logged us in without TLS", command="greeting")
        return
    if "STARTTLS" not in (facts.announced or await capability(connection)):
        if policy.mandatory:
            raise TLSFailed("The server offers no STARTTLS", command="STARTTLS")
        return
    patience = settings.timeouts.login
    try:
        await connection.run(Command("STARTTLS", alone=True, patience=patience))
    except CommandFailed as error:
        if policy.mandatory:
            raise TLSFailed(error.text, command="STARTTLS") from error
        facts.tls_failure = error.text
        return
    facts.tls = await connection.channel.start_tls(policy, settings.timeouts.tls)
    # RFC 9051 section 6.2.1: forget what was said before.
    connection.restart()
    await capability(connection)


async def log_in(connection: Connection, credentials: Credentials) -> None:
    """Authenticate, or LOGIN where nothing better is offered.

    :raises AuthFailed: the server refuses, or there is no safe way.
    """
    settings, facts = connection.settings, connection.facts
    announced = facts.announced or await capability(connection)
    offered = {name[5:] for name in announced if name.startswith("AUTH=")}
    plaintext = (
        facts.tls is not None or connection.channel.is_local or settings.allow_plaintext_passwords
    )
    # The answer may carry them; those from before the login do not count any more.
    facts.announced = frozenset()
    try:
        try:
            mechanism = choose_mechanism(
                offered,
                credentials,
                plaintext,
                settings.mechanisms,
                connection.channel.channel_binding,
            )
        except NoMechanism:
            if "LOGINDISABLED" in announced or not credentials.has_password:
                raise
            status = await _login(connection, credentials, plaintext)
        else:
            status = await _authenticate(connection, mechanism, "SASL-IR" in announced)
    except SASLError as error:
        raise AuthFailed(str(error), command="AUTHENTICATE") from error
    except CommandFailed as error:
        raise LoginRefused(error.text, error) from error
    facts.account = credentials.username
    facts.referrals = status.code.referrals if status.code else ()


async def _login(connection: Connection, credentials: Credentials, plaintext: bool) -> Status:
    if not plaintext:
        raise SASLError("The connection is not encrypted, so the password is not sent")
    if credentials.authorization_id:
        raise SASLError("LOGIN cannot name another identity")
    command = Command("LOGIN", alone=True, patience=connection.settings.timeouts.login)
    command.add(astring(credentials.username)).add(astring(credentials.password))
    return await connection.run(command)


async def _authenticate(connection: Connection, mechanism: SASLClient, ir: bool) -> Status:
    """RFC 9051 section 6.2.2.

    :param ir: the first response may stand in the command (RFC 4959).
    """
    timeouts = connection.settings.timeouts
    command = Command("AUTHENTICATE", alone=True, patience=timeouts.login)
    command.add(atom(mechanism.name))
    waiting = mechanism.initial_response()
    if waiting is not None and ir:
        command.add(encode_base64(waiting) or b"=")
        waiting = None
    flight = await connection.begin(command)
    give_up = connection.channel.seconds() + timeouts.login
    fault: SASLError | None = None
    challenges = 0
    while flight.status is None:
        if not flight.continuations:
            try:
                await connection.next_event(flight, give_up - connection.channel.seconds())
            except ClientError as error:
                error.command = command.name
                connection.fail(error)
                raise
            continue
        challenge = flight.continuations.popleft()
        challenges += 1
        if challenges > MAX_CHALLENGES:
            raise ProtocolError("The server asks for more than there is", command=command.name)
        try:
            if waiting is None:
                answer = encode_base64(mechanism.respond(decode_base64(challenge.strip())))
            else:
                answer, waiting = encode_base64(waiting), None
        except SASLError as error:
            # RFC 9051 section 6.2.2: "*" gives it up.
            fault, answer = error, b"*"
        await connection.send(answer + b"\r\n")
    if fault is not None:
        raise fault
    try:
        status = judge(flight.status, command.name)
    except CommandFailed as error:
        raise LoginRefused(mechanism.explain(error.text), error) from error
    mechanism.finish()
    return status
