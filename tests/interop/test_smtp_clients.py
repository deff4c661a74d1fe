"""The SMTP and submission servers with other people's clients, over loopback: smtplib, swaks, curl."""

from __future__ import annotations

import os
import shutil
import smtplib
import socket
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any, cast

import pytest

from mailkit.auth.portal import make_portal
from mailkit.delivery.local import LocalMessageDelivery
from mailkit.smtp.protocol import SMTPFactory
from mailkit.smtp.submission import SubmissionFactory
from tests.interop.support import ClientCase

ANN, BOB, PASSWORD = "ann@example.org", "bob@example.org", "correct horse"
JURGEN = "jürgen@example.org"


class SMTPCase(ClientCase):
    """An SMTP server and a submission server, with STARTTLS and under TLS, for three users."""

    async def setUp(self) -> None:
        await super().setUp()
        for name in (ANN, BOB, JURGEN):
            await self.add_account(name, PASSWORD)
        portal = make_portal(
            self.store,
            deliveries=lambda account, _: LocalMessageDelivery(self.store, self.store, account),
        )
        settings: dict[str, Any] = {"hostname": "mx.example.org", "tls_context": self.tls_context}
        submission = SubmissionFactory(portal, **settings)
        self.smtp = self.listen(SMTPFactory(portal, **settings))
        self.submission = self.listen(submission)
        self.submissions = self.listen(submission, tls=True)

    async def inbox(self, name: str) -> list[bytes]:
        """The messages that somebody has."""
        return await self.contents(user=name)

    async def only_message(self, name: str) -> tuple[str, bytes]:
        """The trace fields and the rest of the one message that somebody has."""
        (message,) = await self.inbox(name)
        position = message.index(b"\r\n", message.index(b"\r\nReceived: ") + 2) + 2
        while message[position : position + 1] in (b" ", b"\t"):
            position = message.index(b"\r\n", position) + 2
        return message[:position].decode(), message[position:]


