"""Hooks on a real reactor: slow ones, threads, TLS, and clients that send ahead."""

from __future__ import annotations

import smtplib
import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from mailkit.auth.portal import make_portal
from mailkit.delivery.local import LocalMessageDelivery
from mailkit.hooks import AddHeader, ChangeHeader, MailHook, Quarantine, Reject
from mailkit.smtp.protocol import SMTPFactory
from tests.interop.support import ClientCase
from tests.support import until

ANN = "ann@example.org"


class SlowHook(MailHook):
    """Takes its time in each step: less for later messages, so that answers overtake others."""

    def __init__(self) -> None:
        self.delay = 0.02
        self.ends: list[str] = []
        self.tls = ""

    async def _wait(self) -> None:
        self.delay *= 0.99
        await deferLater(reactor, self.delay)

    async def connect(self, session: Any) -> None:
        await self._wait()

    async def ehlo(self, session: Any) -> None:
        await self._wait()

    async def rcpt(self, session: Any, envelope: Any, recipient: Any) -> Any:
        await self._wait()
        return Reject("Not him") if recipient.path.local_part == "eve" else None

    async def header(self, session: Any, envelope: Any, fields: Any) -> Any:
        await self._wait()
        return AddHeader("X-Fields", str(len(fields)), None)

    async def message(self, session: Any, envelope: Any, message: Any) -> Any:
        self.tls = session.tls_version
        with message.open() as file:
            octets = await deferToThread(file.read)
        if b"spam" in octets:
            return [Quarantine("spam"), ChangeHeader("Subject", "[spam]")]
        return Reject("A virus") if b"virus" in octets else None

    async def delivered(self, session: Any, envelope: Any, outcomes: Any) -> None:
        await self._wait()
        self.ends.append("delivered")

    def disconnect(self, session: Any) -> None:
        self.ends.append("disconnect")


class HookedClientTests(ClientCase):
    user = ANN

    async def setUp(self) -> None:
        await super().setUp()
        for name in (ANN, "eve@example.org"):
            await self.add_account(name, "secret")
        portal = make_portal(
            self.store,
            deliveries=lambda account, _: LocalMessageDelivery(self.store, self.store, account),
        )
        self.hook = SlowHook()
        self.factory = SMTPFactory(portal, hooks=[self.hook], tls_context=self.tls_context)
        self.port = self.listen(self.factory)

    async def ended(self) -> None:
        """Until the hook has heard of the client's end, and is done with its deliveries."""
        hooks = self.factory.hook_set
        assert hooks is not None
        await until(lambda: "disconnect" in self.hook.ends and not hooks.at_work)

    async def test_everything_sent_ahead(self) -> None:
        transaction = (
            "MAIL FROM:<a@example.net>\r\nRCPT TO:<ann@example.org>\r\nRCPT TO:<eve@example.org>\r\n"
            "DATA\r\nSubject: {0}\r\n\r\n{0}\r\n.\r\n"
        )
        words = ["one", "spam", "virus", "two"] * 5
        wire = "EHLO x.example\r\n" + "".join(map(transaction.format, words)) + "QUIT\r\n"

        def talk() -> list[str]:
            with socket.create_connection(("127.0.0.1", self.port), 60) as connection:
                connection.sendall(wire.encode())
                with connection.makefile("r", newline="\r\n") as stream:
                    return [line[:3] for line in stream if line[3] == " "]

        answers = await self.in_thread(talk)
        expected = ["220", "250"]
        for word in words:
            expected += ["250", "250", "550", "354", "550" if word == "virus" else "250"]
        self.assertEqual(answers, [*expected, "221"])
        await self.ended()
        inbox, junk = await self.contents(), await self.contents("Junk")
        self.assertEqual((len(inbox), len(junk)), (10, 5))
        for message in inbox:
            self.assertIn(b"\r\nX-Fields: 1\r\n\r\n", message)
            self.assertRegex(message, rb"\r\nX-Mailkit-Hooks: SlowHook header add-header \(X-F")
        self.assertTrue(all(b"\r\nSubject: [spam]\r\n" in message for message in junk))

    async def test_under_tls(self) -> None:
        def send() -> None:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=60) as client:
                client.starttls(context=self.client_tls())
                client.sendmail("a@example.net", [ANN], b"Subject: hello\r\n\r\nhello\r\n")
                with self.assertRaises(smtplib.SMTPDataError) as raised:
                    client.sendmail("a@example.net", [ANN], b"Subject: x\r\n\r\na virus\r\n")
                self.assertEqual(raised.exception.smtp_error, b"5.7.1 A virus")

        await self.in_thread(send)
        self.assertRegex(self.hook.tls, "TLSv1")
        await self.ended()
        self.assertEqual(len(await self.contents()), 1)
