"""The client with Dovecot's LMTP, with smtp-sink in its many moods, and with aiosmtpd."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from mailkit.smtp.client import (
    AuthFailed,
    ClientError,
    ClientSettings,
    Credentials,
    SendFailed,
    SendResult,
    TLSFailed,
    TLSPolicy,
    asyncio_sendmail,
    connect,
    make_envelope,
    sendmail,
)
from mailkit.tap.tls import self_signed
from tests.interop.dovecot import MISSING as NO_DOVECOT
from tests.interop.dovecot import Dovecot
from tests.support import HOST, PATIENCE, free_ports, listens

try:
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult
except ImportError:
    NO_AIOSMTPD: str | None = "aiosmtpd is not installed (pip install .[test])"
else:
    NO_AIOSMTPD = None

SENDER = "ann@example.net"
BOB, CAT, DAN = "bob@example.test", "cat@example.test", "dan@example.test"
CLEAR = ClientSettings(helo="client.example", tls=TLSPolicy.none())
MESSAGE = b"From: <ann@example.net>\r\nSubject: hi\r\n\r\n.one\r\n..two\r\n\xe4\xff\r\n"

_T = TypeVar("_T")


@pytest.mark.interop
class DovecotTests(TestCase):
    skip = NO_DOVECOT or None

    def setUp(self) -> None:
        self.dovecot = Dovecot(BOB, CAT, DAN)
        self.addCleanup(self.dovecot.stop)
        self.dovecot.start()
        self.settings = replace(CLEAR, lmtp=True)
        self.servers = (f"{HOST}:{self.dovecot.port}", f"unix:{self.dovecot.socket}")

    def check(self, user: str, message: bytes, count: int = 1) -> None:
        found = self.dovecot.messages(user)
        self.assertEqual(len(found), count, self.dovecot.log)
        for each in found:
            # Return-Path, Delivered-To and Received come before.
            self.assertTrue(each.endswith(b"\n" + message.replace(b"\r\n", b"\n")), each)

    async def test_by_tcp_and_unix_socket(self) -> None:
        for server in self.servers:
            result = await sendmail(server, SENDER, [BOB, CAT], MESSAGE, self.settings)
            self.assertEqual([o.enhanced for o in result.outcomes], ["2.0.0", "2.0.0"])
            self.assertEqual(result.facts.protocol, "LMTP")
            self.assertTrue(result.facts.extensions.chunking)
        self.check(BOB, MESSAGE, 2)
        self.check(CAT, MESSAGE, 2)

    async def test_by_data(self) -> None:
        settings = replace(self.settings, chunking=False)
        await sendmail(self.servers[0], SENDER, [BOB, CAT], MESSAGE, settings)
        self.check(CAT, MESSAGE)

    async def test_each_recipient_by_itself(self) -> None:
        session = await connect(self.servers[0], self.settings)
        fill = MESSAGE + b"x" * 70 * 1024 + b"\r\n"
        filled = await session.send(make_envelope(SENDER, CAT), fill)
        self.assertTrue(filled.accepted)
        for chunking in (True, False):
            session = await connect(self.servers[0], replace(self.settings, chunking=chunking))
            recipients = [BOB, "nobody@example.test", CAT, DAN]
            result = await session.send(make_envelope(SENDER, recipients), fill)
            codes = [(o.status.value, o.command) for o in result.outcomes]
            if chunking:
                self.assertEqual(codes[0], ("accepted", "end of data"))
                self.assertEqual(codes[3], ("accepted", "end of data"))
            self.assertEqual(codes[1], ("permanent", "RCPT"))
            # Over quota is told at RCPT or at the end, for now or for good, as it is set up.
            self.assertNotEqual(codes[2][0], "accepted")
            self.assertIn("uota", result.outcomes[2].text)
            await session.quit()

    async def test_several_messages(self) -> None:
        session = await connect(self.servers[1], self.settings)
        for number in range(5):
            message = MESSAGE + b"%d\r\n" % number
            result = await session.send(make_envelope(SENDER, BOB), message)
            self.assertTrue(result.accepted)
            self.assertTrue(await session.check())
        await session.quit()
        self.assertEqual(len(self.dovecot.messages(BOB)), 5)

    async def test_asyncio(self) -> None:
        def work() -> SendResult:
            return asyncio.run(
                asyncio_sendmail(self.servers[1], SENDER, [BOB, CAT], MESSAGE, self.settings)
            )

        result = await deferToThread(work)
        self.assertEqual(len(result.accepted), 2)
        self.check(BOB, MESSAGE)


@pytest.mark.interop
class SinkTests(TestCase):
    """smtp-sink, from Debian's package postfix, plays servers that lack or refuse things."""

    skip = None if shutil.which("smtp-sink") else "smtp-sink (of postfix) is not installed"

    def start(self, *options: str) -> str:
        (port,) = free_ports(1)
        # Not below the test's own directory, where another user could not write.
        self.directory = Path(tempfile.mkdtemp(prefix="sink-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.directory.chmod(0o777)
        command = ["smtp-sink", "-u", "nobody", "-R", str(self.directory), "-d", "m.%M%S."]
        sink = subprocess.Popen([*command, *options, f"{HOST}:{port}", "10"])
        self.addCleanup(sink.wait, PATIENCE)
        self.addCleanup(sink.kill)
        give_up = time.monotonic() + PATIENCE
        while not listens(port):
            self.assertLess(time.monotonic(), give_up)
            time.sleep(0.02)
        return f"{HOST}:{port}"

    def dumped(self) -> list[bytes]:
        """The messages, with bare LFs, below the envelope that the sink writes before them."""
        return [path.read_bytes() for path in self.directory.iterdir()]

    async def test_without_esmtp(self) -> None:
        result = await sendmail(self.start("-e"), SENDER, BOB, MESSAGE, CLEAR)
        self.assertEqual(result.facts.protocol, "SMTP")
        self.assertTrue(result.converted)

    async def test_without_8bitmime_the_message_is_converted(self) -> None:
        server = self.start("-8")
        result = await sendmail(server, SENDER, BOB, MESSAGE, CLEAR)
        self.assertTrue(result.converted)
        (dump,) = self.dumped()
        start = dump.index(b"From: <ann")
        parsed = email.message_from_bytes(dump[start:])
        self.assertTrue(dump.isascii())
        self.assertEqual(parsed["Content-Transfer-Encoding"], "quoted-printable")
        body = cast(bytes, parsed.get_payload(decode=True))
        self.assertEqual(body.rstrip(b"\n"), b".one\n..two\n\xe4\xff")

    async def test_with_and_without_pipelining(self) -> None:
        for options in ((), ("-p",)):
            server = self.start(*options)
            result = await sendmail(server, SENDER, [BOB, CAT], MESSAGE, CLEAR)
            self.assertEqual(result.facts.extensions.pipelining, not options)
            self.assertEqual(len(result.accepted), 2)

    async def test_slow_replies(self) -> None:
        server = self.start("-w", "1")
        result = await sendmail(server, SENDER, [BOB, CAT], MESSAGE, CLEAR)
        self.assertEqual(len(result.accepted), 2)

    async def test_refusals(self) -> None:
        for option, temporary in (("-r", True), ("-f", False)):
            for command, step in (
                ("mail", "MAIL"),
                ("rcpt", "RCPT"),
                ("data", "DATA"),
                (".", "end of data"),
            ):
                for pipelining in ((), ("-p",)):
                    server = self.start(option, command, *pipelining)
                    with self.assertRaises(SendFailed) as caught:
                        await sendmail(server, SENDER, [BOB, CAT], MESSAGE, CLEAR)
                    outcomes = caught.exception.result.outcomes
                    self.assertEqual({o.command for o in outcomes}, {step})
                    self.assertEqual({o.temporary for o in outcomes}, {temporary})

    async def test_connections_that_end(self) -> None:
        for command in ("ehlo", "mail", "rcpt", "data", "."):
            server = self.start("-q", command)
            with self.assertRaises(ClientError) as caught:
                await sendmail(server, SENDER, BOB, MESSAGE, CLEAR)
            self.assertTrue(caught.exception.temporary)

    async def test_lmtp(self) -> None:
        settings = replace(CLEAR, lmtp=True)
        result = await sendmail(self.start("-L"), SENDER, [BOB, CAT, DAN], MESSAGE, settings)
        self.assertEqual(len(result.accepted), 3)


class _Handler:
    """Keeps what aiosmtpd gets."""

    def __init__(self) -> None:
        self.received: list[Any] = []

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody@"):
            return "550 5.1.1 who?"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.received.append(envelope)
        return "250 2.6.0 OK"


class AiosmtpdTests(TestCase):
    """aiosmtpd, which runs in a thread of its own."""

    skip = NO_AIOSMTPD

    def serve(self, **settings: Any) -> str:
        directory = self.mktemp()
        self.certificate, key = self_signed(directory)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, key)
        self.handler = _Handler()
        (port,) = free_ports(1)
        controller = Controller(
            self.handler, hostname=HOST, port=port, tls_context=context, **settings
        )
        controller.start()
        self.addCleanup(controller.stop)
        return f"{HOST}:{port}"

    async def both(self, work: Callable[[Any], Awaitable[_T]]) -> list[_T]:
        """The same under Twisted and under asyncio."""
        first = await work(sendmail)
        run = cast(Callable[[], _T], lambda: asyncio.run(cast(Any, work(asyncio_sendmail))))
        return [first, await deferToThread(run)]

    async def test_a_message(self) -> None:
        server = self.serve()
        for result in await self.both(lambda send: send(server, SENDER, [BOB, CAT], MESSAGE)):
            self.assertEqual(len(result.accepted), 2)
            self.assertTrue(result.facts.tls)
        for envelope in self.handler.received:
            self.assertEqual((envelope.mail_from, envelope.rcpt_tos), (SENDER, [BOB, CAT]))
            self.assertEqual(envelope.content, MESSAGE)

    async def test_a_message_of_the_standard_library(self) -> None:
        message = EmailMessage()
        message["From"], message["To"], message["Bcc"] = SENDER, BOB, CAT
        message["Subject"] = "Grüße"
        message.set_content("Hallo Jürgen\n.\n")
        server = self.serve()
        await self.both(lambda send: send(server, SENDER, [BOB, CAT], message))
        for envelope in self.handler.received:
            got = email.message_from_bytes(envelope.content, policy=email.policy.default)
            self.assertEqual((got["Subject"], got["Bcc"]), ("Grüße", None))
            self.assertEqual(re.sub("\r", "", got.get_content()), "Hallo Jürgen\n.\n")

    async def test_some_and_all_recipients_fail(self) -> None:
        server = self.serve()
        nobody = "nobody@example.test"
        for result in await self.both(lambda send: send(server, SENDER, [nobody, BOB], MESSAGE)):
            self.assertEqual([o.code for o in result.outcomes], [550, 250])

        async def fail(send: Any) -> str:
            with self.assertRaises(SendFailed) as caught:
                await send(server, SENDER, nobody, MESSAGE)
            return caught.exception.text

        self.assertEqual(await self.both(fail), [f"<{nobody}>: who?"] * 2)

    async def test_utf8(self) -> None:
        jurgen = "jürgen@example.test"
        server = self.serve()
        await self.both(lambda send: send(server, SENDER, jurgen, MESSAGE))
        self.assertEqual([e.rcpt_tos for e in self.handler.received], [[jurgen]] * 2)
        server = self.serve(enable_SMTPUTF8=False)

        async def fail(send: Any) -> str:
            with self.assertRaises(SendFailed) as caught:
                await send(server, SENDER, jurgen, MESSAGE)
            return caught.exception.result.outcomes[0].enhanced

        self.assertEqual(await self.both(fail), ["5.6.7", "5.6.7"])
        self.assertEqual(self.handler.received, [])

    async def test_login_under_verified_tls(self) -> None:
        def authenticate(
            server: Any, session: Any, envelope: Any, mechanism: str, data: Any
        ) -> AuthResult:
            return AuthResult(
                success=(data.login, data.password) == (b"ann", b"secret"), handled=False
            )

        server = self.serve(authenticator=authenticate, auth_required=True)
        settings = ClientSettings(
            helo="client.example",
            tls=TLSPolicy.verified(ca_file=self.certificate),
            credentials=Credentials("ann", "secret"),
        )
        for result in await self.both(lambda send: send(server, SENDER, BOB, MESSAGE, settings)):
            self.assertEqual(result.facts.account, "ann")
            assert result.facts.tls is not None
            self.assertTrue(result.facts.tls.verified)
        wrong = replace(settings, credentials=Credentials("ann", "wrong"))
        strict = replace(settings, tls=TLSPolicy.verified())

        async def fail(send: Any) -> None:
            with self.assertRaises(AuthFailed):
                await send(server, SENDER, BOB, MESSAGE, wrong)
            with self.assertRaises(TLSFailed):
                await send(server, SENDER, BOB, MESSAGE, strict)

        await self.both(fail)
