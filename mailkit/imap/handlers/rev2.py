"""IMAP4rev2 beside IMAP4rev1 (RFC 9051): what it needs, and what ENABLE IMAP4rev2 switches.

The differences themselves stand where they are made: ``connection.rev2`` asks for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mailkit.imap.handlers.table import Capability, Enabling
from mailkit.imap.listing import Listed

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol


def _enable(connection: IMAPProtocol) -> None:
    connection.enable(b"IMAP4rev2")
    if connection.selection is not None:
        # RFC 9051 section 6.3.1: servers don't have to insist that nothing is selected.
        connection.selection.use_rev2()


def tell_normalized(
    connection: IMAPProtocol, name: str, given: str | None, attributes: Sequence[str] = ()
) -> None:
    """Tell under which name a mailbox is kept (RFC 9051 section 6.3.9.7).

    :param given: what the client has called it, None if that is the same.
    """
    if given is not None and connection.rev2:
        item = b'"OLDNAME" (%b)' % connection.mailbox_name(given)
        line = Listed(name, attributes, extended=(item,))
        connection.write(line.render(b"LIST", connection.utf8))


CAPABILITIES: Sequence[Capability] = (
    Capability(b"IMAP4rev1"),
    # RFC 9051 appendix E, item 2. Of SPECIAL-USE the attributes alone: there is always LIST.
    Capability(
        b"IMAP4rev2",
        needs=(
            b"NAMESPACE",
            b"UNSELECT",
            b"UIDPLUS",
            b"ESEARCH",
            b"SEARCHRES",
            b"ENABLE",
            b"IDLE",
            b"SASL-IR",
            b"LIST-EXTENDED",
            b"LIST-STATUS",
            b"MOVE",
            b"LITERAL+",
            b"BINARY",
            b"STATUS=SIZE",
        ),
    ),
)

ENABLEABLE: Enabling = {b"IMAP4rev2": _enable}