class SmtplibTests(SMTPCase):
    def plain(self) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.smtp, timeout=60)

    def with_starttls(self) -> smtplib.SMTP:
        client = smtplib.SMTP("127.0.0.1", self.submission, timeout=60)
        client.starttls(context=self.client_tls())
        client.login(ANN, PASSWORD)
        return client

    def under_tls(self) -> smtplib.SMTP:
        client = smtplib.SMTP_SSL(
            "127.0.0.1", self.submissions, timeout=60, context=self.client_tls()
        )
        client.login(ANN, PASSWORD)
        return client

    def send(
        self,
        connect: Callable[[], smtplib.SMTP],
        content: bytes,
        to: str | list[str] = BOB,
        options: tuple[str, ...] = (),
    ) -> dict[str, tuple[int, bytes]]:
        with connect() as client:
            return client.sendmail(ANN, to, content, mail_options=options)

    async def check(self, content: bytes, expected: bytes | None = None, **settings: Any) -> None:
        """A message arrives unchanged, however it is sent."""
        content = b"Date: Fri, 21 Nov 1997 09:55:06 -0600\r\nFrom: <ann@example.org>\r\n" + content
        content = b"Message-ID: <1@x.example>\r\n" + content
        for number, (connect, protocol) in enumerate(
            (
                (self.plain, "with ESMTP id"),
                (self.with_starttls, "with ESMTPSA id"),
                (self.under_tls, "with ESMTPSA id"),
            )
        ):
            await self.in_thread(lambda connect: self.send(connect, content, **settings), connect)
            message = (await self.inbox(BOB))[number]
            self.assertTrue(message.endswith(b"\r\n" + content), connect)
            trace = message[: -len(content)].decode()
            head = f"Return-Path: <ann@example.org>\r\nDelivered-To: {BOB}\r\nReceived: from "
            self.assertTrue(trace.startswith(head), trace)
            if not settings:
                self.assertIn(protocol, trace)

    async def test_plain(self) -> None:
        await self.check(b"Subject: hi\r\n\r\nHello\r\n")

    async def test_dots(self) -> None:
        await self.check(b"Subject: dots\r\n\r\n.\r\n..\r\n...\r\n.a\r\na.\r\n\r\n.\r\n")

    async def test_eight_bit(self) -> None:
        content = "Subject: 8\r\n\r\nGrüße\r\n".encode() + bytes(range(128, 256)) + b"\r\n"
        await self.check(content, options=("BODY=8BITMIME",))

    async def test_a_line_of_10000_octets(self) -> None:
        await self.check(b"Subject: long\r\n\r\n" + b"x" * 10_000 + b"\r\nshort\r\n")

    async def test_an_attachment_of_20_mib(self) -> None:
        data = os.urandom(20 * 1024 * 1024)
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = ANN, BOB, "large"
        message.set_content("see below")
        message.add_attachment(data, maintype="application", subtype="octet-stream")
        octets = message.as_bytes(policy=message.policy.clone(linesep="\r\n"))
        await self.in_thread(self.send, self.under_tls, octets)
        _, rest = await self.only_message(BOB)
        header, _, body = rest.partition(b"\r\n\r\n")
        self.assertEqual(body, octets.partition(b"\r\n\r\n")[2])
        for name in (b"Date: ", b"Message-ID: <"):
            self.assertEqual(header.count(b"\r\n" + name), 1)

    async def test_utf8_addresses(self) -> None:
        def send() -> None:
            with self.plain() as client:
                message = EmailMessage()
                message["From"], message["To"], message["Subject"] = JURGEN, JURGEN, "Grüße"
                message.set_content("Hallo")
                client.send_message(message)

        await self.in_thread(send)
        trace, rest = await self.only_message(JURGEN)
        self.assertIn("Return-Path: <jürgen@example.org>\r\n", trace)
        self.assertIn("with UTF8SMTP id", trace)
        self.assertNotIn("\tfor <", trace)
        self.assertIn("To: jürgen@example.org".encode(), rest)

    async def test_extensions(self) -> None:
        def ask(port: int, tls: bool) -> dict[str, str]:
            with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
                if tls:
                    client.starttls(context=self.client_tls())
                client.ehlo()
                return client.esmtp_features

        found = await self.in_thread(ask, self.smtp, False)
        announced = "size 8bitmime pipelining smtputf8 enhancedstatuscodes help auth starttls"
        self.assertLessEqual({*announced.split(), "chunking"}, set(found))
        self.assertEqual(found["size"], "52428800")
        self.assertEqual(found["auth"].split(), ["PLAIN", "LOGIN"])
        found = await self.in_thread(ask, self.smtp, True)
        self.assertNotIn("starttls", found)

    async def test_some_recipients_are_refused(self) -> None:
        recipients = [BOB, "nobody@example.org", "x@example.com", "bob+lists@example.org"]
        refused = await self.in_thread(
            self.send, self.plain, b"Subject: x\r\n\r\nx\r\n", recipients
        )
        self.assertEqual(set(refused), set(recipients[1:3]))
        self.assertEqual(refused["nobody@example.org"][0], 550)
        self.assertTrue(refused["nobody@example.org"][1].startswith(b"5.1.1 "))
        self.assertTrue(refused["x@example.com"][1].startswith(b"5.7.1 "))
        self.assertEqual(len(await self.inbox(BOB)), 1)

    async def test_no_mail_leaves(self) -> None:
        def send() -> tuple[int, bytes]:
            with self.with_starttls() as client:
                try:
                    client.sendmail(ANN, "x@example.com", b"Subject: x\r\n\r\nx\r\n")
                except smtplib.SMTPRecipientsRefused as error:
                    return error.recipients["x@example.com"]
            raise AssertionError("it was accepted")

        code, text = await self.in_thread(send)
        self.assertEqual(code, 550)
        self.assertIn(b"does not send mail to other domains", text)

    async def test_nobody_sends_as_somebody_else(self) -> None:
        def send(sender: str, author: str) -> int:
            with self.under_tls() as client:
                try:
                    client.sendmail(sender, BOB, f"From: {author}\r\n\r\nx\r\n".encode())
                except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
                    return error.smtp_code
            return 250

        for sender, author, code in ((ANN, ANN, 250), (BOB, ANN, 550), (ANN, BOB, 550)):
            self.assertEqual(await self.in_thread(send, sender, author), code, (sender, author))
        self.assertEqual(len(await self.inbox(BOB)), 1)

    async def test_a_wrong_password(self) -> None:
        def log_in() -> int:
            with smtplib.SMTP("127.0.0.1", self.submission, timeout=60) as client:
                client.starttls(context=self.client_tls())
                try:
                    client.login(ANN, "wrong")
                except smtplib.SMTPAuthenticationError as error:
                    return error.smtp_code
            return 235

        self.assertEqual(await self.in_thread(log_in), 535)

    async def test_a_terminal_session(self) -> None:
        lines = [
            "helo there",
            "mail from: <someone@example.net>",
            "rcpt to: <bob@example.org>",
            "data",
            "Subject: by hand\r\n\r\nhello\r\n.",
            "quit",
        ]

        def talk() -> list[str]:
            with socket.create_connection(("127.0.0.1", self.smtp), timeout=60) as connection:
                stream = connection.makefile("rwb")
                answers = [stream.readline()]
                for line in lines:
                    stream.write(f"{line}\r\n".encode())
                    stream.flush()
                    answers.append(stream.readline())
                return [answer[:3].decode() for answer in answers] + [stream.read().decode()]

        answers = await self.in_thread(talk)
        self.assertEqual(answers, ["220", "250", "250", "250", "354", "250", "221", ""])
        self.assertEqual((await self.only_message(BOB))[1], b"Subject: by hand\r\n\r\nhello\r\n")


