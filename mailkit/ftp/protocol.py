"""The server's connection and its factory.

Ordering: commands run one at a time and are answered in order (:mod:`mailkit.connection`). A
transfer is its command: what follows waits for its end, except that an ABOR behind it ends it, and
is then answered in its turn, and a STAT is answered at once (RFC 959 section 4.1.3).

Locking: none. Two sessions of one account work on the same files as two programs of one user do.
What may block is the home's to do in threads.
"""

from __future__ import annotations

import socket
from collections.abc import Coroutine, Sequence
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.interfaces import IReactorTime
from twisted.internet.tcp import Connection

from mailkit._typing import override
from mailkit.connection import CommandConnection, CommandFactory
from mailkit.errors import MailError
from mailkit.ftp.data import DataChannel
from mailkit.ftp.grammar import MAX_COMMAND, CommandError, parse_command
from mailkit.ftp.handlers import VERBS
from mailkit.ftp.replies import explain, refusal_of, reply
from mailkit.ftp.state import Session
from mailkit.seats import Seats, TryLock
from mailkit.wire.buffer import LineTooLong

#: Times that the state of one transfer is told while it is at work; further STATs wait for its end.
MAX_STATUSES = 100

_LATER = "please try again later"


class FTPConnection(CommandConnection):
    """A server's side of one control connection."""

    factory: FTPFactory
    protocol_name = "ftp"

    def __init__(self) -> None:
        super().__init__()
        self.session = Session()
        self.channel: DataChannel | None = None
        self.transferring = False
        #: The account's files; None before the login.
        self.home: Any = None

    # Replies.

    def reply(self, code: int, text: str) -> None:
        """Answer in one line."""
        self.write(reply(code, text))

    def end(self, text: str) -> None:
        """Tell why the connection closes, and close it."""
        # RFC 959 section 5.4: 421 may answer any command.
        self.reply(421, f"{text}; goodbye")
        self.close()

    # What CommandConnection asks for.

    @override
    def greet(self) -> None:
        # Under implicit TLS nobody expects data in the clear, though some clients send no PROT.
        self.session.protected = self.session.buffer_size_set = self.encrypted
        self.reply(220, self.factory.greeting)

    @override
    def next_command(self) -> bytes | LineTooLong | None:
        try:
            return self.buffer.take_line(MAX_COMMAND)
        except LineTooLong as error:
            return error

    @override
    def run_command(self, command: bytes | LineTooLong) -> Coroutine[Any, Any, None] | None:
        session = self.session
        name = ""
        try:
            if isinstance(command, LineTooLong):
                raise CommandError("That line is too long", 500)
            name, argument = parse_command(command)
            verb = VERBS.get(name)
            if verb is None:
                raise CommandError("That command is not known here", 500)
            if not (verb.before_login or session.account):
                raise CommandError("Log in first", 530)
            if name != "RNTO":
                session.rename_from = None
            waiting = verb.handler(self, argument)
        except CommandError as error:
            self._refuse_command(name, error)
            return None
        if waiting is not None:
            return self._explained(name, waiting)
        session.errors = 0
        return None

    async def _explained(self, verb: str, waiting: Coroutine[Any, Any, None]) -> None:
        try:
            await waiting
        except CommandError as error:
            self._refuse_command(verb, error)
        except (OSError, MailError) as error:
            if (told := explain(error)) is None:
                raise
            code, text = told
            self.reply(refusal_of(verb, code), text)
        else:
            self.session.errors = 0

    def _refuse_command(self, verb: str, error: CommandError) -> None:
        # 550 and its like are what the files are like, not what the client does wrong.
        if 500 <= error.code < 510 or error.code == 530:
            self.session.errors += 1
        if self.session.errors < self.factory.max_errors:
            self.reply(refusal_of(verb, error.code), error.text)
        else:
            self.end(f"{error.text}; too many errors")

    @override
    def command_failed(self) -> None:
        self.reply(451, f"Internal error, {_LATER}")

    @override
    def timed_out(self) -> None:
        self.reply(421, "You were silent too long; goodbye")

    @override
    def command_is_slow(self, seconds: float) -> None:
        if not self.transferring:
            # The data connection has a time of its own.
            super().command_is_slow(seconds)

    @override
    def refuse(self) -> None:
        self.reply(421, f"Too many connections, {_LATER}")

    @override
    def say_goodbye(self) -> None:
        self.reply(421, f"The server stops, {_LATER}")

    @override
    def closed(self) -> None:
        self.drop_channel()
        self.leave()

    @override
    def connectionMade(self) -> None:
        super().connectionMade()
        if isinstance(self.transport, Connection) and not self.encrypted:
            # RFC 959 section 4.1.3: the end of ABOR may come as urgent data, in its place all the
            # same.
            self.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)

    @override
    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        while self.transferring and self.channel is not None:
            verb = self._next_verb()
            if verb == "ABOR":
                self.channel.abort("You have ended the transfer")
            elif verb == "STAT" and self.session.statuses < MAX_STATUSES:
                # RFC 959 section 4.1.3: what is at work is told now.
                self.session.statuses += 1
                self.buffer.take_line(MAX_COMMAND)
                VERBS[verb].handler(self, b"")
                self.flush()
                continue
            return

    def _next_verb(self) -> str:
        """The next command, when it is whole and has no argument.

        ABOR counts behind NOOP, too, which some clients send while a transfer is at work, so that
        no firewall forgets the control connection.
        """
        for number, line in enumerate(self.buffer.peek(MAX_COMMAND).split(b"\n")[:-1]):
            try:
                verb, argument = parse_command(line.strip())
            except CommandError:
                break
            if verb != "NOOP":
                return verb if not argument and (verb == "ABOR" or not number) else ""
        return ""

    # The session.

    def enter(self, home: Any) -> bool:
        """The client has logged in; false when there are too many of its account."""
        factory = self.factory
        if not factory.accounts.take(home.name, factory.max_sessions_per_account):
            return False
        self.session.account = home.name
        self.home = home
        return True

    def leave(self) -> None:
        """The client is logged in no longer."""
        account, self.session.account = self.session.account, ""
        self.home = None
        if account:
            self.factory.accounts.give_back(account)

    def drop_channel(self) -> None:
        """Close the data connection, if there is one."""
        channel, self.channel = self.channel, None
        if channel is not None:
            channel.close()


