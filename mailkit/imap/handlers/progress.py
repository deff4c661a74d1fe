"""INPROGRESS: a client that waits long is told that the server is still at work (RFC 9585)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall

from mailkit.imap.handlers.table import Capability, after_login

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: Seconds between two responses, and before the first.
INTERVAL = 10.0


@contextmanager
def telling_progress(connection: IMAPProtocol) -> Iterator[None]:
    """Tell now and then that the command is at work; no response may be half written meanwhile."""
    if not connection.tag or not connection.offers(b"INPROGRESS"):
        yield
        return
    line = b'* OK [INPROGRESS ("%b" NIL NIL)] Still at work\r\n' % connection.tag

    def tell() -> None:
        connection.remark(line)
        connection.flush()
        calls[0] = connection.clock.callLater(INTERVAL, tell)

    calls: list[IDelayedCall] = [connection.clock.callLater(INTERVAL, tell)]
    try:
        yield
    finally:
        calls[0].cancel()


CAPABILITIES: Sequence[Capability] = (Capability(b"INPROGRESS", after_login),)
