"""A stand-in for SpamAssassin's daemon, as spamc speaks to it: it knows one kind of spam."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from zope.interface import implementer

_LENGTH = re.compile(rb"\r\nContent-length: (\d+)\r\n", re.IGNORECASE)


@implementer(IHalfCloseableProtocol)
class SpamDaemon(Protocol):
    """Version 1.5 of the protocol: answers CHECK, HEADERS, PROCESS and REPORT.

    A message with :attr:`pattern` has 1000 points, any other none.
    """

    transport: Any
    pattern = b"GTUBE"

    def __init__(self) -> None:
        self._request = b""

    def dataReceived(self, data: bytes) -> None:
        self._request += data

    def readConnectionLost(self) -> None:
        head, _, message = self._request.partition(b"\r\n\r\n")
        if _LENGTH.search(head + b"\r\n") is None:
            self.transport.loseConnection()
            return
        spam = self.pattern in message
        score = b"1000.0 / 5.0" if spam else b"0.0 / 5.0"
        fields = [b"X-Spam-Flag: YES"] if spam else []
        fields.append(
            b"X-Spam-Status: %b, score=%b required=5.0 tests=%b"
            % ((b"Yes", b"1000.0", b"GTUBE") if spam else (b"No", b"0.0", b"none"))
        )
        marked = b"".join(field + b"\r\n" for field in fields) + message
        answer = b"SPAMD/1.5 0 EX_OK\r\nContent-length: %d\r\nSpam: %b ; %b\r\n\r\n" % (
            len(marked),
            b"True" if spam else b"False",
            score,
        )
        self.transport.write(answer + marked)
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """spamc reads no more."""
