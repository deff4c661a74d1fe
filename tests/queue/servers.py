"""Scripted servers: they say at each step what a test wants, or nothing, or go away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver

from mailkit._typing import override

#: Instead of a reply: the connection ends; nothing is said.
DROP, HANG = "drop", "hang"

FINE = {
    "greeting": "220 mx.example.net",
    "EHLO": "250-mx.example.net\r\n250 PIPELINING",
    "RSET": "250 reset",
    "NOOP": "250 fine",
    "MAIL": "250 sender",
    "RCPT": "250 recipient",
    "DATA": "354 go on",
    "end of data": "250 taken",
    "QUIT": "221 bye",
}


class ScriptedProtocol(LineReceiver):
    """One connection.

    :ivar silent: whether the client waits for what does not come.
    """

    MAX_LENGTH = 100_000
    factory: ScriptedServer

    def __init__(self) -> None:
        self._in_data = False
        self.silent = False
        self._subject = ""

    @override
    def connectionMade(self) -> None:
        self.factory.connections.append(self)
        self.step("greeting")

    @override
    def connectionLost(self, reason: Any = None) -> None:
        self.silent = False

    def step(self, name: str) -> bool:
        """Say what the script has for a step."""
        script = self.factory.script
        reply = script.get(name, FINE.get(name, "500 what?"))
        if isinstance(reply, list):
            reply = reply.pop(0) if reply else FINE[name]
        self.factory.steps.append(name)
        if reply == DROP:
            self.transport.abortConnection()  # type: ignore[union-attr]
        elif reply == HANG:
            self.silent = True
        elif not self.silent:
            self.sendLine(reply.encode())  # type: ignore[no-untyped-call]
        return bool(reply.startswith("354"))

    @override
    def lineReceived(self, line: bytes) -> None:
        if self._in_data:
            if line.startswith(b"Subject: "):
                self._subject = line[9:].decode()
            if line == b".":
                self._in_data = False
                self.factory.messages += 1
                self.factory.subjects.append(self._subject)
                self.step("end of data")
            return
        verb = line.split(b" ")[0].decode().upper()
        if verb == "EHLO":
            self.factory.names.append(line[5:].decode())
        self._in_data = self.step(verb) and verb == "DATA"


class ScriptedServer(Factory):
    """A server.

    :param script: replies by step; a list has one for each time, and then all is fine.
    """

    noisy = False

    def __init__(self, script: Mapping[str, Any] | None = None) -> None:
        self.script = dict(script or {})
        self.steps: list[str] = []
        self.names: list[str] = []
        self.connections: list[ScriptedProtocol] = []
        #: Whole messages that came.
        self.messages = 0
        self.subjects: list[str] = []

    @override
    def buildProtocol(self, addr: Any) -> ScriptedProtocol:
        protocol = ScriptedProtocol()
        protocol.factory = self
        return protocol
