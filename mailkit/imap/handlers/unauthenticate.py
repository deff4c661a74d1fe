"""UNAUTHENTICATE (RFC 8437): another user on the same connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.imap.grammar import Command
from mailkit.imap.handlers.table import AUTHENTICATED, Capability, Verb, Waiting, after_login

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol


def unauthenticate(connection: IMAPProtocol, command: Command) -> Waiting:
    """RFC 8437 section 3: never NO."""
    command.arguments.end()
    if connection.deflating:
        # RFC 8437 section 3: a server may close what it cannot reset; compressed octets of the next
        # command may be here already.
        connection.bye("Compression lasts as long as the connection, so this is its end")
        connection.close()
        return None
    connection.log_out()
    connection.ok("UNAUTHENTICATE completed")
    return None


VERBS: Mapping[bytes, Verb] = {
    b"UNAUTHENTICATE": Verb(AUTHENTICATED, unauthenticate, extension=b"UNAUTHENTICATE"),
}

CAPABILITIES: Sequence[Capability] = (Capability(b"UNAUTHENTICATE", after_login),)
