"""What messages may be made of."""

from __future__ import annotations

import inspect
from typing import Any

from twisted.internet import threads
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import TestCase

from mailkit.checks import content
from mailkit.checks.content import ContentLimits, has_long_line
from mailkit.hooks import Quarantine, Reject
from mailkit.spool import MEMORY_LIMIT, Spool
from tests.checks.support import CheckCase, make_envelope, make_session

GOOD = b"From: ann@example.org\r\nDate: Mon, 01 Jan 2024 12:00:00 +0000\r\nSubject: x\r\n"
BODY = b"\r\nHello\r\n"


def nested(depth: int) -> bytes:
    """A message with multiparts inside each other."""
    head = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n)
        for n in range(depth)
    )
    return head + b"\r\ndeep\r\n" + b"".join(b"--b%d--\r\n" % n for n in reversed(range(depth)))


def forwarded(depth: int) -> bytes:
    """A message inside messages."""
    return b"Content-Type: message/rfc822\r\n\r\n" * depth + b"Subject: deep\r\n\r\ntext\r\n"


def digests(depth: int) -> bytes:
    """Digests inside each other: each is a level, and so is the message in it."""
    message = b"Subject: deep\r\n\r\ntext\r\n"
    for n in range(depth // 2):
        head = b"Content-Type: multipart/digest; boundary=b%d\r\n\r\n" % n
        message = head + b"--b%d\r\n\r\n%b\r\n--b%d--\r\n" % (n, message, n)
    return message


def many(count: int) -> bytes:
    """A message and so many parts."""
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    return head + b"--b\r\n\r\nx\r\n" * count + b"--b--\r\n"


class HeaderTests(CheckCase):
    def said(self, header: bytes, **settings: Any) -> list[Any]:
        session = make_session("127.0.0.1")
        check = ContentLimits(**settings)
        message = Spool.from_bytes(header + BODY)
        return list(self.ask(check.message, session, make_envelope(session), message) or ())

    def refused(self, text: str, header: bytes, **settings: Any) -> None:
        answer, *_ = self.said(header, **settings)
        self.assert_refused(answer, 554, "5.6.0", text)

    def test_a_good_header(self) -> None:
        actions = ("several_from", "repeated", "missing", "malformed", "long_lines")
        self.assertEqual(self.said(GOOD, **dict.fromkeys(actions, "reject")), [])

    def test_limits(self) -> None:
        self.refused("more than 3 header fields", GOOD + b"X: y\r\n", max_fields=3)
        self.assertEqual(self.said(GOOD, max_fields=3), [])
        self.refused("more than 50 octets", GOOD, max_header=50)
        self.refused(f"more than {len(GOOD) - 1} octets", GOOD, max_header=len(GOOD) - 1)
        self.assertEqual(self.said(GOOD, max_header=len(GOOD)), [])
        self.refused("more than 500 header fields", b"X: y\r\n" * 501)
        self.refused("more than 131072 octets", b"X: " + b"y" * 131_072 + b"\r\n")

    def test_folded_fields_are_one(self) -> None:
        header = GOOD + b"To: a@b.example,\r\n" + b"\tc@d.example,\r\n" * 600 + b" e@f.example\r\n"
        self.assertEqual(self.said(header), [])
        self.assertEqual(self.said(GOOD + b"X: y\r\n from: z\r\n", repeated="reject"), [])

    def test_where_the_header_ends(self) -> None:
        self.assertEqual(self.said(GOOD + b"\r\n" + b"From: quoted\r\nX: y\r\n" * 600), [])
        self.assertEqual(self.said(b"\r\n" + GOOD * 2), [])
        self.refused("no field From", b"\r\n" + GOOD, missing="reject")

    def test_several_froms(self) -> None:
        self.refused("more than one field From", GOOD + b"FROM : eve@example.com\r\n")
        self.assertEqual(self.said(GOOD * 2, several_from="none"), [])

    def test_repeated_fields(self) -> None:
        header = GOOD + b"subject: y\r\n"
        self.assertEqual(self.said(header), [])
        self.refused("more than one field Subject", header, repeated="reject")
        self.assertEqual(self.said(GOOD + b"Received: x\r\n" * 5, repeated="reject"), [])

    def test_missing_fields(self) -> None:
        self.assertEqual(self.said(b"Subject: x\r\n"), [])
        self.refused("no field From", b"Date: x\r\n", missing="reject")
        self.refused("no field Date", b"From: x\r\n", missing="reject")

    def test_lines_that_are_no_fields(self) -> None:
        header = GOOD + b"this is\0 no field\r\n"
        self.assertEqual(self.said(header), [])
        self.refused("is no field: this is? no field", header, malformed="reject")

    def test_actions(self) -> None:
        said = self.said(GOOD * 2, several_from="defer", repeated="quarantine")
        self.assert_refused(said[0], 451, "4.6.0", "field From")
        self.assertIsInstance(said[1], Quarantine)
        for action in ("score", "shoot"):
            self.assertRaises(ValueError, ContentLimits, missing=action)


class BodyTests(TestCase):
    async def said(self, message: bytes, **settings: Any) -> list[Any]:
        """What is said to it in memory, and the same in a file, with and without a prefix."""
        session = make_session()
        envelope = make_envelope(session)
        answers: list[Any] = []
        for limit, prefix in ((1 << 20, b""), (1, b""), (1, b"X: y\r\n")):
            spool = Spool(memory_limit=limit, reserve=20)
            self.addCleanup(spool.close)
            spool.write(message)
            spool.prepend(prefix)
            check = ContentLimits(**settings)
            answer: Any = check.message(session, envelope, spool)
            answers.append(await answer if inspect.isawaitable(answer) else answer)
        self.assertEqual(answers[1:], answers[:1] * 2)
        return list(answers[0] or ())

    async def refused(self, text: str, message: bytes, **settings: Any) -> None:
        (answer,) = await self.said(message, **settings)
        self.assertIsInstance(answer, Reject)
        self.assertEqual((answer.code, answer.enhanced), (554, "5.6.0"))
        self.assertIn(text, answer.text)

    async def test_depth(self) -> None:
        for make in (nested, forwarded):
            self.assertEqual(await self.said(make(3), max_depth=3), [])
            await self.refused("more than 3 levels", make(4), max_depth=3)
        await self.refused("more than 50 levels", nested(51))
        self.assertEqual(await self.said(digests(50)), [])
        await self.refused("more than 50 levels", digests(80))
        await self.refused("more than 50 levels", nested(3000))

    async def test_number_of_parts(self) -> None:
        self.assertEqual(await self.said(many(4), max_parts=5), [])
        await self.refused("more than 5 parts", many(5), max_parts=5)
        await self.refused("more than 2000 parts", many(100_000))

    async def test_a_large_message_in_memory(self) -> None:
        session = make_session()
        envelope = make_envelope(session)
        kinds = (
            (many(3000), "parts"),
            (nested(51), "levels"),
            (many(4), ""),
            (GOOD * 2 + b"\r\n", "From"),
        )
        for message, text in (*kinds, (GOOD + b"\r\n", "")):
            spool = Spool(memory_limit=2 * MEMORY_LIMIT)
            self.addCleanup(spool.close)
            spool.write(message)
            spool.write(b"x" * MEMORY_LIMIT)
            answer: Any = ContentLimits().message(session, envelope, spool)
            answers = await answer if inspect.isawaitable(answer) else answer
            if text:
                (answer,) = answers
                self.assertIn(text, answer.text)
            else:
                self.assertIsNone(answers)
            self.assertIsNone(spool.path)

    async def test_long_lines(self) -> None:
        message = GOOD + b"\r\n" + b"x" * 999 + b"\r\nend\r\n"
        self.assertEqual(await self.said(message), [])
        await self.refused("more than 998 octets", message, long_lines="reject")
        message = GOOD + b"\r\n" + (b"x" * 998 + b"\r\n") * 3 + b"end\r\n"
        self.assertEqual(await self.said(message, long_lines="reject"), [])

    async def test_an_empty_message(self) -> None:
        session = make_session()
        answer = ContentLimits(long_lines="reject").message(
            session, make_envelope(session), Spool()
        )
        self.assertIsNone(answer)

    async def test_a_large_message_is_looked_at_in_a_thread(self) -> None:
        used = []

        def in_thread(work: Any, *arguments: Any) -> Deferred[Any]:
            used.append(work)
            return maybeDeferred(work, *arguments)

        self.assertIs(content.deferToThread, threads.deferToThread)
        self.patch(content, "deferToThread", in_thread)
        await self.said(GOOD + BODY, long_lines="reject")
        self.assertEqual(len(used), 2)
        await self.said(many(2))
        self.assertEqual(len(used), 4)
        await self.said(forwarded(1))
        self.assertEqual(len(used), 6)
        await self.said(b"Subject: no end of the header\r\n")
        self.assertEqual(len(used), 8)

    async def test_nothing_but_the_header_is_read_of_a_message_without_parts(self) -> None:
        self.patch(content, "deferToThread", None)
        text = GOOD + b"Message-ID: <1@example.org>\r\n\r\nmultipart\r\n"
        self.assertEqual(await self.said(text), [])
        await self.refused("more than one field From", b"From: eve@example.org\r\n" + text)


class LongLineTests(CheckCase):
    def test_lengths(self) -> None:
        for length, long in ((997, False), (998, False), (999, True), (5000, True)):
            line = b"x" * length
            for message in (line, line + b"\r\n", b"a\r\n" + line + b"\r\nb\r\n", b"a\r\n" + line):
                self.assertEqual(has_long_line(message), long, length)
        self.assertFalse(has_long_line(b""))
        self.assertFalse(has_long_line(b"\r\n" * 5000))
        self.assertFalse(has_long_line(b"x" * 5000 + b"\r\n", start=5000))
