"""Extensions of SMTP over real sockets: BDAT in any packets, swaks, smtplib, Exim."""

from __future__ import annotations

import os
import smtplib
import socket
from typing import Any, cast

import pytest
from twisted.internet import reactor

from mailkit.auth.portal import make_portal
from mailkit.delivery.local import LocalMessageDelivery
from mailkit.delivery.owners import local_abilities
from mailkit.model import Ability
from mailkit.smtp.extensions.chunking import bdat
from mailkit.smtp.extensions.settings import Access, ExtensionSettings
from mailkit.smtp.protocol import SMTPFactory, SMTPProtocol
from tests.interop.exim import MISSING as NO_EXIM
from tests.interop.exim import Exim
from tests.interop.support import ClientCase
from tests.smtp.fakes import Server
from tests.support import HOST, until

ANN, BOB = "ann@example.org", "bob@example.org"


class ExtensionCase(ClientCase):
    """A server that tells who is there, for two users and an alias."""

    async def setUp(self) -> None:
        await super().setUp()
        for name in (ANN, BOB):
            await self.add_account(name, "secret")
        await self.store.add_alias(alias="team@example.org", targets=[ANN, BOB])
        portal = make_portal(
            self.store,
            deliveries=lambda account, _: LocalMessageDelivery(self.store, self.store, account),
            abilities=local_abilities(self.store),
        )
        settings: dict[str, Any] = {"hostname": "mx.example.org", "tls_context": self.tls_context}
        told = ExtensionSettings(vrfy=Access.EVERYONE, expn=Access.EVERYONE)
        self.port = self.listen(SMTPFactory(portal, extensions=told, **settings))

    async def only_message(self, name: str) -> bytes:
        (message,) = await self.contents(user=name)
        return message


