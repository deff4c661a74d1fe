"""The IMAP client with Dovecot and with our own server: TLS, the corpus, a cache, IDLE."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest
from twisted.trial.unittest import SkipTest, TestCase

from mailkit.auth.portal import make_portal
from mailkit.imap.client import (
    ClientSettings,
    Credentials,
    EventGroup,
    Exists,
    MailboxStatus,
    NewMessage,
    Session,
    TLSPolicy,
    connect,
    synchronise,
)
from mailkit.imap.protocol import IMAPFactory
from mailkit.model import FlagOp
from mailkit.query import And, HasFlag, HeaderContains, Not
from mailkit.tap.tls import self_signed
from tests.interop import dovecot
from tests.interop.client_cases import LoginCases
from tests.interop.support import ClientCase
from tests.mime import corpus
from tests.support import HOST, PATIENCE

pytestmark = pytest.mark.interop

USER = "ann@example.test"
MESSAGE = (
    b"From: Ann <ann@example.test>\r\nTo: bob@example.net\r\nSubject: =?utf-8?q?=C3=BCber?=\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\ntwo\r\n--b--\r\n"
)


class Cases(LoginCases):
    """What every server must do for the client."""

    #: How a cache is brought up to date.
    by = "QRESYNC"

    async def leave(self, session: Session) -> None:
        await session.logout()

    async def test_mailboxes(self) -> None:
        case: Any = self
        session = await self.session()
        await session.create("Größe & Maß")
        case.assertIn("Größe & Maß", [each.name for each in await session.list()])
        await session.rename("Größe & Maß", "b")
        await session.subscribe("b")
        case.assertEqual([each.name for each in await session.lsub("b")], ["b"])
        await session.append("b", NewMessage(MESSAGE, ["\\Seen"], 1_600_000_000), MESSAGE)
        status = await session.status("b", ["MESSAGES", "UNSEEN", "UIDNEXT"])
        case.assertEqual(status.items, {"MESSAGES": 2, "UNSEEN": 1, "UIDNEXT": 3})
        await session.unsubscribe("b")
        await session.delete("b")
        await session.identify({"name": "test"})
        case.assertEqual((await session.namespaces()).personal[0].prefix, "")

    async def test_messages(self) -> None:
        case: Any = self
        session = await self.session()
        await session.create("other")
        result = await session.append("INBOX", *[MESSAGE] * 5)
        assert result is not None
        case.assertEqual(list(result.uids), [1, 2, 3, 4, 5])
        selected = await session.select("INBOX")
        case.assertEqual((selected.exists, selected.uid_validity), (5, result.uid_validity))
        items = ["FLAGS", "INTERNALDATE", "ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE", "BODY[2]"]
        messages = await session.fetch("1:2", items)
        for message in messages:
            assert message.envelope is not None and message.structure is not None
            case.assertEqual(message.envelope.to[0].local_part, b"bob")
            case.assertEqual(message.size, len(MESSAGE))
            parts = [f"{part.section} {part.subtype}" for part in message.structure.walk()]
            case.assertEqual(parts, [" mixed", "1 plain", "2 html"])
            content = message.content("2")
            assert content is not None
            case.assertEqual(content.octets(), b"two")
        query = And([Not(HasFlag("\\Seen")), HeaderContains("Subject", "Über")])
        case.assertEqual(await session.search(query), [3, 4, 5])
        answer = await session.store([1, 2], FlagOp.ADD, ["\\Deleted", "mine"])
        case.assertTrue(all(each.flags >= {"\\Deleted", "mine"} for each in answer.messages))
        copied = await session.copy([3], "other")
        moved = await session.move([4, 5], "other")
        assert copied is not None and moved is not None
        case.assertEqual((copied.destination_uids, moved.destination_uids), ([1], [2, 3]))
        await session.expunge([1])
        await session.expunge()
        case.assertEqual(selected.exists, 1)
        found = b"".join([piece async for piece in session.stream(3)])
        case.assertEqual(found, MESSAGE)

    async def test_idle(self) -> None:
        case: Any = self
        session, other = await self.session(), await self.session()
        await session.select("INBOX")
        async with session.idle() as changes:
            await other.append("INBOX", MESSAGE)
            while (change := await changes.next(PATIENCE)) is not None:
                if isinstance(change, Exists):
                    break
        case.assertEqual(change, Exists(1))
        await session.noop()

    async def test_notify(self) -> None:
        case: Any = self
        session, other = await self.session(), await self.session()
        await session.create("Größe")
        await session.select("INBOX")
        groups = [EventGroup("selected-delayed"), EventGroup("personal")]
        async with session.notify(groups) as changes:
            await other.append("Größe", MESSAGE)
            while (change := await changes.next(PATIENCE)) is not None:
                if isinstance(change, MailboxStatus):
                    break
            # Other commands have their turn.
            found = await session.status("Größe", ["MESSAGES"])
        assert isinstance(change, MailboxStatus)
        case.assertEqual((change.name, change.items["MESSAGES"]), ("Größe", 1))
        case.assertEqual((found.name, found.items), ("Größe", {"MESSAGES": 1}))
        await other.append("INBOX", MESSAGE)
        await session.noop()
        selected = session.selected
        assert selected is not None
        case.assertEqual(selected.exists, 1)

    async def test_entries(self) -> None:
        case: Any = self
        session, other = await self.session(), await self.session()
        entries = {"/private/comment": b"it's mine", "/shared/comment": b"\xc3\xbc\r\nx"}
        await session.set_metadata("INBOX", entries)
        found = await other.get_metadata("INBOX", [*entries, "/private/vendor/x/y"])
        case.assertEqual(found.entries, {**entries, "/private/vendor/x/y": None})
        found = await other.get_metadata("INBOX", ["/private"], depth=None)
        case.assertEqual(found.entries, {"/private/comment": b"it's mine"})
        found = await other.get_metadata("INBOX", ["/private/comment"], max_size=3)
        case.assertEqual((found.entries.get("/private/comment"), found.longest), (None, 9))
        await session.set_metadata("INBOX", {"/private/comment": None})
        await session.set_metadata(None, {"/private/vendor/x/y": b"z"})
        found = await other.get_metadata("INBOX", ["/private/comment"])
        case.assertEqual(found.entries, {"/private/comment": None})
        found = await other.get_metadata(None, ["/private/vendor/x/y"])
        case.assertEqual(found.entries, {"/private/vendor/x/y": b"z"})

    async def test_previews_and_dates(self) -> None:
        case: Any = self
        session = await self.session()
        await session.append("INBOX", b"Subject: x\r\n\r\nHello there\r\n")
        await session.select("INBOX")
        (message,) = await session.fetch("1", ["PREVIEW", "SAVEDATE", "UID"])
        case.assertEqual(message.preview, "Hello there")
        case.assertGreater(message.save_date, 1_500_000_000)

    async def test_a_cache(self) -> None:
        case: Any = self
        session, other = await self.session(), await self.session()
        await session.append("INBOX", *[MESSAGE] * 9)
        known = (await synchronise(session, "INBOX")).known
        case.assertEqual(sorted(known.flags), list(range(1, 10)))
        await other.select("INBOX")
        await other.store([2, 7, 9], FlagOp.ADD, ["\\Deleted"])
        await other.expunge()
        await other.store([4], FlagOp.ADD, ["\\Flagged"])
        await other.append("INBOX", MESSAGE)
        await other.unselect()
        found = await synchronise(session, "INBOX", known)
        case.assertEqual(found.by, self.by)
        case.assertEqual((sorted(found.added), found.vanished), ([10], [2, 7, 9]))
        case.assertEqual(
            {uid: "\\Flagged" in each for uid, each in found.changed.items()}, {4: True}
        )
        again = await synchronise(session, "INBOX", found.known)
        case.assertEqual((again.added, again.changed, again.vanished), ({}, {}, []))

    @pytest.mark.slow
    async def test_the_corpus(self) -> None:
        case: Any = self
        if corpus.MISSING:
            raise SkipTest(corpus.MISSING)
        session = await self.session()
        messages = [octets for _, octets in corpus.messages()]
        for octets in messages:
            await session.append("INBOX", io.BytesIO(octets))
        await session.select("INBOX")
        items = ["BODY.PEEK[]", "BODYSTRUCTURE", "ENVELOPE", "RFC822.SIZE"]
        count = 0
        async for message in session.fetch("1:*", items):
            content = message.content()
            assert content is not None and message.uid is not None
            expected = self.stored(messages[message.uid - 1])
            case.assertEqual(content.octets(), expected, message.uid)
            case.assertEqual(message.size, len(expected))
            count += 1
        case.assertEqual(count, len(messages))

    def stored(self, octets: bytes) -> bytes:
        """What the server makes of a message."""
        return octets


class DovecotTests(Cases, TestCase):
    skip = dovecot.IMAP_MISSING or None

    def setUp(self) -> None:
        self.certificate, key = self_signed(os.path.abspath(self.mktemp()))
        self.server = dovecot.Dovecot(USER, tls=(self.certificate, key)).start()
        self.addCleanup(self.server.stop)

    async def connect(self, policy: TLSPolicy, password: str = "") -> Session:
        port = self.server.imaps_port if policy.implicit else self.server.imap_port
        settings = ClientSettings(policy, Credentials(USER, password or "x"))
        return await connect(f"{HOST}:{port}", settings)

    def stored(self, octets: bytes) -> bytes:
        # A Maildir has line feeds; Dovecot sends CRLF for each, and an octet 0x80 for NUL.
        return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n").replace(b"\0", b"\x80")


class OurServerTests(Cases, ClientCase):
    user = USER

    async def setUp(self) -> None:
        await super().setUp()
        await self.add_account(USER, "x")
        factory = IMAPFactory(make_portal(self.store), tls_context=self.tls_context)
        self.port, self.tls_port = self.listen(factory), self.listen(factory, tls=True)

    async def connect(self, policy: TLSPolicy, password: str = "") -> Session:
        port = self.tls_port if policy.implicit else self.port
        settings = ClientSettings(policy, Credentials(USER, password or "x"))
        return await connect(f"{HOST}:{port}", settings)
