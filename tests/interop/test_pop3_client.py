"""The POP3 client with Dovecot and with our own server: TLS, APOP, the corpus, deleting."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any

import pytest
from twisted.trial.unittest import SkipTest, TestCase

from mailkit.auth.portal import make_portal
from mailkit.client import protocol
from mailkit.imap import client as imap
from mailkit.pop3.client import (
    ClientSettings,
    Credentials,
    Refused,
    Session,
    TLSPolicy,
    connect,
)
from mailkit.pop3.protocol import POP3Factory
from mailkit.tap.tls import self_signed
from tests.interop import dovecot
from tests.interop.client_cases import LoginCases
from tests.interop.support import ClientCase
from tests.mime import corpus
from tests.support import HOST

pytestmark = pytest.mark.interop

USER = "ann@example.test"
MESSAGES = [
    b"Subject: one\r\n\r\n.\r\n..two dots\r\nend\r\n",
    b"Subject: two\r\n\r\n" + b".line\r\n" * 50_000,
    b"Subject: three\r\n\r\n\xe4\xff\r\n",
]


class Cases(LoginCases):
    """What every server must do for the client."""

    #: Octets of a message that its size may lack.
    uncounted: tuple[int, ...] = (0,)

    async def leave(self, session: Session) -> None:
        await session.quit()

    async def put(self, messages: Sequence[bytes]) -> None:
        """Into the maildrop."""
        raise NotImplementedError

    async def test_messages(self) -> None:
        case: Any = self
        await self.put(MESSAGES)
        session = await self.session()
        case.assertEqual(await session.stat(), (3, sum(map(len, MESSAGES))))
        sizes, names = await session.list(), await session.uidl()
        case.assertEqual(list(sizes.values()), [len(each) for each in MESSAGES])
        case.assertEqual(await session.unique_id(2), names[2])
        case.assertEqual((await session.retr(1)).octets(), MESSAGES[0])
        case.assertEqual((await session.top(1, 1)).octets(), b"Subject: one\r\n\r\n.\r\n")
        streamed = b"".join([piece async for piece in session.stream(2)])
        case.assertEqual(streamed, MESSAGES[1])
        await session.dele(2)
        try:
            await session.retr(2)
        except Refused:
            pass
        case.assertTrue((await session.quit()).removed)
        session = await self.session()
        case.assertEqual(sorted((await session.uidl()).values()), sorted((names[1], names[3])))
        await session.dele(1)
        await session.rset()
        case.assertEqual((await session.stat()).messages, 2)

    @pytest.mark.slow
    async def test_the_corpus(self) -> None:
        case: Any = self
        if corpus.MISSING:
            raise SkipTest(corpus.MISSING)
        messages = [octets for _, octets in corpus.messages()]
        await self.put(messages)
        session = await self.session()
        sizes = await session.list()
        count = 0
        async for message in session.fetch(sizes):
            expected = self.sent(messages[message.number - 1])
            assert message.content is not None
            case.assertEqual(message.content.octets(), expected, message.number)
            # Dovecot does not count the line end that it adds.
            case.assertIn(len(expected) - sizes[message.number], self.uncounted, message.number)
            count += 1
        case.assertEqual(count, len(messages))

    def sent(self, octets: bytes) -> bytes:
        """What the server makes of a message: POP3 ends each with a line end."""
        return octets if octets.endswith(b"\r\n") or not octets else octets + b"\r\n"


class DovecotTests(Cases, TestCase):
    skip = dovecot.POP3_MISSING or None
    uncounted = (0, 2)

    def setUp(self) -> None:
        self.certificate, key = self_signed(os.path.abspath(self.mktemp()))
        self.server = dovecot.Dovecot(
            USER, tls=(self.certificate, key), pop3=True, mechanisms="plain apop"
        ).start()
        self.addCleanup(self.server.stop)

    async def connect(self, policy: TLSPolicy, password: str = "", **more: Any) -> Session:
        port = self.server.pop3s_port if policy.implicit else self.server.pop3_port
        settings = ClientSettings(policy, Credentials(USER, password or "x"), **more)
        return await connect(f"{HOST}:{port}", settings)

    async def put(self, messages: Sequence[bytes]) -> None:
        settings = imap.ClientSettings(TLSPolicy.required(), Credentials(USER, "x"))
        session = await imap.connect(f"{HOST}:{self.server.imap_port}", settings)
        for octets in messages:
            await session.append("INBOX", io.BytesIO(octets))
        await session.logout()

    async def test_without_sasl(self) -> None:
        session = await self.connect(TLSPolicy.required(), mechanisms={})
        self.assertEqual(session.facts.mechanism, "USER")
        await session.quit()
        # As if somebody could listen.
        self.patch(protocol, "is_loopback", lambda host: False)
        session = await self.connect(
            TLSPolicy.none(), mechanisms={}, allow_plaintext_passwords=True
        )
        self.assertEqual(session.facts.mechanism, "APOP")
        await session.quit()

    def sent(self, octets: bytes) -> bytes:
        # A Maildir has line feeds; Dovecot sends CRLF for each, and an octet 0x80 for NUL.
        kept = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n").replace(b"\0", b"\x80")
        return super().sent(kept)


class OurServerTests(Cases, ClientCase):
    user = USER

    async def setUp(self) -> None:
        await super().setUp()
        await self.add_account(USER, "x")
        factory = POP3Factory(make_portal(self.store), tls_context=self.tls_context)
        self.port, self.tls_port = self.listen(factory), self.listen(factory, tls=True)

    async def connect(self, policy: TLSPolicy, password: str = "") -> Session:
        port = self.tls_port if policy.implicit else self.port
        settings = ClientSettings(policy, Credentials(USER, password or "x"))
        return await connect(f"{HOST}:{port}", settings)

    async def put(self, messages: Sequence[bytes]) -> None:
        await self.deliver(*messages)
