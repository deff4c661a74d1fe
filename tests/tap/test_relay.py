"""``twistd mailkit-relay``, and ``--relay-from``: mail that trusted clients bring goes to anybody."""

from __future__ import annotations

import os
import smtplib
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit.queue.values import RecipientState
from mailkit.tap.relaying import Options, makeService

from ..queue.servers import ScriptedServer

reactor: Any = _reactor
HOST = "127.0.0.1"
LISTEN = ["--listen", "tcp:0:interface=127.0.0.1"]


class OptionTests(SynchronousTestCase):
    def parse(self, *arguments: str) -> Options:
        options = Options()
        options.parseOptions(arguments)
        return options

    def test_the_queue_of_a_store_that_others_fill_needs_no_endpoint(self) -> None:
        options = self.parse("--store", "memory:")
        assert options.relay is not None
        self.assertEqual((options.relay.target, options.relay.trusted), ("mx", []))

    def test_defaults(self) -> None:
        options = self.parse(*LISTEN, "--store", "memory:", "--relay-from", "192.0.2.0/24")
        assert options.relay is not None
        self.assertEqual(options.relay.target, "mx")
        self.assertEqual(options.relay.trusted, ["192.0.2.0/24"])
        self.assertEqual(options.tables["checks"], {"rates": {"exempt": ["192.0.2.0/24"]}})

    def test_bad_networks(self) -> None:
        arguments = [*LISTEN, "--store", "memory:", "--relay-from", "x"]
        error = self.assertRaises(usage.UsageError, self.parse, *arguments)
        self.assertIn("--relay-from: 'x' is no network", str(error))

    def test_settings_file(self) -> None:
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:
            file.write(
                'smtp = "tcp:0:interface=127.0.0.1"\nstore = "memory:"\nrelay-from = "127.0.0.1"\n'
                '[[queue.routes]]\nto = "smtp:gate.example.net"\ndomains = "example.net"\n'
            )
        options = self.parse("--config", path)
        assert options.relay is not None
        self.assertEqual(options.relay.trusted, ["127.0.0.1"])
        self.assertEqual(len(options.relay.table["routes"]), 1)


class ServiceTests(TestCase):
    async def start(self, *arguments: str, script: Any = None) -> None:
        self.remote = ScriptedServer(script)
        port = reactor.listenTCP(0, self.remote, interface=HOST)
        self.addCleanup(port.stopListening)
        options = Options()
        options.parseOptions(
            [
                *LISTEN,
                *("--store", f"sqlite:{os.path.abspath(self.mktemp())}"),
                *("--relay", f"{HOST}:{port.getHost().port}", "--hostname", "relay.example.org"),
                *arguments,
            ]
        )
        self.service: Any = makeService(options)
        self.service.startService()
        self.addCleanup(self.service.stopService)
        listening = next(iter(self.service))
        self.number = (await listening._waitingForPort).getHost().port

    async def send(self, *recipients: str, sender: str = "app@example.org") -> None:
        def work() -> None:
            with smtplib.SMTP(HOST, self.number) as client:
                client.sendmail(sender, recipients, b"Subject: hi\r\n\r\nhi\r\n")

        await deferToThread(work)

    async def states(self) -> list[tuple[str, RecipientState]]:
        """What waits, and what did."""
        messages = await self.service.store.queue.list_messages(finished=True)
        return [
            (str(each.recipient.path), each.state)
            for message in messages
            for each in message.recipients
        ]

    async def wait_for(self, state: RecipientState, count: int) -> None:
        while [found for _, found in await self.states()].count(state) < count:
            await deferLater(reactor, 0.01)

    async def test_trusted_clients(self) -> None:
        await self.start("--relay-from", HOST)
        await self.send("eve@example.net", "joe@example.com")
        await self.wait_for(RecipientState.DELIVERED, 2)
        self.assertEqual(self.remote.names[:1], ["relay.example.org"])
        self.assertEqual(self.remote.messages, 2)
        # Reports go to the sender; that nobody has logged in stays known.
        (message,) = await self.service.store.queue.list_messages(finished=True)
        envelope = message.envelope
        self.assertEqual((envelope.account, envelope.trusted), ("app@example.org", True))

    async def test_nobody_else(self) -> None:
        await self.start("--relay-from", "192.0.2.1")
        with self.assertRaises(smtplib.SMTPRecipientsRefused) as caught:
            await self.send("eve@example.net")
        ((code, text),) = caught.exception.recipients.values()
        self.assertEqual((code, text[:5]), (550, b"5.7.1"))
        self.assertEqual(await self.states(), [])

    async def test_failures_are_told_to_the_sender(self) -> None:
        await self.start("--relay-from", HOST, script={"RCPT": ["550 5.1.1 unknown"]})
        await self.send("eve@example.net")
        await self.wait_for(RecipientState.DELIVERED, 1)
        self.assertEqual(
            await self.states(),
            [
                ("eve@example.net", RecipientState.FAILED),
                ("app@example.org", RecipientState.DELIVERED),
            ],
        )
        # None about a report.
        self.remote.script = {"RCPT": ["550 5.1.1 unknown"]}
        await self.send("eve@example.net", sender="")
        await self.wait_for(RecipientState.FAILED, 2)
        self.assertEqual(len(await self.states()), 3)
