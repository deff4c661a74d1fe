"""COMPRESS=DEFLATE (RFC 4978)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.imap.grammar import Command, SyntaxFault
from mailkit.imap.handlers.table import AUTHENTICATED, Capability, Verb, Waiting, after_login

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol


def compress(connection: IMAPProtocol, command: Command) -> Waiting:
    arguments = command.arguments
    arguments.space()
    if arguments.word("The name of a compression") != b"DEFLATE":
        raise SyntaxFault("The only compression is DEFLATE")
    arguments.end()
    if connection.deflating:
        connection.bad("DEFLATE is active already", b"COMPRESSIONACTIVE")
        return None
    connection.ok("DEFLATE active")
    connection.start_deflate()
    return None


# After login only: what is secret (RFC 4978 section 6, RFC 3749) is then no longer a password.
CAPABILITIES: Sequence[Capability] = (Capability(b"COMPRESS=DEFLATE", after_login),)

VERBS: Mapping[bytes, Verb] = {
    b"COMPRESS": Verb(AUTHENTICATED, compress, extension=b"COMPRESS=DEFLATE"),
}
