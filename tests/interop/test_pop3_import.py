"""``mailkit import pop3`` from Dovecot: octet for octet, each message once, kill -9 included."""

from __future__ import annotations

import contextlib
import io
import os
import poplib
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from mailkit.client.security import TLSPolicy
from mailkit.imap import client as imap
from mailkit.pop3.client import ClientSettings, connect
from mailkit.store.sqlite import SQLiteStore
from mailkit.tap.tls import self_signed
from tests.interop import dovecot
from tests.interop.test_sasl_clients import KEY, make_token
from tests.support import (
    HOST,
    PATIENCE,
    ServerProcess,
    environment,
    free_ports,
    mailkit_command,
)

pytestmark = pytest.mark.interop

USER = "old@example.test"
ANN = "ann@example.test"
COUNT = 80


def message(number: int) -> bytes:
    """The tenth is large."""
    text = b".line %d\r\n" % number * (40_000 if number % 50 == 9 else 10)
    return b"Received: from a by b; Thu, 01 Jan 2026 00:%02d:00 +0000\r\nSubject: %d\r\n\r\n%b" % (
        number % 60,
        number,
        text,
    )


class DovecotTests(TestCase):
    skip = dovecot.POP3_MISSING or None

    async def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        self.certificate, key = self_signed(self.directory)
        self.server = dovecot.Dovecot(USER, tls=(self.certificate, key), pop3=True).start()
        self.addCleanup(self.server.stop)
        self.messages = [message(number) for number in range(COUNT)]
        settings = imap.ClientSettings(TLSPolicy.required(), imap.Credentials(USER, "x"))
        session = await imap.connect(f"{HOST}:{self.server.imap_port}", settings)
        await session.append("INBOX", *[io.BytesIO(octets) for octets in self.messages])
        await session.logout()
        self.store = f"{self.directory}/store"
        await deferToThread(
            mailkit_command,
            *("--store", f"sqlite:{self.store}", "account", "add", ANN),
            *("--password-stdin", "--scheme", "plain"),
            input="secret\n",
        )
        self.arguments = [
            *("--store", f"sqlite:{self.store}", "import", "pop3", ANN, "--host", HOST),
            *("--port", str(self.server.pop3s_port), "--user", USER, "--tls-unverified"),
            *("--batch", "10"),
        ]

    async def fetch(self, *options: str) -> str:
        """Run the command to its end; what it says."""
        done: Any = await deferToThread(
            mailkit_command, *self.arguments, "--password-stdin", *options, input="x\n"
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return str(done.stdout)

    async def stored(self) -> list[tuple[int, bytes]]:
        """Arrival and octets of what is there now."""
        store = SQLiteStore(self.store)
        store.open()
        account = await store.open_account(name=ANN)
        mailbox = await account.open_mailbox(name="INBOX")
        found = []
        for info in await mailbox.get_messages(uids=await mailbox.list_uids()):
            with await mailbox.open_message(uid=info.uid) as file:
                found.append((info.internal_date, file.read()))
        await store.close()
        return found

    def left(self) -> int:
        """Messages that are still at the server."""
        context = ssl.create_default_context(cafile=self.certificate)
        context.check_hostname = False
        client = poplib.POP3_SSL(HOST, self.server.pop3s_port, context=context, timeout=PATIENCE)
        client.user(USER)
        client.pass_("x")
        count = client.stat()[0]
        client.quit()
        return int(count)

    async def test_each_message_once(self) -> None:
        said = await self.fetch()
        self.assertIn(f"Fetched {COUNT} messages", said)
        found = await self.stored()
        self.assertEqual([octets for _, octets in found], self.messages)
        self.assertEqual(found[1][0], 1767225660)
        self.assertIn(f"{COUNT} of {COUNT} were known", await self.fetch())
        # The same server by another name.
        self.assertIn(f"{COUNT} of {COUNT} were known", await self.fetch("--host", "localhost"))
        self.assertIn(f"{COUNT} were deleted", await self.fetch("--delete"))
        self.assertEqual((await deferToThread(self.left), len(await self.stored())), (0, COUNT))

    async def test_killed_again_and_again(self) -> None:
        kept = 0
        for batches in (1, 3, 4):
            kept += await deferToThread(self.kill_after, batches)
        await self.fetch("--delete")
        found = [octets for _, octets in await self.stored()]
        self.assertEqual(sorted(found), sorted(self.messages))
        self.assertEqual(await deferToThread(self.left), 0)
        # How far it comes until it is dead is up to the processor.
        self.assertGreaterEqual(kept, 1)

    async def test_beside_a_server(self) -> None:
        (port,) = free_ports(1)
        listening = f"tcp:{port}:interface={HOST}"
        arguments = ("mailkit", "--store", f"sqlite:{self.store}", "--pop3", listening)
        server = ServerProcess(self.directory, [port], *arguments)
        self.addCleanup(server.kill)
        await deferToThread(server.start)
        self.assertIn(f"Fetched {COUNT} messages", await self.fetch())
        settings = ClientSettings(TLSPolicy.none(), imap.Credentials(ANN, "secret"))
        session = await connect(f"{HOST}:{port}", settings)
        found = [each.content async for each in session.fetch(await session.list())]
        await session.quit()
        self.assertEqual([each and each.octets() for each in found], self.messages)
        self.assertIn(f"{COUNT} of {COUNT} were known", await self.fetch("--delete"))

    def kill_after(self, batches: int) -> int:
        """Kill the command when it has told of so many batches; how many it told of."""
        program = subprocess.Popen(
            [
                *(sys.executable, "-m", "mailkit.tap.command", *self.arguments),
                *("--delete", "--password-env", "OLD_PASSWORD"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # What it has in files when it is killed stays there.
            env={**environment(), "OLD_PASSWORD": "x", "TMPDIR": str(self.directory)},
        )
        assert program.stderr is not None
        told = 0
        with contextlib.closing(program.stderr):
            while told < batches and program.stderr.readline():
                told += 1
            os.kill(program.pid, signal.SIGKILL)
            program.wait(PATIENCE)
        return told


class LoginTests(TestCase):
    """Ways to log in, to a maildrop with nothing in it."""

    skip = dovecot.POP3_MISSING or None

    async def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        certificate = self_signed(self.directory)
        self.server = dovecot.Dovecot(
            ANN,
            tls=certificate,
            pop3=True,
            mechanisms="PLAIN SCRAM-SHA-256 OAUTHBEARER",
            token_key=KEY,
        ).start()
        self.addCleanup(self.server.stop)
        self.store = f"sqlite:{self.directory}/store"
        self.assertEqual(
            (
                await self.run_command(
                    "account", "add", ANN, "--password-stdin", "--scheme", "plain"
                )
            ).returncode,
            0,
        )

    async def run_command(self, *arguments: str) -> Any:
        return await deferToThread(
            mailkit_command, "--store", self.store, *arguments, input=f"{ANN} secret\n"
        )

    async def fetch(self, *options: str) -> Any:
        return await self.run_command(
            *("import", "pop3", ANN, "--host", HOST, "--port", str(self.server.pop3s_port)),
            *("--user", ANN, "--tls-unverified", *options),
        )

    async def test_ways(self) -> None:
        (self.directory / "token").write_text(make_token() + "\n")
        (self.directory / "password").write_text("x\n")
        token, password = f"{self.directory}/token", f"{self.directory}/password"
        for options, method in (
            (("--token-command", f"cat {token}"), "OAUTHBEARER"),
            (("--password-file", password), "SCRAM-SHA-256"),
        ):
            before = self.server.log.count(f"method={method},")
            done = await self.fetch(*options)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(self.server.log.count(f"method={method},"), before + 1, options)
        # USER would be another way.
        done = await self.fetch("--password-file", password, "--mechanism", "SCRAM-SHA-512")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no authentication mechanism", done.stderr)
