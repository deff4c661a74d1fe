"""What tests with other people's clients share: servers in this process, and ``twistd``."""

from __future__ import annotations

import imaplib
import os
import poplib
import re
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from mailkit.interfaces import IMailbox
from mailkit.model import INBOX, AppendMessage
from mailkit.spool import Spool
from mailkit.store.memory import MemoryStore
from mailkit.tap.factories import PORT_NAMES
from mailkit.tap.tls import self_signed, server_context
from tests.support import HOST, PATIENCE, ServerProcess, administer, free_ports

ANN = "ann@example.test"
BOB = "bob@example.test"
#: Whole, so that submission adds no field; dots at the start of lines, octets above 127.
MESSAGE = (
    b"Subject: %b\r\nFrom: ann@example.test\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\n"
    b"Message-ID: <1@example.test>\r\nX-Long: " + b"x" * 900 + b"\r\n\r\n"
    b".one\r\n..two\r\n\xe4\xff\r\n"
)


def message(subject: str) -> bytes:
    return MESSAGE % subject.encode()


class ServerTestCase(SynchronousTestCase):
    """A store with Ann in it, and a way to serve it."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir(parents=True)
        self.store = f"sqlite:{self.directory}/store"
        self.add_account(ANN)

    def add_account(self, address: str, scheme: str = "plain") -> None:
        said = administer(
            self.store,
            *("account", "add", address, "--password-stdin", "--scheme", scheme),
            input=f"{address} secret\n",
        )
        self.assertEqual(said, f"Added {address}.\n")

    def serve(self, *arguments: str, ports: list[int]) -> ServerProcess:
        server = ServerProcess(self.directory, ports, *arguments, "--store", self.store)
        self.addCleanup(server.kill)
        return server.start()

    def stop(self, server: ServerProcess) -> None:
        # twistd ends itself with the signal that it got.
        self.assertIn(server.stop(), (0, -15), server.log)
        self.assertNotIn("Traceback", server.log)

    def run_program(self, *arguments: str, input: str = "") -> str:
        """What a program says, which must be installed and end well."""
        if shutil.which(arguments[0]) is None:
            raise SkipTest(f"{arguments[0]} is not installed")
        done = subprocess.run(
            arguments,
            input=input,
            capture_output=True,
            timeout=PATIENCE,
            text=True,
            cwd=self.directory,
            env={**os.environ, "HOME": str(self.directory)},
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def pop3(self, client: poplib.POP3, user: str = ANN) -> set[bytes]:
        """All messages, as POP3 gives them."""
        client.user(user)
        client.pass_(f"{user} secret")
        found = set()
        for number in range(1, client.stat()[0] + 1):
            found.add(b"".join(line + b"\r\n" for line in client.retr(number)[1]))
        client.quit()
        return found

    def imap(self, client: imaplib.IMAP4, user: str = ANN) -> set[bytes]:
        """All messages, as IMAP gives them."""
        client.login(user, f"{user} secret")
        client.select(readonly=True)
        _, data = client.fetch("1:*", "(BODY[])")
        client.logout()
        return {item[1] for item in data if isinstance(item, tuple)}

    def check(self, received: set[bytes], *subjects: str) -> None:
        """Each message is there, octet for octet, below the trace fields."""
        stripped = {re.sub(rb"\A(?:(?!Subject).*\r\n)*", b"", octets) for octets in received}
        self.assertEqual(stripped, {message(subject) for subject in subjects})
        self.assertEqual(len(received), len(subjects))


class WholeServerTestCase(ServerTestCase):
    """A server of every protocol over one store, plain and under TLS."""

    def setUp(self) -> None:
        super().setUp()
        self.ports = dict(zip(PORT_NAMES, free_ports(len(PORT_NAMES)), strict=True))
        certificate, key = self_signed(self.directory / "tls")
        self.trusted = ssl.create_default_context(cafile=certificate)
        lines = [f'{name} = "tcp:{port}:interface={HOST}"' for name, port in self.ports.items()]
        lines += [f'tls = ["{certificate}", "{key}"]', 'hostname = "mx.example.test"']
        self.config = self.directory / "mailkit.toml"
        self.config.write_text("\n".join(lines))

    def start(self) -> ServerProcess:
        ports = list(self.ports.values())
        return self.serve("mailkit", "--config", str(self.config), ports=ports)


_T = TypeVar("_T")


class ClientCase(TestCase):
    """Servers in this process, over a store in memory; clients run in threads, or as programs.

    :cvar user: whose mailboxes are meant where nobody is named.
    """

    user = ""

    async def setUp(self) -> None:
        self.directory = os.path.abspath(self.mktemp())
        os.mkdir(self.directory, 0o700)
        self.certificate, self.key = self_signed(self.directory)
        self.tls_context = server_context(self.certificate, self.key)
        self.store = MemoryStore()

    async def add_account(self, name: str, password: str) -> None:
        await self.store.add_account(name=name, password_hash="{PLAIN}" + password)

    def listen(self, factory: Any, *, tls: bool = False) -> int:
        """The port, on loopback, that a factory serves from now on."""
        if tls:
            factory = TLSMemoryBIOFactory(self.tls_context, False, factory)
        port = cast(Any, reactor).listenTCP(0, factory, interface=HOST)
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    def client_tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.certificate)

    async def mailbox(self, name: str = INBOX, user: str = "") -> Any:
        account = await self.store.open_account(name=user or self.user)
        return await account.open_mailbox(name=name)

    async def deliver(self, *messages: bytes) -> None:
        mailbox = await self.mailbox()
        await mailbox.append(
            messages=[AppendMessage(Spool.from_bytes(octets)) for octets in messages]
        )

    async def contents(self, name: str = INBOX, user: str = "") -> list[bytes]:
        """The messages of a mailbox."""
        mailbox: IMailbox = await self.mailbox(name, user)
        messages = []
        for uid in await mailbox.list_uids():
            with await mailbox.open_message(uid=uid) as file:
                messages.append(file.read())
        return messages

    async def in_thread(self, work: Callable[..., _T], *arguments: Any) -> _T:
        return await deferToThread(work, *arguments)

    async def run_program(
        self, *arguments: str, code: int = 0, input: bytes = b"", **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program, which must be installed, and end with that code.

        :param variables: more of its environment.
        """
        if shutil.which(arguments[0]) is None:
            raise SkipTest(f"{arguments[0]} is not installed")

        def work() -> subprocess.CompletedProcess[bytes]:
            return subprocess.run(
                arguments,
                input=input,
                capture_output=True,
                timeout=PATIENCE,
                cwd=self.directory,
                env={**os.environ, "HOME": self.directory, **variables},
                check=False,
            )

        done = await self.in_thread(work)
        output = (done.stdout + done.stderr).decode("utf-8", "replace")
        self.assertEqual(done.returncode, code, output)
        return done
