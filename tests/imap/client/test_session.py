"""The client against our own server."""

from __future__ import annotations

import io
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap.client import (
    AuthFailed,
    ClientSettings,
    Credentials,
    Exists,
    Expunge,
    Message,
    NewMessage,
    Numbers,
    Refused,
    TLSPolicy,
    WrongState,
)
from mailkit.model import FlagOp
from mailkit.query import And, HasFlag, HeaderContains, Not
from tests.imap.client.support import SETTINGS, Client, login
from tests.imap.support import Server

MESSAGE = (
    b"From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: Hello\r\n"
    b"Date: Tue, 1 Jul 2025 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\nHow are you?\r\n"
)


class SessionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()

    def client(self, *messages: bytes, **settings: Any) -> Client:
        self.server.add(*messages)
        client = login(self.server, **settings)
        client.run(client.session.select("INBOX"))
        return client

    def test_opening(self) -> None:
        client = login(self.server)
        facts = client.session.facts
        self.assertEqual(facts.account, "ann@example.org")
        self.assertIn("IMAP4REV1", client.session.capabilities)

    def test_capabilities_are_asked_for_again(self) -> None:
        wire = login(self.server)
        session = wire.session
        told = session.capabilities
        self.assertIn("UIDPLUS", told)
        # What the server says in passing counts (RFC 9051 section 7.1) until it is asked again.
        wire.channel.dataReceived(b"* CAPABILITY IMAP4rev1 XSTRANGE\r\n")
        self.assertEqual(session.capabilities, {"IMAP4REV1", "XSTRANGE"})
        self.assertEqual(wire.run(session.refresh_capabilities()), told)
        self.assertEqual(session.capabilities, told)

    def test_a_wrong_password(self) -> None:
        settings = ClientSettings(
            tls=TLSPolicy.none(), credentials=Credentials("ann@example.org", "wrong")
        )
        client = Client(self.server, settings)
        results = client.start(client.session.open())
        client.clock.advance(10)
        client.flush()
        results[0].trap(AuthFailed)
        self.assertTrue(client.session.closed)

    def test_select(self) -> None:
        client = self.client(b"x", b"y")
        selected = client.session.selected
        assert selected is not None
        self.assertEqual((selected.name, selected.exists, selected.read_only), ("INBOX", 2, False))
        self.assertEqual((selected.uid_next, selected.opening), (3, False))
        self.assertIn("\\Seen", selected.flags)
        again = client.run(client.session.select("INBOX", read_only=True))
        self.assertTrue(again.read_only)
        self.assertIsNot(again, selected)

    def test_select_of_none_leaves_none(self) -> None:
        client = self.client()
        failure = client.start(client.session.select("nothing"))[0]
        failure.trap(Refused)
        self.assertEqual(failure.value.code_name, "NONEXISTENT")
        self.assertIsNone(client.session.selected)
        self.assertRaises(WrongState, client.session.fetch, "1")

    def test_fetch(self) -> None:
        client = self.client(MESSAGE, MESSAGE)
        found = client.run(
            client.session.fetch(
                "1:*", ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE"]
            )
        )
        self.assertEqual([each.uid for each in found], [1, 2])
        message = found[0]
        assert message.envelope is not None and message.structure is not None
        self.assertEqual(message.size, len(MESSAGE))
        self.assertEqual(message.internal_date, 1_000_000_000)
        self.assertEqual(message.envelope.subject, b"Hello")
        self.assertEqual(message.envelope.from_[0].local_part, b"ann")
        self.assertEqual((message.structure.type, message.structure.section), ("text", "1"))

    def test_fetch_contents(self) -> None:
        client = self.client(MESSAGE)
        items = ["BODY.PEEK[]", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]", "BODY.PEEK[TEXT]<0.3>"]
        (message,) = client.run(client.session.fetch([1], items))
        content = message.content()
        assert content is not None
        self.assertEqual(content.octets(), MESSAGE)
        field = message.content("HEADER.FIELDS (SUBJECT)")
        assert field is not None
        self.assertEqual(field.octets(), b"Subject: Hello\r\n\r\n")
        text = message.sections["BODY[TEXT]<0>"]
        assert text is not None
        self.assertEqual(text.octets(), b"How")

    def test_fetch_of_nothing_sends_nothing(self) -> None:
        client = self.client(MESSAGE)
        self.assertEqual(client.run(client.session.fetch([])), [])
        self.assertEqual(client.run(client.session.fetch([7])), [])

    def test_fetch_one_by_one(self) -> None:
        client = self.client(*[b"%d" % number for number in range(30)])

        async def read() -> list[bytes]:
            found = []
            async for message in client.session.fetch("1:*", "BODY[]"):
                content = message.content()
                assert content is not None
                found.append(content.octets())
            return found

        self.assertEqual(client.run(read()), [b"%d" % number for number in range(30)])

    def test_a_command_between_two_messages(self) -> None:
        client = self.client(*[b"x" * 1000] * 3000)

        async def work() -> int:
            count = 0
            async for message in client.session.fetch("1:*", "BODY.PEEK[]"):
                if count % 1000 == 0:
                    assert message.uid is not None
                    await client.session.store(message.uid, FlagOp.ADD, ["\\Flagged"])
                count += 1
            return count

        self.assertEqual(client.run(work()), 3000)
        flagged = client.run(client.session.search(HasFlag("\\Flagged")))
        self.assertEqual(flagged, [1, 1001, 2001])

    def test_giving_up_an_iteration(self) -> None:
        client = self.client(*[b"x" * 1000] * 3000)

        async def read() -> int | None:
            async for message in client.session.fetch("1:*", "BODY.PEEK[]"):
                return message.uid
            return None

        self.assertEqual(client.run(read()), 1)
        self.assertEqual(len(client.run(client.session.search())), 3000)

    def test_stream(self) -> None:
        large = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 100_000
        client = self.client(large, b"Subject: small\r\n\r\n", piece=10_000)

        async def read(uid: int, section: str = "") -> bytes:
            return b"".join([piece async for piece in client.session.stream(uid, section)])

        self.assertEqual(client.run(read(1)), large)
        self.assertEqual(client.run(read(2)), b"Subject: small\r\n\r\n")
        self.assertEqual(client.run(read(2, "TEXT")), b"")

    def test_search(self) -> None:
        client = self.client(MESSAGE, b"Subject: =?utf-8?q?=C3=BCber?=\r\n\r\n", MESSAGE)
        session = client.session
        self.assertEqual(client.run(session.search()), [1, 2, 3])
        self.assertEqual(client.run(session.search("UNSEEN SUBJECT hello")), [1, 3])
        self.assertEqual(client.run(session.search(HeaderContains("subject", "über"))), [2])
        both = And([Not(HasFlag("\\Seen")), HeaderContains("Message-ID", "1@")])
        self.assertEqual(client.run(session.search(both)), [1, 3])
        self.assertEqual(client.run(session.search("SEEN")), [])

    def test_store(self) -> None:
        client = self.client(b"x", b"y")
        answer = client.run(client.session.store("1:2", FlagOp.ADD, ["\\Seen", "mine"]))
        self.assertEqual(
            [(each.uid, each.flags) for each in answer.messages],
            [(uid, {"\\Seen", "mine"}) for uid in (1, 2)],
        )
        client.run(client.session.store(Numbers(2), FlagOp.REPLACE, [], silent=True))
        self.assertEqual(client.run(client.session.search("SEEN")), [1])
        operation: Any = "+"
        for change in (client.session.store, client.session.store_labels):
            with self.assertRaisesRegex(TypeError, "operation is a FlagOp: '\\+'"):
                client.run(change("1", operation, "mine"))

    def test_the_selected_mailbox_in_a_log(self) -> None:
        client = self.client(b"x", b"y")
        shown = repr(client.session.selected)
        self.assertEqual(shown, "<Selected 'INBOX': 2 messages>")
        client.run(client.session.select("INBOX", read_only=True))
        shown = repr(client.session.selected)
        self.assertEqual(shown, "<Selected 'INBOX': 2 messages, read-only>")

    def test_append(self) -> None:
        client = self.client()
        result = client.run(
            client.session.append(
                "Sent", NewMessage(MESSAGE, ["\\Seen"], 1_600_000_000), b"Subject: x\r\n\r\n"
            )
        )
        assert result is not None
        self.assertEqual(list(result.uids), [1, 2])
        client.run(client.session.select("Sent"))
        first, second = client.run(client.session.fetch("1:*", ["FLAGS", "INTERNALDATE", "UID"]))
        self.assertEqual((first.flags, first.internal_date), ({"\\Seen"}, 1_600_000_000))
        self.assertEqual(second.flags, set())

    def test_append_to_nothing(self) -> None:
        client = self.client()
        failure = client.start(client.session.append("none", b"x"))[0]
        failure.trap(Refused)
        self.assertEqual(failure.value.code_name, "TRYCREATE")

    def test_copy_move_expunge(self) -> None:
        client = self.client(b"1", b"2", b"3")
        session = client.session
        copied = client.run(session.copy([1, 3], "Sent"))
        assert copied is not None
        self.assertEqual((copied.source_uids, copied.destination_uids), ([1, 3], [1, 2]))
        moved = client.run(session.move([2], "Trash"))
        assert moved is not None and session.selected is not None
        self.assertEqual(moved.source_uids, [2])
        self.assertEqual(session.selected.exists, 2)
        client.run(session.store("1:*", FlagOp.ADD, ["\\Deleted"], silent=True))
        client.run(session.expunge([1]))
        self.assertEqual(session.selected.exists, 1)
        client.run(session.expunge())
        self.assertEqual(session.selected.exists, 0)

    def test_mailboxes(self) -> None:
        client = self.client()
        session = client.session
        client.run(session.create('Größe & "Maß"/a'))
        names = [each.name for each in client.run(session.list())]
        self.assertIn('Größe & "Maß"/a', names)
        client.run(session.rename('Größe & "Maß"/a', "b"))
        client.run(session.unsubscribe("Sent"))
        listed = {each.name for each in client.run(session.lsub())}
        self.assertNotIn("Sent", listed)
        self.server.add(b"x", mailbox="b")
        status = client.run(session.status("b", ["MESSAGES", "UIDNEXT"]))
        self.assertEqual(status.items, {"MESSAGES": 1, "UIDNEXT": 2})
        client.run(session.delete("b"))
        client.start(session.status("b"))[0].trap(Refused)

    def test_other_commands(self) -> None:
        client = self.client()
        session = client.session
        self.assertEqual(client.run(session.namespaces()).personal[0].separator, "/")
        self.assertEqual(client.run(session.identify({"name": "test"})).fields["name"], "mailkit")
        client.run(session.noop())
        client.run(session.unselect())
        self.assertIsNone(session.selected)
        client.run(session.logout())
        self.assertTrue(session.closed)

    def test_idle(self) -> None:
        client = self.client(b"x")
        heard: list[Any] = []

        async def listen() -> None:
            async with client.session.idle() as changes:
                async for change in changes:
                    heard.append(change)
                    if isinstance(change, Expunge):
                        break

        results = client.start(listen())
        self.server.add(b"y")
        client.flush()
        other = login(self.server)
        other.run(other.session.select("INBOX"))
        other.run(other.session.store(1, FlagOp.ADD, ["\\Deleted"]))
        client.flush()
        other.run(other.session.expunge())
        client.flush()
        self.assertEqual(len(results), 1)
        self.assertIn(Exists(2), heard)
        flagged = [each for each in heard if isinstance(each, Message)]
        self.assertEqual([each.flags for each in flagged][-1], {"\\Deleted"})
        self.assertIsInstance(heard[-1], Expunge)
        client.run(client.session.noop())

    def test_a_session_that_is_left_alone(self) -> None:
        # Silence counts while an answer is due.
        client = self.client(b"x")
        client.clock.advance(SETTINGS.timeouts.silence + 100)
        client.run(client.session.noop())
        changes = client.session.idle()
        client.run(changes.__aenter__())
        client.clock.advance(SETTINGS.timeouts.silence + 100)
        client.run(changes.__aexit__(None, None, None))
        self.assertEqual(client.run(client.session.search()), [1])

    def test_a_message_that_takes_long_to_send(self) -> None:
        class Slow(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                client.clock.rightNow += SETTINGS.timeouts.silence - 1
                return super().read(size)

        client = self.client()
        client.run(client.session.append("INBOX", Slow(b"x" * 200_000)))
        self.assertEqual(
            client.run(client.session.status("INBOX", ["MESSAGES"])).items["MESSAGES"], 1
        )

    def test_idle_is_said_anew(self) -> None:
        client = self.client()

        async def listen() -> Any:
            async with client.session.idle() as changes:
                return await changes.next(None)

        results = client.start(listen())
        for _ in range(4):
            client.clock.advance(SETTINGS.timeouts.idle)
            client.flush()
        self.server.add(b"x")
        client.flush()
        self.assertEqual(len(results), 1)
