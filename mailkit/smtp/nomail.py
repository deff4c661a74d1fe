"""A server for a host that accepts no mail (RFC 7504): it says so, instead of letting clients wait."""

from __future__ import annotations

import socket
from collections.abc import Coroutine
from typing import Any

from mailkit._typing import override
from mailkit.connection import CommandConnection, CommandFactory
from mailkit.smtp.grammar import Reply
from mailkit.wire.buffer import LineTooLong

#: Octets of a command line.
MAX_LINE = 1000


class NoMailProtocol(CommandConnection):
    """A client that has come to the wrong host."""

    factory: NoMailFactory
    protocol_name = "smtp"

    def __init__(self) -> None:
        super().__init__()
        self._commands = 0

    def _say_no(self) -> None:
        text = f"{self.factory.hostname} does not accept mail"
        self.write(Reply(521, "5.3.2", text).render())

    @override
    def greet(self) -> None:
        self._say_no()

    @override
    def next_command(self) -> bytes | None:
        try:
            return self.buffer.take_line(MAX_LINE)
        except LineTooLong:
            return b""

    @override
    def run_command(self, command: bytes) -> Coroutine[Any, Any, None] | None:
        self._commands += 1
        if command.strip().upper() == b"QUIT":
            text = f"{self.factory.hostname} closing connection"
            self.write(Reply(221, "2.0.0", text).render())
            self.close()
        elif self._commands > self.factory.max_commands:
            # RFC 7504 section 3 lets the server close at any time.
            self._say_goodbye("4.7.0", "Too many commands")
            self.close()
        else:
            self._say_no()
        return None

    def _say_goodbye(self, enhanced: str, text: str) -> None:
        reply = Reply(421, enhanced, f"{self.factory.hostname} {text}, closing connection")
        self.write(reply.render())

    @override
    def command_failed(self) -> None:
        self._say_no()

    @override
    def timed_out(self) -> None:
        self._say_goodbye("4.4.2", "Timeout")

    @override
    def refuse(self) -> None:
        self._say_goodbye("4.7.0", "Too many connections")


class NoMailFactory(CommandFactory):
    """Tells each client that this host accepts no mail: 521, as greeting and to each command.

    :param hostname: our name; the machine's when None.
    :param timeout: seconds of silence after which a connection ends.
    :param settings: as of :class:`~mailkit.connection.CommandFactory`.
    """

    connection_class: type[CommandConnection] = NoMailProtocol
    #: Commands of a connection before it is closed.
    max_commands = 20

    def __init__(
        self, *, hostname: str | None = None, timeout: float = 30.0, **settings: Any
    ) -> None:
        super().__init__(None, timeout=timeout, **settings)
        self.hostname = hostname or socket.gethostname()
