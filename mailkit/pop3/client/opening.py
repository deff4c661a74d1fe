"""From the greeting to the login: what the settings ask for."""

from __future__ import annotations

import hashlib

from mailkit.client.errors import AuthFailed, ServiceRefused, TLSFailed
from mailkit.client.security import TLSMode
from mailkit.client.text import clean_text
from mailkit.pop3.client.commands import MAX_COMMAND, Command, find_timestamp, make_command
from mailkit.pop3.client.connection import Connection, judge
from mailkit.pop3.client.errors import Refused
from mailkit.wire.sasl import SASLError, decode_base64, encode_base64
from mailkit.wire.sasl_client import Credentials, NoMechanism, SASLClient, choose_mechanism


async def open_connection(connection: Connection) -> None:
    """
    :raises ClientError: the connection cannot be used; it is closed.
    """
    await connection.depend_on(_open(connection))


async def _open(connection: Connection) -> None:
    settings, facts = connection.settings, connection.facts
    greeting = await connection.wait_for_greeting()
    facts.greeting = greeting.text
    if not greeting.positive:
        raise ServiceRefused(greeting.text, command="greeting")
    await capabilities(connection)
    if settings.tls.mode is not TLSMode.NONE and facts.tls is None:
        await _start_tls(connection)
    if settings.utf8 and has(connection, "UTF8"):
        await _try(connection, make_command("UTF8"))
    if settings.language and has(connection, "LANG"):
        await _try(connection, make_command("LANG", settings.language))
    if settings.credentials is not None:
        await log_in(connection, settings.credentials)


def has(connection: Connection, name: str) -> bool:
    """The server has announced that."""
    return connection.facts.announced is not None and name in connection.facts.announced


async def capabilities(connection: Connection) -> None:
    """Ask for the capabilities (RFC 2449 section 5)."""
    found: dict[str, tuple[str, ...]] = {}

    def collect(line: bytes) -> None:
        name, *parameters = clean_text(line).split() or [""]
        found[name.upper()] = tuple(parameters)

    command = make_command("CAPA")
    command.alone, command.collect = True, collect
    command.patience = connection.settings.timeouts.login
    try:
        await connection.run(command)
    except Refused:
        connection.facts.announced = None
    else:
        connection.facts.announced = found


async def _try(connection: Connection, command: Command) -> None:
    """UTF8 and LANG: what nobody needs."""
    command.alone, command.patience = True, connection.settings.timeouts.login
    try:
        await connection.run(command)
    except Refused:
        return
    if command.name == "UTF8":
        connection.facts.utf8 = True
    else:
        connection.facts.language = connection.settings.language


async def _start_tls(connection: Connection) -> None:
    settings, facts = connection.settings, connection.facts
    policy = settings.tls
    # RFC 2595 section 4
    if not has(connection, "STLS"):
        if policy.mandatory:
            raise TLSFailed("The server offers no STLS", command="STLS")
        return
    command = make_command("STLS")
    command.alone, command.patience = True, settings.timeouts.login
    try:
        await connection.run(command)
    except Refused as error:
        if policy.mandatory:
            raise TLSFailed(error.text, command="STLS") from error
        facts.tls_failure = error.text
        return
    facts.tls = await connection.channel.start_tls(policy, settings.timeouts.tls)
    connection.restart()
    await capabilities(connection)


async def log_in(connection: Connection, credentials: Credentials) -> None:
    """Authenticate by SASL, or by APOP or USER where nothing better is offered.

    :raises AuthFailed: the server refuses, or there is no safe way.
    :raises Refused: the login is right, but the maildrop cannot be had now.
    """
    settings, facts = connection.settings, connection.facts
    private = facts.tls is not None or connection.channel.is_local
    plaintext = private or settings.allow_plaintext_passwords
    announced = facts.announced or {}
    offered = {name.upper() for name in announced.get("SASL", ())}
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
            if settings.sasl_only or not credentials.has_password:
                raise
            await _log_in_without_sasl(connection, credentials, private, plaintext)
        else:
            facts.mechanism = mechanism.name
            await _authenticate(connection, mechanism)
    except SASLError as error:
        raise AuthFailed(str(error), command="AUTH") from error
    except ValueError as error:
        raise AuthFailed("The user name or the password cannot be sent") from error
    except Refused as error:
        if error.temporary or error.response_code == "SYS/PERM":
            # RFC 3206 section 3: not the credentials are wrong.
            raise
        raise AuthFailed(error.text, command=error.command) from error
    facts.account = credentials.username


async def _log_in_without_sasl(
    connection: Connection, credentials: Credentials, private: bool, plaintext: bool
) -> None:
    """RFC 1939 section 7."""
    facts = connection.facts
    if not plaintext:
        # Whoever hears APOP can try millions of passwords a second.
        raise SASLError("The connection is not encrypted, so the password is not sent")
    if credentials.authorization_id:
        raise SASLError("USER cannot name another identity")
    timestamp = find_timestamp(facts.greeting)
    # Where nobody listens the password itself is as good, and more servers can take it.
    if timestamp and not (private and (facts.announced is None or "USER" in facts.announced)):
        facts.mechanism = "APOP"
        signed = timestamp.encode("ascii") + credentials.password.encode("utf-8")
        digest = hashlib.md5(signed, usedforsecurity=False).hexdigest()
        commands = [make_command("APOP", credentials.username, digest)]
    else:
        facts.mechanism = "USER"
        commands = [
            make_command("USER", credentials.username),
            make_command("PASS", credentials.password),
        ]
    for command in commands:
        command.alone, command.patience = True, connection.settings.timeouts.login
        await connection.run(command)


async def _authenticate(connection: Connection, mechanism: SASLClient) -> None:
    """RFC 5034 section 4."""
    command = make_command("AUTH", mechanism.name)
    command.alone, command.patience = True, connection.settings.timeouts.login
    waiting: bytes | None = None
    initial = mechanism.initial_response()
    if initial is not None:
        waiting = encode_base64(initial)
        line = command.line + b" " + (waiting or b"=")
        # A command is no longer than any other; a longer response comes second.
        if len(line) + 2 <= MAX_COMMAND:
            command.line, waiting = line, None
    flight = await connection.begin(command)
    fault: SASLError | None = None
    while not flight.ended:
        if flight.challenge is None:
            await connection.next_event(flight)
            continue
        challenge, flight.challenge = flight.challenge, None
        try:
            if waiting is None:
                answer = encode_base64(mechanism.respond(decode_base64(challenge.strip())))
            else:
                answer, waiting = waiting, None
        except SASLError as error:
            # RFC 5034 section 4: "*" gives it up.
            fault, answer = error, b"*"
        await connection.answer(answer)
    if fault is not None:
        raise fault
    try:
        judge(flight)
    except Refused as error:
        text = mechanism.explain(error.text)
        raise Refused(text, command=error.command, response_code=error.response_code) from error
    mechanism.finish()
