"""Connections to web servers, which may send so much and no more; by Twisted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

#: Octets that a server may send for one request, with its header and the frames of its chunks.
MAX_RECEIVED = 256 * 1024


class AnswerTooLong(Exception):
    """The server has sent more than it may."""


@implementer(IStreamClientEndpoint)
class LimitedEndpoint:
    """Makes one connection, for one request: Twisted takes header fields without end.

    :ivar too_much: the server has sent more than it may; the connection was ended.
    :ivar broken_off: it did not end in order (RFC 9112 section 9.8, for TLS, too), so an answer without a
        length may not be whole.
    """

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint
        self._connected: Any = None
        self._received = 0
        self.too_much = False
        self.broken_off = False

    def connect(self, factory: Any) -> Any:
        # One for each request: the log has enough of them.
        factory.noisy = False

        def remember(protocol: Any) -> Any:
            self._connected = protocol
            protocol.dataReceived = partial(self._receive, protocol.dataReceived)
            protocol.connectionLost = partial(self._lose, protocol.connectionLost)
            return protocol

        connecting: Any = self._endpoint.connect(factory)
        return connecting.addCallback(remember)

    def _receive(self, receive: Callable[[bytes], None], data: bytes) -> None:
        self._received += len(data)
        if self._received > MAX_RECEIVED:
            self.too_much = True
            self.abort()
        else:
            receive(data)

    def _lose(self, lose: Callable[[Failure], None], reason: Failure) -> None:
        self.broken_off = not reason.check(ConnectionDone)
        if self.too_much:
            reason = Failure(AnswerTooLong(f"the server sends more than {MAX_RECEIVED} octets"))
        lose(reason)

    def abort(self) -> None:
        """End the connection, whatever the server still has to say."""
        if self._connected is not None and self._connected.transport is not None:
            self._connected.transport.abortConnection()