class FTPFactory(CommandFactory):
    """Serves FTP: the files of the :class:`~mailkit.interfaces.IFileHome` of the portal.

    One factory serves all listeners, plain and TLS, as it counts the sessions of accounts.

    :param portal: where clients log in. Nobody comes in anonymously.
    :param reactor: listens and connects for data; the global one when None.
    :param passive_ports: where PASV and EPSV listen; any port when empty.
    :param passive_address: IPv4 address that PASV tells, for servers behind an address
        translator; that of the control connection when empty.
    :param timeout: seconds of silence after which a session ends.
    :param data_timeout: seconds without progress after which a data connection ends.
    :param max_sessions_per_account: connections that are logged in to one account.
    :param protect_data: take and send nothing over data connections without TLS.
    :param max_errors: commands in a row that are none, before the connection is closed.
    :param greeting: text of the greeting.
    """

    connection_class = FTPConnection

    def __init__(
        self,
        portal: Portal | None,
        *,
        reactor: Any = None,
        tls_context: Any = None,
        clock: IReactorTime | None = None,
        passive_ports: Sequence[int] = (),
        passive_address: str = "",
        timeout: float = 300.0,
        data_timeout: float = 60.0,
        max_connections: int = 10_000,
        max_connections_per_address: int = 200,
        max_sessions_per_account: int = 20,
        allow_plaintext_passwords: bool = False,
        protect_data: bool = False,
        max_errors: int = 20,
        greeting: str = "FTP server ready",
    ) -> None:
        super().__init__(
            portal,
            tls_context=tls_context,
            clock=clock,
            timeout=timeout,
            max_connections=max_connections,
            max_connections_per_address=max_connections_per_address,
            allow_plaintext_passwords=allow_plaintext_passwords,
        )
        if reactor is None:
            from twisted.internet import reactor
        self.reactor = reactor
        self.passive_ports = passive_ports
        self.passive_address = passive_address
        self.data_timeout = data_timeout
        self.max_sessions_per_account = max_sessions_per_account
        self.protect_data = protect_data
        self.max_errors = max_errors
        self.greeting = greeting
        #: Of the sessions of each account.
        self.accounts = Seats()

    @override
    def share_limits(self, name: str, try_lock: TryLock) -> None:
        super().share_limits(name, try_lock)
        self.accounts.share(f"{name} account", try_lock)
