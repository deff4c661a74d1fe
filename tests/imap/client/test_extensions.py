"""Entries, signed URLs, replacing, pages, UIDs alone, another user: with our own server."""

from __future__ import annotations

from typing import Any

from mailkit.imap.client import (
    Credentials,
    EventGroup,
    Exists,
    LoginRefused,
    Message,
    MetadataAnswer,
    MetadataChanged,
    NewMessage,
    NotOffered,
    ProtocolError,
    Refused,
    WrongState,
)
from mailkit.imap.client.reader import Response
from mailkit.imap.client.responses import parse_response
from mailkit.imap.client.values import AuthorizedURLs, FetchedURLs, Metadata
from mailkit.model import AppendResult, FlagOp
from tests.imap.client.support import CREDENTIALS, Client, ClientTestCase, login
from tests.imap.client.test_bounds import limited
from tests.imap.client.test_pipelining import SELECTED
from tests.imap.support import Server

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"
URL = "imap://ann%40example.org@mail.example.org/INBOX/;uid=1/;section=TEXT;urlauth=anonymous"


class ExtensionTestCase(ClientTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.server.add(*[MESSAGE] * 5)
        self.client = login(self.server)
        self.session = self.client.session


class MetadataTests(ExtensionTestCase):
    def test_values(self) -> None:
        strange = bytes(range(256))
        for place in (None, "INBOX", "Größe"):
            if place == "Größe":
                self.run_it(self.session.create(place))
            entries = {"/private/comment": b'say "x"', "/private/vendor/acme/a": strange}
            self.run_it(self.session.set_metadata(place, entries))
            wanted = [*entries, "/shared/comment"]
            found = self.run_it(self.session.get_metadata(place, wanted))
            self.assertEqual(found, MetadataAnswer({**entries, "/shared/comment": None}))
            self.run_it(self.session.set_metadata(place, {"/private/comment": None}))
            found = self.run_it(self.session.get_metadata(place, ["/private"], depth=None))
            self.assertEqual(found.entries, {"/private/vendor/acme/a": strange})
            found = self.run_it(self.session.get_metadata(place, ["/private"], depth=1))
            self.assertEqual(found.entries, {})

    def test_sizes(self) -> None:
        entries = {"/private/comment": b"x" * 50, "/private/vendor/acme/a": b"y"}
        self.run_it(self.session.set_metadata("INBOX", entries))
        found = self.run_it(self.session.get_metadata("INBOX", entries, max_size=10))
        self.assertEqual(found, MetadataAnswer({"/private/vendor/acme/a": b"y"}, 50))

    def test_refusals(self) -> None:
        many = {f"/private/vendor/acme/{number}": b"x" for number in range(101)}
        error = self.fails(Refused, self.session.set_metadata("INBOX", many))
        self.assertEqual((error.code_name, error.response_code.arguments), ("METADATA", b"TOOMANY"))
        self.fails(ValueError, self.session.get_metadata("INBOX", []))
        self.fails(ValueError, self.session.set_metadata("INBOX", {}))
        without = login(Server(without=["METADATA"]))
        without.run(without.session.get_metadata(None, ["/private/comment"]))
        (failure,) = without.start(without.session.get_metadata("INBOX", ["/private/comment"]))
        failure.trap(NotOffered)

    def test_changes_by_others(self) -> None:
        self.run_it(self.session.enable("METADATA"))
        self.run_it(self.session.select("INBOX"))
        heard: list[Any] = []

        async def listen() -> None:
            async with self.session.idle() as changes:
                heard.extend([await changes.next(None), await changes.next(None)])

        self.client.start(listen())
        other = login(self.server)
        other.run(other.session.set_metadata("INBOX", {"/private/comment": b"x"}))
        other.run(other.session.set_metadata(None, {"/private/comment": b"x"}))
        self.client.flush()
        entries = ("/private/comment",)
        self.assertEqual(heard, [MetadataChanged("INBOX", entries), MetadataChanged(None, entries)])

    def test_responses(self) -> None:
        for octets, expected in (
            (
                b'METADATA "" (/a "x" "/b c" NIL /d ~{2}\r\n\0x)',
                {"/a": b"x", "/b c": None, "/d": b"\0x"},
            ),
            (b"METADATA INBOX ()", {}),
        ):
            found: Any = parse_response(Response(b"* " + octets, {}))
            self.assertEqual(found, Metadata("INBOX" if b"INBOX" in octets else None, expected))
        changed = parse_response(Response(b'* METADATA "a b" /x "/y z" ', {}))
        self.assertEqual(changed, MetadataChanged("a b", ("/x", "/y z")))
        for octets in (b"METADATA x (/a)", b"METADATA x (/a x", b"METADATA"):
            self.assertRaises(ProtocolError, parse_response, Response(b"* " + octets, {}))


class URLTests(ExtensionTestCase):
    def test_urls(self) -> None:
        (signed,) = self.run_it(self.session.authorize_urls([URL]))
        self.assertTrue(signed.startswith(URL + ":internal:"), signed)
        wrong = signed[:-2] + ("00" if signed[-2:] != "00" else "11")
        found = self.run_it(self.session.fetch_urls([signed, wrong]))
        self.assertEqual(found, {signed: b"body\r\n", wrong: None})
        for name in ("INBOX", None):
            (signed,) = self.run_it(self.session.authorize_urls([URL]))
            self.run_it(self.session.reset_url_key(name))
            self.assertEqual(self.run_it(self.session.fetch_urls([signed])), {signed: None})

    def test_responses(self) -> None:
        found = parse_response(Response(b'* GENURLAUTH "imap://a" imap://b', {}))
        self.assertEqual(found, AuthorizedURLs(("imap://a", "imap://b")))
        found = parse_response(Response(b'* URLFETCH "imap://a" NIL imap://b {2}\r\n\r\n', {}))
        self.assertEqual(found, FetchedURLs({"imap://a": None, "imap://b": b"\r\n"}))

    def test_a_server_that_signs_too_little(self) -> None:
        wire = limited()
        wire.session._connection.facts.announced |= {"URLAUTH"}
        results = wire.start(wire.session.authorize_urls([URL]))
        wire.say(b"m1 OK x\r\n")
        results[0].trap(ProtocolError)


class MessageTests(ExtensionTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.run_it(self.session.select("INBOX"))

    def test_replacing(self) -> None:
        new = NewMessage(b"Subject: new\r\n\r\n", "\\Seen")
        found = self.run_it(self.session.replace(2, "INBOX", new))
        self.assertEqual(list(found.uids), [6])
        self.assertEqual(self.run_it(self.session.search()), [1, 3, 4, 5, 6])
        found = self.run_it(self.session.replace(6, "Sent", b"Subject: newer\r\n\r\n"))
        self.assertEqual(list(found.uids), [1])
        self.assertEqual(self.run_it(self.session.search()), [1, 3, 4, 5])
        self.fails(Refused, self.session.replace(99, "INBOX", new))

    def test_replacing_as_the_standard_shows_it(self) -> None:
        """RFC 8508 section 3.4."""
        wire = limited()
        wire.start(wire.session.select("INBOX"))
        wire.say(SELECTED)
        wire.session._connection.facts.announced |= {"REPLACE", "LITERAL+"}
        results = wire.start(wire.session.replace(4, "Drafts", MESSAGE))
        wire.say(
            b"* OK [APPENDUID 1 2000] Replacement Message ready\r\n* 4 EXPUNGE\r\nm2 OK done\r\n"
        )
        self.assertEqual(results, [AppendResult(1, [2000])])

    def test_pages(self) -> None:
        found = self.run_it(self.session.extended_search("ALL", ["PARTIAL 2:3", "COUNT"]))
        self.assertEqual((found.partial, found.total, found.all), (((2, 3),), 5, None))
        found = self.run_it(self.session.extended_search("ALL", ["PARTIAL -1:-2"]))
        self.assertEqual(found.partial, ((4, 5),))
        found = self.run_it(self.session.extended_search("ALL", ["PARTIAL 9:10"]))
        self.assertEqual(found.partial, ())
        messages = self.run_it(self.session.fetch("1:*", "FLAGS", page=(-1, -2)))
        self.assertEqual([each.uid for each in messages], [4, 5])
        modseq = self.run_it(self.session.fetch([5], "MODSEQ"))[0].modseq
        self.run_it(self.session.store([1, 2, 3], FlagOp.ADD, ["x"]))
        messages = self.run_it(
            self.session.fetch("1:*", "FLAGS", page=(1, 2), changed_since=modseq)
        )
        self.assertEqual([each.uid for each in messages], [1, 2])
        with self.assertRaises(ValueError):
            self.session.fetch(range(1, 9000, 2), "FLAGS", page=(1, 2))


class UIDOnlyTests(ExtensionTestCase):
    """RFC 9586: nothing has a number."""

    def setUp(self) -> None:
        super().setUp()
        self.assertIn("UIDONLY", self.run_it(self.session.enable("UIDONLY")))
        self.selected = self.run_it(self.session.select("INBOX"))

    def test_messages(self) -> None:
        messages = self.run_it(self.session.fetch("2:3", ["FLAGS", "BODY.PEEK[]"]))
        self.assertEqual([(each.number, each.uid) for each in messages], [(0, 2), (0, 3)])
        content = messages[0].content()
        self.assertEqual(content.octets(), MESSAGE)

        async def read() -> bytes:
            return b"".join([piece async for piece in self.session.stream(3)])

        self.assertEqual(self.run_it(read()), MESSAGE)
        answer = self.run_it(self.session.store([2, 5], FlagOp.ADD, ["\\Deleted"]))
        self.assertEqual([each.uid for each in answer.messages], [2, 5])
        self.run_it(self.session.expunge())
        self.assertEqual(self.selected.exists, 3)
        self.assertEqual(self.run_it(self.session.search()), [1, 3, 4])
        self.run_it(self.session.move([1], "Sent"))
        self.assertEqual(self.selected.exists, 2)

    def test_changes(self) -> None:
        other = login(self.server)
        other.run(other.session.select("INBOX"))
        heard: list[Any] = []

        async def listen() -> None:
            events = ["MessageNew", "MessageExpunge", "FlagChange"]
            async with self.session.notify([EventGroup("selected", events)]) as changes:
                while len(heard) < 3:
                    heard.append(await changes.next(None))

        self.client.start(listen())
        other.run(other.session.store([4], FlagOp.ADD, ["x"]))
        other.run(other.session.append("INBOX", MESSAGE))
        self.client.flush()
        told = [each for each in heard if isinstance(each, Message)]
        self.assertEqual((told[0].uid, told[0].flags), (4, {"x"}))
        self.assertIn(Exists(6), heard)

    def test_what_is_too_large(self) -> None:
        wire = limited(line=1000)
        wire.start(wire.session.select("INBOX"))
        wire.say(SELECTED)
        first = wire.start(wire.session.fetch([1], "FLAGS"))
        second = wire.start(wire.session.fetch([700], "FLAGS"))
        wire.say(b"* 700 UIDFETCH (FLAGS (%b))\r\n" % (b"x" * 1000))
        wire.say(b"* 1 UIDFETCH (FLAGS ())\r\nm2 OK x\r\nm3 OK x\r\n")
        self.assertEqual([each.uid for each in first[0]], [1])
        self.assertEqual(second[0].type.__name__, "ResponseTooLarge")
        results = wire.start(wire.session.noop())
        wire.say(b"* 0 UIDFETCH (FLAGS ())\r\nm4 OK x\r\n")
        self.assertEqual(results, [None])


class UserTests(ExtensionTestCase):
    def test_another_user(self) -> None:
        self.run_it(self.session.enable("CONDSTORE"))
        self.run_it(self.session.select("INBOX"))
        self.run_it(self.session.unauthenticate(CREDENTIALS))
        self.assertIsNone(self.session.selected)
        self.assertEqual(self.session.facts.enabled, frozenset())
        self.assertEqual(self.session.facts.account, CREDENTIALS.username)
        self.assertTrue(self.session.has("UNAUTHENTICATE"))
        self.run_it(self.session.select("INBOX"))

    def test_refused(self) -> None:
        self.fails(LoginRefused, self.session.unauthenticate(Credentials("ann", "wrong")))
        self.assertIsNone(self.session.facts.account)
        self.assertTrue(self.session.closed)

    def test_where_it_is_not_possible(self) -> None:
        self.run_it(self.session.compress())
        self.fails(WrongState, self.session.unauthenticate(CREDENTIALS))
        client: Client = login(Server(without=["UNAUTHENTICATE"]))
        (failure,) = client.start(client.session.unauthenticate(CREDENTIALS))
        failure.trap(NotOffered)
