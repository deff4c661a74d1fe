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
    connection.log_out()
    connection.ok("UNAUTHENTICATE completed")
    if connection.deflating:
        # RFC 8437 section 4.1
        connection.stop_deflate()
    return None


VERBS: Mapping[bytes, Verb] = {
    b"UNAUTHENTICATE": Verb(AUTHENTICATED, unauthenticate, extension=b"UNAUTHENTICATE"),
}

CAPABILITIES: Sequence[Capability] = (Capability(b"UNAUTHENTICATE", after_login),)
