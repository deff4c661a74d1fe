"""``make run``: a whole mail server for trying out, on loopback, with two accounts.

Not for production: everybody knows the passwords.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple, TextIO

import click
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from mailkit import __version__
from mailkit.auth.passwords import hash_password, verify_password
from mailkit.errors import AccountExists
from mailkit.tap.descriptors import raise_open_files_limit
from mailkit.tap.errors import SettingError, StartError
from mailkit.tap.memory import return_large_allocations
from mailkit.tap.services import MailService
from mailkit.tap.signals import stop_at_first_signal
from mailkit.tap.stores import DEFAULT_STORE
from mailkit.tap.tls import self_signed

#: Where mail is kept between runs, below the directory in which the demonstration starts.
DIRECTORY = "mailkit-data"
HOST = "127.0.0.1"
#: Ports to try beside the one that is wanted.
MORE_PORTS = 50


class Server(NamedTuple):
    """One line of the table that is printed."""

    name: str
    port: int
    title: str
    tls: str


SERVERS = (
    Server("smtp", 2525, "SMTP", "STARTTLS"),
    Server("submission", 2587, "submission", "STARTTLS"),
    Server("submissions", 2465, "submission", "TLS"),
    Server("pop3", 2110, "POP3", "STLS"),
    Server("pop3s", 2995, "POP3", "TLS"),
    Server("imap", 2143, "IMAP", "STARTTLS"),
    Server("imaps", 2993, "IMAP", "TLS"),
)
ACCOUNTS = {"ann@example.test": "ann-demo", "bob@example.test": "bob-demo"}


@implementer(IStreamServerEndpoint)
class NearbyPort:
    """A TCP port on loopback: the wanted one, or the next above it that is free.

    :param avoid: ports that others want.
    """

    def __init__(self, reactor: Any, wanted: int, avoid: frozenset[int] = frozenset()) -> None:
        self._reactor = reactor
        self._wanted = wanted
        self._avoid = avoid - {wanted}
        #: The port, once it listens.
        self.port = 0

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        last: Exception = OSError("no free port near it")
        for number in self._candidates():
            try:
                port = self._reactor.listenTCP(number, factory, interface=HOST)
            except CannotListenError as error:
                last = error
            else:
                self.port = port.getHost().port
                return succeed(port)
        return fail(last)

    def _candidates(self) -> Iterator[int]:
        for number in range(self._wanted, self._wanted + MORE_PORTS):
            if number not in self._avoid:
                yield number


class Demo:
    """The demonstration: a mail service, its accounts, and what to tell about them."""

    def __init__(self, reactor: Any, directory: str = DIRECTORY) -> None:
        self.directory = directory
        self.certificate, key = self_signed(os.path.join(directory, "tls"))
        self.service = MailService(
            f"sqlite:{directory}",
            tls=f"{self.certificate},{key}",
            hostname="localhost",
            reactor=reactor,
        )
        wanted = frozenset(server.port for server in SERVERS)
        self.endpoints: dict[str, NearbyPort] = {}
        for server in SERVERS:
            endpoint = self.endpoints[server.name] = NearbyPort(reactor, server.port, wanted)
            self.service.add_port(server.name, endpoint)

    def start(self) -> None:
        """:raises StartError: the store is in use, or there is no free port."""
        self.service.privilegedStartService()
        self.service.startService()

    async def make_accounts(self) -> dict[str, str]:
        """Make the accounts that are missing; what to say of each one's password."""
        store = self.service.store
        told = {}
        for name, password in ACCOUNTS.items():
            try:
                await store.add_account(name=name, password_hash=hash_password(password))
            except AccountExists:
                stored = await store.get_password_hash(account=name)
                if not stored or not verify_password(stored, password):
                    told[name] = "(the one that you gave it)"
                    continue
            told[name] = password
        return told

    def banner(self, accounts: dict[str, str]) -> str:
        """What the person who started it sees."""
        lines = [f"mailkit {__version__} is running. Ctrl-C stops it.", ""]
        for server in SERVERS:
            port = self.endpoints[server.name].port
            moved = f"  ({server.port} is taken)" if port != server.port else ""
            lines.append(f"  {server.title:<11}{HOST}:{port}  {server.tls:<9}{moved}".rstrip())
        lines.append("")
        lines += [f"  account {name}  password {password}" for name, password in accounts.items()]
        lines += [
            "",
            f"Mail is kept in {self.directory}. Clients must be told to trust the certificate",
            f"{self.certificate}, which signs itself.",
            "",
            "Try, in another terminal but in this directory:",
            "",
            *self._commands(),
            "",
            f"More accounts: {self._mailkit_command()} account add you@example.test",
        ]
        return "\n".join(lines)

    def _commands(self) -> list[str]:
        ports = {name: endpoint.port for name, endpoint in self.endpoints.items()}
        (name, password), *_ = ACCOUNTS.items()
        return [
            "  # send a message",
            f"  swaks --server {HOST}:{ports['smtp']} --from me@example.org --to {name}",
            "  # read the mailbox over TLS",
            f"  curl --cacert {shlex.quote(self.certificate)} --user {name}:{password} \\",
            f"    imaps://{HOST}:{ports['imaps']}/INBOX --request 'FETCH 1:* (FLAGS ENVELOPE)'",
            "  # the same over POP3, with nothing but Python",
            f"  python3 -c \"import poplib; p = poplib.POP3('{HOST}', {ports['pop3']});"
            f" p.user('{name}'); p.pass_('{password}');"
            " print(*map(bytes.decode, p.retr(1)[1]), sep='\\n')\"",
        ]

    def _mailkit_command(self) -> str:
        """How to call the command that was installed beside this interpreter."""
        path = os.path.join(os.path.dirname(sys.executable), "mailkit")
        command = shlex.quote(os.path.relpath(path)) if os.path.exists(path) else "mailkit"
        store = f"sqlite:{self.directory}"
        return command if store == DEFAULT_STORE else f"{command} --store {shlex.quote(store)}"


