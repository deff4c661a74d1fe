"""COMPARATOR: how texts are compared, for I18NLEVEL=2 (RFC 5255 section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.imap.comparator import find_collations
from mailkit.imap.grammar import Command, SyntaxFault
from mailkit.imap.handlers.table import AUTHENTICATED, Capability, Verb, Waiting, after_login
from mailkit.mime import imap_string

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: Collations or patterns that one COMPARATOR may have, and octets of one.
MAX_ORDERS = 20
MAX_ORDER = 254


def comparator(connection: IMAPProtocol, command: Command) -> Waiting:
    """RFC 5255 section 4.7"""
    arguments = command.arguments
    wanted = []
    while not arguments.at_end():
        arguments.space()
        octets = arguments.astring("A collation")
        if not 0 < len(octets) <= MAX_ORDER or octets.count(b"*") > 2:
            raise SyntaxFault("A collation is named as in: COMPARATOR i;unicode-casemap")
        wanted.append(arguments.text(octets, "A collation"))
        if len(wanted) > MAX_ORDERS:
            raise SyntaxFault(f"COMPARATOR takes at most {MAX_ORDERS} collations")
    found = find_collations(wanted)
    if wanted and not found:
        connection.no("None of these collations is known here", b"BADCOMPARATOR")
        return None
    if found:
        connection.collation = found[0]
    response = b"* COMPARATOR " + imap_string(connection.collation.value.encode("ascii"))
    if len(found) > 1:
        # RFC 5255 section 4.8: only then all that match are told.
        names = [imap_string(each.value.encode("ascii")) for each in found]
        response += b" (%b)" % b" ".join(names)
    connection.write(response + b"\r\n")
    connection.ok("COMPARATOR completed")
    return None


VERBS: Mapping[bytes, Verb] = {
    b"COMPARATOR": Verb(AUTHENTICATED, comparator, extension=b"I18NLEVEL=2"),
}

CAPABILITIES: Sequence[Capability] = (
    # RFC 5255 sections 4.3, 4.4: texts compare by i;unicode-casemap, and one level is told.
    Capability(b"I18NLEVEL=1", after_login, unless=b"I18NLEVEL=2"),
    Capability(b"I18NLEVEL=2", after_login),
)
