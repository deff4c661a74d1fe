"""UIDONLY: messages have no numbers any more, only UIDs (RFC 9586)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mailkit.imap.handlers.table import Capability, Enabling, after_login

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: Commands that name messages by their numbers, or answer with them.
NUMBERED = frozenset(
    (b"FETCH", b"STORE", b"COPY", b"MOVE", b"REPLACE", b"SEARCH", b"SORT", b"THREAD")
)


def _enable(connection: IMAPProtocol) -> None:
    connection.enable(b"UIDONLY")
    if connection.selection is not None:
        connection.selection.leave_out_numbers()


ENABLEABLE: Enabling = {b"UIDONLY": _enable}

CAPABILITIES: Sequence[Capability] = (Capability(b"UIDONLY", after_login, needs=b"ENABLE"),)