def log_observer(stream: TextIO) -> ILogObserver:
    """Shows what servers have to say, and nothing of the machinery below them."""
    levels = LogLevelFilterPredicate(LogLevel.warn)
    levels.setLogLevelForNamespace("mailkit", LogLevel.info)
    # How many connections fit matters to nobody who tries it out.
    levels.setLogLevelForNamespace("mailkit.tap", LogLevel.warn)
    return FilteringLogObserver(textFileLogObserver(stream), [levels])


class Running:
    """A demonstration from its start to its end."""

    def __init__(self, demo: Demo, reactor: Any) -> None:
        self._demo = demo
        self._reactor = reactor
        self._stopping = False
        self._failed: Failure | None = None

    def run(self) -> int:
        """Serve until Ctrl-C; the exit code."""
        self._reactor.addSystemEventTrigger("before", "shutdown", self._stop)
        self._reactor.callWhenRunning(stop_at_first_signal, self._reactor)
        self._reactor.callWhenRunning(self._welcome)
        self._reactor.run()
        if self._failed is not None:
            click.echo(f"mailkit: {self._failed.getErrorMessage()}", err=True)
            return 1
        click.echo("\nmailkit has stopped.")
        return 0

    def _welcome(self) -> None:
        Deferred.fromCoroutine(self._demo.make_accounts()).addCallbacks(self._tell, self._give_up)

    def _tell(self, accounts: dict[str, str]) -> None:
        if not self._stopping:
            click.echo(self._demo.banner(accounts))

    def _give_up(self, failure: Failure) -> None:
        # Whoever stops it at once closes the store under the accounts that are being made.
        if not self._stopping:
            self._failed = failure
            self._reactor.stop()

    def _stop(self) -> Deferred[None]:
        self._stopping = True
        return self._demo.service.stopService()


def main() -> int:
    """Run until Ctrl-C; the exit code. The one argument that may be is the directory for mail."""
    from twisted.internet import reactor

    directory = "".join(sys.argv[1:2]) or DIRECTORY
    globalLogBeginner.beginLoggingTo([log_observer(sys.stderr)], redirectStandardIO=False)
    raise_open_files_limit()
    return_large_allocations()
    try:
        demo = Demo(reactor, directory)
        demo.start()
    except StartError as error:
        click.echo(f"mailkit: {error}", err=True)
        return 1
    except SettingError as error:
        click.echo(f"mailkit: {directory}: {error}", err=True)
        return 1
    except OSError as error:
        click.echo(f"mailkit: {error.filename or directory}: {error.strerror}", err=True)
        return 1
    return Running(demo, reactor).run()