class ChunkingTests(ExtensionCase):
    def send(self, content: bytes, packet: int, chunks: int) -> list[str]:
        """The replies to a message in chunks, all octets sent ahead in packets of a size."""
        pieces = [
            content[i * len(content) // chunks : (i + 1) * len(content) // chunks]
            for i in range(chunks)
        ]
        octets = b"EHLO a\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<ann@example.org>\r\n"
        for number, piece in enumerate(pieces):
            last = b" LAST" if number == chunks - 1 else b""
            octets += b"BDAT %d%b\r\n%b" % (len(piece), last, piece)
        octets += b"QUIT\r\n"
        with socket.create_connection((HOST, self.port), 60) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start in range(0, len(octets), packet):
                client.sendall(octets[start : start + packet])
            answer = b""
            while more := client.recv(65536):
                answer += more
        lines = answer.decode().splitlines()
        return [line[:3] for line in lines if line[3:4] == " "]

    async def test_packets_and_chunks(self) -> None:
        content = b"Subject: x\r\n\r\n" + b"".join(
            b".%d " % n + b"x" * (n % 900) + b"\r\n" for n in range(3000)
        )
        for count, (packet, chunks) in enumerate(((65536, 1), (1461, 40), (977, 7)), 1):
            replies = await self.in_thread(self.send, content, packet, chunks)
            self.assertEqual(replies, ["220", "250", "250", "250", *["250"] * chunks, "221"])
            messages = await self.contents(user=ANN)
            self.assertEqual(len(messages), count)
            self.assertTrue(messages[-1].endswith(content))


class SmtplibTests(ExtensionCase):
    def queries(self) -> tuple[Any, ...]:
        with smtplib.SMTP(HOST, self.port, timeout=60) as client:
            client.ehlo("client.example")
            names = set(client.esmtp_features)
            return (
                names,
                client.verify("ann"),
                client.verify("eve"),
                client.expn("team@example.org"),
            )

    async def test_queries(self) -> None:
        names, known, unknown, members = await self.in_thread(self.queries)
        self.assertLessEqual({"chunking", "limits", "deliverby", "rrvs", "vrfy", "expn"}, names)
        self.assertNotIn("requiretls", names)
        self.assertEqual(known, (250, b"2.1.5 <ann@example.org>"))
        self.assertEqual(unknown[0], 550)
        self.assertEqual(members, (250, b"2.1.5 <ann@example.org>\n2.1.5 <bob@example.org>"))

    def parameters(self) -> None:
        with smtplib.SMTP(HOST, self.port, timeout=60) as client:
            client.starttls(context=self.client_tls())
            client.ehlo("client.example")
            assert client.has_extn("requiretls")
            client.sendmail(
                "a@example.net",
                ANN,
                b"Subject: x\r\n\r\nhi\r\n",
                mail_options=["REQUIRETLS", "BY=120;R", "BODY=8BITMIME"],
                rcpt_options=["RRVS=2999-01-01T00:00:00Z"],
            )

    async def test_parameters(self) -> None:
        await self.in_thread(self.parameters)
        self.assertTrue((await self.only_message(ANN)).endswith(b"\r\n\r\nhi\r\n"))

    def too_young(self) -> int:
        with smtplib.SMTP(HOST, self.port, timeout=60) as client:
            client.ehlo("client.example")
            client.mail("a@example.net")
            return client.rcpt(ANN, ["RRVS=2000-01-01T00:00:00Z"])[0]

    async def test_an_account_that_is_younger(self) -> None:
        self.assertEqual(await self.in_thread(self.too_young), 550)


class SwaksTests(ExtensionCase):
    async def test_message(self) -> None:
        await self.run_program(
            *("swaks", "--server", HOST, "--port", str(self.port), "--tls", "--silent", "1"),
            *("--helo", "client.example", "--to", ANN),
            *("--from", "a@example.net"),
        )
        self.assertIn(b"This is a test mailing", await self.only_message(ANN))


@pytest.mark.skipif(bool(NO_EXIM), reason=NO_EXIM)
class EximTests(ClientCase):
    """An Exim that passes mail on to us, by BDAT, with what its client asks for."""

    async def setUp(self) -> None:
        await super().setUp()
        self.sink = Server(abilities=[Ability.DSN])
        self.sink.factory.clock = cast(Any, reactor)
        commands = dict(self.sink.factory.commands)
        self.chunks = 0
        commands[b"BDAT"] = commands[b"BDAT"]._replace(run=self._count)
        self.sink.factory.commands = commands
        key = os.path.join(self.directory, "key.pem")
        self.exim = Exim(self.listen(self.sink.factory), self.certificate, key)
        self.addCleanup(self.exim.stop)
        self.exim.start()

    def _count(self, connection: SMTPProtocol, argument: bytes) -> None:
        self.chunks += 1
        bdat(connection, argument)

    def send(self, content: bytes) -> None:
        with smtplib.SMTP(HOST, self.exim.port, timeout=60) as client:
            client.sendmail(
                "a@example.net",
                "bob@example.test",
                content,
                mail_options=["RET=HDRS", "ENVID=a+2Bb", "BODY=8BITMIME"],
                rcpt_options=["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;Bob@example.test"],
            )

    async def test_chunks_and_reports(self) -> None:
        content = (
            b"From: a@example.net\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\n"
            b"Message-ID: <1@example.net>\r\n\r\n.\r\n..\r\n" + b"\xe4\xff x\r\n" * 200_000
        )
        await self.in_thread(self.send, content)
        received = self.sink.delivery.received
        await until(lambda: bool(received))
        ((envelope, message),) = received
        self.assertTrue(message.endswith(content[content.index(b"\r\n\r\n") :]))
        self.assertGreater(self.chunks, 0)
        self.assertEqual((envelope.ret, envelope.envid), ("HDRS", "a+b"))
        (recipient,) = envelope.recipients
        self.assertEqual(recipient.notify, {"SUCCESS", "DELAY"})
        self.assertEqual(recipient.orcpt, ("rfc822", "Bob@example.test"))