def _needs(program: str) -> Callable[[type], type]:
    """Skip a class of tests where a program is missing."""
    reason = f"{program} is not installed" if shutil.which(program) is None else ""

    def mark(case: type) -> type:
        if reason:
            case.skip = reason  # type: ignore[attr-defined]
        return cast(type, pytest.mark.interop(case))

    return mark


class ProgramCase(SMTPCase):
    async def output(self, *arguments: str, code: int = 0, input: bytes = b"") -> str:
        """All that a program says, which must end with that code."""
        done = await self.run_program(*arguments, code=code, input=input)
        return (done.stdout + done.stderr).decode("utf-8", "replace")

    def write_file(self, content: bytes) -> str:
        path = os.path.join(self.directory, "message")
        with open(path, "wb") as file:
            file.write(content)
        return path


@_needs("swaks")
class SwaksTests(ProgramCase):
    async def swaks(self, port: int, *arguments: str, code: int = 0) -> str:
        server = ("swaks", "--server", "127.0.0.1", "--port", str(port), "--helo", "x.example")
        return await self.output(*server, "--from", ANN, "--to", BOB, *arguments, code=code)

    async def test_plain(self) -> None:
        await self.swaks(self.smtp, "--body", "Hello\n.dot")
        trace, rest = await self.only_message(BOB)
        self.assertIn("with ESMTP id", trace)
        self.assertIn(b"\r\nHello\r\n.dot\r\n", rest)

    async def test_pipelined(self) -> None:
        await self.swaks(self.smtp, "--pipeline", "--to", f"{BOB},{ANN}")
        self.assertEqual([len(await self.inbox(BOB)), len(await self.inbox(ANN))], [1, 1])

    async def test_starttls_and_every_mechanism(self) -> None:
        login = ("--auth-user", ANN, "--auth-password", PASSWORD)
        for mechanism in ("PLAIN", "LOGIN"):
            output = await self.swaks(self.submission, "--tls", "--auth", mechanism, *login)
            self.assertIn("235 2.7.0", output)
        output = await self.swaks(self.submissions, "--tls-on-connect", "--auth", "PLAIN", *login)
        self.assertIn("235 2.7.0", output)
        self.assertEqual(len(await self.inbox(BOB)), 3)
        for message in await self.inbox(BOB):
            self.assertIn(b"with ESMTPSA id", message)

    async def test_submission_wants_a_login(self) -> None:
        output = await self.swaks(self.submission, "--tls", code=23)
        self.assertIn("530 5.7.0", output)

    async def test_a_wrong_password(self) -> None:
        arguments = ("--tls", "--auth", "PLAIN", "--auth-user", ANN, "--auth-password", "x")
        self.assertIn("535 5.7.8", await self.swaks(self.submission, *arguments, code=28))


