"""Commands for any state (RFC 3501 section 6.1, RFC 2971, RFC 2177)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.imap import render
from mailkit.imap.grammar import Arguments, Command, SyntaxFault
from mailkit.imap.handlers.table import ANY, Capability, Verb, Waiting
from mailkit.mime import imap_string

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: RFC 2971 section 3.3: pairs, octets of a name, octets of a value.
MAX_ID_PAIRS = 30
MAX_ID_NAME = 30
MAX_ID_VALUE = 1024


def capability(connection: IMAPProtocol, command: Command) -> Waiting:
    """RFC 3501 section 6.1.1"""
    command.arguments.end()
    connection.write(b"* CAPABILITY %b\r\n" % connection.capabilities())
    connection.ok("CAPABILITY completed")
    return None


def noop(connection: IMAPProtocol, command: Command) -> Waiting:
    """RFC 3501 section 6.1.2: the client asks for what has changed."""
    command.arguments.end()
    if connection.selection is None or connection.selection.quiet:
        connection.ok("NOOP completed")
        return None
    return connection.complete("NOOP completed")


def logout(connection: IMAPProtocol, command: Command) -> Waiting:
    """RFC 3501 section 6.1.3"""
    command.arguments.end()
    connection.bye("Good bye")
    connection.write(b"%b OK %b\r\n" % (connection.tag, connection.line("LOGOUT completed")))
    connection.close(asked_for=True)
    return None


def identify(connection: IMAPProtocol, command: Command) -> Waiting:
    """ID (RFC 2971 section 3.1)"""
    client = _read_identification(command.arguments)
    command.arguments.end()
    if client:
        connection.log.info(
            "client of {peer}: {client}", peer=connection.info().peer, client=client
        )
    connection.identified(client)
    own = connection.factory.identification
    if own:
        pairs = b" ".join(
            imap_string(text.encode("utf-8")) for pair in own.items() for text in pair
        )
        connection.write(b"* ID (%b)\r\n" % pairs)
    else:
        connection.write(b"* ID NIL\r\n")
    connection.ok("ID completed")
    return None


def _read_identification(arguments: Arguments) -> dict[str, str]:
    arguments.space()
    if arguments.accept_word(b"NIL"):
        return {}
    words: list[bytes | None] = []
    arguments.expect(b"(")
    while not arguments.accept(b")"):
        if words:
            arguments.space()
        words.append(arguments.nstring() if len(words) % 2 else arguments.string())
        if len(words) > 2 * MAX_ID_PAIRS:
            raise SyntaxFault(f"ID takes at most {MAX_ID_PAIRS} pairs")
    if len(words) % 2:
        raise SyntaxFault("ID takes pairs of a field and a value")
    client = {}
    for name, value in zip(words[::2], words[1::2], strict=True):
        if len(name or b"") > MAX_ID_NAME or len(value or b"") > MAX_ID_VALUE:
            raise SyntaxFault("A field or value of ID is too long")
        client[render.line((name or b"").decode("utf-8", "replace")).decode()] = render.line(
            (value or b"").decode("utf-8", "replace")
        ).decode()
    return client


VERBS: Mapping[bytes, Verb] = {
    b"CAPABILITY": Verb(ANY, capability),
    b"NOOP": Verb(ANY, noop, arrivals=True),
    b"LOGOUT": Verb(ANY, logout),
    b"ID": Verb(ANY, identify, extension=b"ID"),
}

CAPABILITIES: Sequence[Capability] = (
    # RFC 7888 section 5: at most one of both is told.
    Capability(b"LITERAL+", lambda facts: b"LITERAL-" not in facts.choices),
    Capability(b"LITERAL-", lambda facts: b"LITERAL-" in facts.choices, needs=b"LITERAL+"),
    Capability(b"ID"),
)
