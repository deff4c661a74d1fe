"""Listening ports as services, and endpoints: those that strings describe, and inherited ones."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.internet import unix
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.tcp import Port as TwistedPort
from twisted.python.failure import Failure
from zope.interface import implementer

from mailkit._typing import override
from mailkit.tap.errors import SettingError, StartError, readable_errors
from mailkit.tcp import BACKLOG, ListeningReactor, adopt_port


class Port(StreamServerEndpointService):
    """One listening port. Its errors name the setting that asked for it."""

    # As strports.service has it: an error ends the start instead of becoming a line in the log.
    _raiseSynchronously = True

    def __init__(
        self, setting: str, name: str, endpoint: IStreamServerEndpoint, factory: IProtocolFactory
    ) -> None:
        super().__init__(endpoint, factory)  # type: ignore[no-untyped-call]
        self.setting = setting
        self.description = name

    @override
    def privilegedStartService(self) -> None:
        try:
            super().privilegedStartService()  # type: ignore[no-untyped-call]
        except (CannotListenError, OSError, OverflowError, ValueError) as error:
            reason = getattr(error, "socketError", error)
            reason = getattr(reason, "strerror", None) or reason
            raise StartError(self.setting, self.description, str(reason)) from error
        port = getattr(self._waitingForPort, "result", None)
        if self.setting == "lmtp" and getattr(port and port.getHost(), "port", 0) == 25:
            self.stopService()
            # RFC 2033 section 5
            raise StartError("lmtp", self.description, "LMTP must not be served on port 25")

    @override
    def stopService(self) -> Any:
        if self._waitingForPort is None:
            return None
        stopped = super().stopService()  # type: ignore[no-untyped-call]
        self._waitingForPort = None
        return stopped


class ListenPort(Port):
    """A port of ``--listen``, of a command that has nothing else to open.

    :raises CannotStart: by the start, in words: it cannot be bound.
    """

    def __init__(self, description: str, factory: IProtocolFactory) -> None:
        super().__init__("listen", description, parse_endpoint(description), factory)

    @override
    def privilegedStartService(self) -> None:
        with readable_errors(lambda setting: f"--{setting}"):
            super().privilegedStartService()


def parse_endpoint(description: str, reactor: Any = None) -> IStreamServerEndpoint:
    """The server endpoint that a string describes.

    :raises SettingError: it describes none.
    """
    if reactor is None:
        from twisted.internet import reactor
    try:
        return _endpoint(description, reactor)
    except Exception as error:
        # Each kind of endpoint has its own parser, and plug-ins add more.
        raise SettingError(
            f"{description!r} is no endpoint such as tcp:2525:interface=127.0.0.1 ({_reason(error)})"
        ) from error


def _reason(error: Exception) -> str:
    """Why a parser of Twisted's takes no endpoint, which it tells in Python's words."""
    text = str(error)
    if isinstance(error, IndexError):
        return "no such socket was passed on"
    if isinstance(error, TypeError):
        found = re.search(r"unexpected keyword argument ('\w+')", text)
        return f"it has no {found[1]}" if found else "something is missing, or too much"
    found = re.search(r"invalid literal for int\(\) with base \d+: (.*)", text)
    return f"{found[1]} is no number" if found else text


#: Endpoints that take a backlog; without one they have room for 50 clients.
_WITH_BACKLOG = re.compile(r"(?:tcp|tcp4|tcp6|ssl|unix)(?=:)(?!.*(?<!\\):backlog=)", re.DOTALL)


def _endpoint(description: str, reactor: Any) -> IStreamServerEndpoint:
    if isinstance(reactor, PosixReactorBase):
        reactor = ListeningReactor(reactor)
    endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
    if _WITH_BACKLOG.match(description):
        with contextlib.suppress(TypeError):
            # Unless it is there already, by its position.
            endpoint = serverFromString(reactor, f"{description}:backlog={BACKLOG}")
    return endpoint


@implementer(IStreamServerEndpoint)
class InheritedEndpoint:
    """A socket that another process has bound, which listens already.

    :param descriptor: is closed when the port has one of its own.
    """

    def __init__(self, reactor: Any, descriptor: int, family: int) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._family = family

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        # Or a process would wait in accept for a client that another one has taken.
        os.set_blocking(self._descriptor, False)
        port: Any
        if self._family == socket.AF_UNIX:
            adopt: Any = _InheritedUNIXPort._fromListeningDescriptor
            port = adopt(self._reactor, self._descriptor, factory)
            port.startListening()
        else:
            port = adopt_port(self._reactor, self._descriptor, self._family, factory)
        os.close(self._descriptor)
        return succeed(port)


class _InheritedUNIXPort(unix.Port):
    """Leaves the name of the socket to the process that has made it."""

    @override
    def connectionLost(self, reason: Failure) -> None:
        TwistedPort.connectionLost(self, reason)