@_needs("curl")
class CurlTests(ProgramCase):
    async def curl(self, url: str, *arguments: str, code: int = 0) -> str:
        return await self.output(
            *("curl", "--silent", "--show-error", "--max-time", "60", "--url", url),
            *("--mail-from", ANN, "--mail-rcpt", BOB, *arguments),
            code=code,
        )

    async def test_plain(self) -> None:
        path = self.write_file(b"Subject: by curl\r\n\r\n.dot\r\n" + b"x" * 10_000 + b"\r\n")
        await self.curl(f"smtp://127.0.0.1:{self.smtp}/x.example", "--upload-file", path)
        with open(path, "rb") as file:
            self.assertEqual((await self.only_message(BOB))[1], file.read())

    async def test_submission(self) -> None:
        path = self.write_file(b"just a text without a header\n")
        arguments = ("--user", f"{ANN}:{PASSWORD}", "--upload-file", path)
        trust = ("--cacert", self.certificate)
        await self.curl(f"smtp://127.0.0.1:{self.submission}/x", "--ssl-reqd", *trust, *arguments)
        await self.curl(f"smtps://127.0.0.1:{self.submissions}/x", *trust, *arguments)
        messages = await self.inbox(BOB)
        self.assertEqual(len(messages), 2)
        for message in messages:
            self.assertIn(b"with ESMTPSA id", message)
            self.assertIn(b"\r\nFrom: ann@example.org\r\n", message)
            # curl sends the file's bare LF and a CRLF of its own.
            self.assertTrue(message.endswith(b"\r\n\r\njust a text without a header\r\n\r\n"))

    async def test_an_unknown_recipient(self) -> None:
        path = self.write_file(b"Subject: x\r\n\r\nx\r\n")
        url = f"smtp://127.0.0.1:{self.smtp}/x.example"
        output = await self.output(
            *("curl", "--silent", "--show-error", "--url", url, "--upload-file", path),
            *("--mail-from", ANN, "--mail-rcpt", "nobody@example.org"),
            code=55,
        )
        self.assertIn("550", output)


@_needs("msmtp")
class MsmtpTests(ProgramCase):
    #: As a person types it: LF at the end of lines, lines that begin with dots, eight bits.
    TEXT = "From: ann@example.org\nTo: bob@example.org\nSubject: x\n\n.\n..two\nGrüße\n"

    async def msmtp(self, *recipients: str, tls: bool = False, code: int = 0, **set: str) -> str:
        """What it says when it sends the text."""
        settings = {
            "host": "localhost",
            "port": str(self.submissions if tls else self.submission),
            "tls": "on",
            "tls_starttls": "off" if tls else "on",
            "tls_trust_file": self.certificate,
            "auth": "on",
            "user": ANN,
            "password": PASSWORD,
            "from": ANN,
            **set,
        }
        path = os.path.join(self.directory, "msmtprc")
        with open(path, "w") as file:
            file.write("defaults\naccount default\n")
            file.writelines(f'{name} "{value}"\n' for name, value in settings.items())
        os.chmod(path, 0o600)
        command = ("msmtp", "--file", path, "--", *(recipients or (BOB,)))
        return await self.output(*command, input=self.TEXT.encode(), code=code)

    async def test_starttls_and_implicit_tls(self) -> None:
        self.assertEqual(await self.msmtp(), "")
        self.assertEqual(await self.msmtp(tls=True), "")
        messages = await self.inbox(BOB)
        self.assertEqual(len(messages), 2)
        body = self.TEXT.partition("\n\n")[2].replace("\n", "\r\n").encode()
        for octets in messages:
            self.assertIn(b"with ESMTPSA id", octets)
            self.assertEqual(octets.partition(b"\r\n\r\n")[2], body)

    async def test_every_mechanism(self) -> None:
        for mechanism in ("plain", "login"):
            self.assertEqual(await self.msmtp(auth=mechanism), "")

    async def test_refusals_are_told(self) -> None:
        said = await self.msmtp("nobody@example.org", code=65)
        self.assertIn("550 5.1.1 No such user here", said)
        self.assertIn("535 5.7.8", await self.msmtp(password="wrong", code=77))
        self.assertIn("550 5.7.1", await self.msmtp(**{"from": BOB}, code=65))
        self.assertEqual(await self.inbox(BOB), [])
