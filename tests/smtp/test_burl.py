"""BURL (RFC 4468): content from where a URL says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailkit.errors import BadURL, StoreUnavailable
from mailkit.imap.resolver import StoreURLResolver
from mailkit.interfaces import IMailStore, IURLResolver
from mailkit.model import AppendMessage, URLContent
from mailkit.smtp.extensions.settings import ExtensionSettings
from mailkit.spool import Spool
from mailkit.store.memory import MemoryStore
from tests.imap.support import Server as IMAPServer
from tests.imap.support import now
from tests.smtp.fakes import Server
from tests.smtp.test_submission import COMPLETE, LOGIN, Submission

MESSAGE = COMPLETE + b"Subject: stored\r\n\r\nSi vis pacem, para bellum.\r\n"
URL = (
    "imap://ann@mail.example/outbox;uidvalidity=1078863300/;uid=25;urlauth=submit+ann"
    ":internal:91354a473744909de610943775f92038"
)


@implementer(IURLResolver)
class Resolver:
    """Gives the same for every URL."""

    def __init__(self, content: bytes = MESSAGE, size: int | None = None) -> None:
        self.content = content
        self.size = len(content) if size is None else size
        self.asked: list[tuple[bytes, str]] = []
        self.closed = 0
        self.error: Exception | None = None
        self.waiting: Deferred[None] | None = None

    async def open_url(self, url: bytes, account: str) -> URLContent:
        self.asked.append((url, account))
        if self.waiting is not None:
            await self.waiting
        if self.error is not None:
            raise self.error
        return URLContent(self.size, self._pieces(), self._close)

    def _pieces(self) -> Iterator[bytes]:
        for start in range(0, len(self.content), 100):
            yield self.content[start : start + 100]

    def _close(self) -> None:
        self.closed += 1


def begun(resolver: Any, **settings: Any) -> Submission:
    """A submission server that has taken a sender and a recipient."""
    server = Submission(url_resolver=resolver, **settings).log_in()
    codes = server.say("MAIL FROM:<ann@example.org>", "RCPT TO:<bob@example.org>")
    assert [code[:3] for code in codes] == ["250", "250"], codes
    return server


class BurlTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.resolver = Resolver()

    def test_a_whole_message(self) -> None:
        server = begun(self.resolver)
        (answer,) = server.say(f"BURL {URL} LAST")
        self.assertTrue(answer.startswith("250 2.0.0 "), answer)
        self.assertEqual(server.message, MESSAGE)
        self.assertEqual(self.resolver.asked, [(URL.encode(), "ann@example.org")])
        self.assertEqual(self.resolver.closed, 1)

    def test_pipelined(self) -> None:
        # RFC 4468 section 3.4
        server = Submission(url_resolver=self.resolver).log_in()
        codes = server.say(
            "MAIL FROM:<ann@example.org>", "RCPT TO:<bob@example.org>", f"BURL {URL} LAST", "NOOP"
        )
        self.assertEqual([code[:3] for code in codes], ["250"] * 4)
        self.assertEqual(server.message, MESSAGE)

    def test_slow_resolver_with_commands_behind_it(self) -> None:
        self.resolver.waiting = waiting = Deferred()
        server = begun(self.resolver)
        self.assertEqual(server.say(f"BURL {URL} LAST", "NOOP"), [])
        waiting.callback(None)
        codes = server.answer().decode().splitlines()
        self.assertEqual([code[:9] for code in codes], ["250 2.0.0", "250 2.0.0"])
        self.assertEqual(server.message, MESSAGE)

    def test_among_chunks(self) -> None:
        self.resolver.content = b"from the URL\r\n"
        self.resolver.size = 14
        server = begun(self.resolver)
        head = COMPLETE + b"\r\nfirst\r\n"
        answers = server.send(
            b"BDAT %d\r\n%bBURL %b\r\nBDAT 6 LAST\r\nlast\r\n" % (len(head), head, URL.encode())
        ).decode()
        self.assertEqual([line[:3] for line in answers.splitlines()], ["250"] * 3)
        self.assertEqual(server.message, head + b"from the URL\r\nlast\r\n")

    def test_announced(self) -> None:
        server = Submission(url_resolver=self.resolver).greet()
        self.assertIn("250-BURL", server.say("EHLO me.example"))
        server.say(LOGIN)
        self.assertIn("250-BURL imap", server.say("EHLO me.example"))
        for other in (Submission(), Server()):
            other.greet()
            self.assertNotIn("BURL", "".join(other.say("EHLO me.example")))
            self.assertEqual(other.say(f"BURL {URL} LAST")[0][:3], "502")

    def test_switched_off(self) -> None:
        settings = ExtensionSettings(without=["BURL"])
        server = begun(self.resolver, extensions=settings)
        self.assertEqual(server.say(f"BURL {URL} LAST")[0][:3], "502")

    def test_a_url_that_fails_ends_the_transaction(self) -> None:
        for error, expected in (
            (BadURL("IMAP URL resolution failed"), "554 5.6.6 IMAP URL resolution failed"),
            (StoreUnavailable("Not now"), "451 "),
        ):
            self.resolver.error = error
            for chunk in (b"", b"BDAT 3\r\nabc"):
                server = begun(self.resolver)
                answers = server.send(chunk + f"BURL {URL} LAST\r\nDATA\r\n".encode()).decode()
                *_, answer, after = answers.splitlines()
                self.assertTrue(answer.startswith(expected), answer)
                self.assertEqual(after[:3], "503")
                self.assertEqual(server.users["ann"].received, [])

    def test_too_large(self) -> None:
        server = begun(self.resolver, max_size=100)
        (answer,) = server.say(f"BURL {URL} LAST")
        self.assertTrue(answer.startswith("552 5.3.4"), answer)
        self.assertEqual(self.resolver.closed, 1)
        self.assertEqual(server.users["ann"].received, [])

    def test_less_than_was_promised(self) -> None:
        self.resolver.size += 1
        server = begun(self.resolver)
        (answer,) = server.say(f"BURL {URL} LAST")
        self.assertTrue(answer.startswith("451 4.3.0"), answer)
        self.assertEqual(server.say("NOOP")[0][:3], "250")
        self.assertEqual(server.users["ann"].received, [])

    def test_out_of_order(self) -> None:
        server = Submission(url_resolver=self.resolver).greet()
        self.assertEqual(server.say(f"BURL {URL} LAST")[0][:3], "503")
        server.say(LOGIN)
        self.assertEqual(server.say(f"BURL {URL} LAST")[0][:3], "503")
        server.say("MAIL FROM:<ann@example.org>")
        self.assertEqual(server.say(f"BURL {URL} LAST")[0][:3], "554")
        self.assertEqual(self.resolver.asked, [])

    def test_syntax(self) -> None:
        server = begun(self.resolver)
        for argument in ("", " ", " LAST", " outbox LAST", f" {URL} FIRST", f" {URL} LAST x"):
            self.assertEqual(server.say("BURL" + argument)[0][:3], "501", argument)
        self.assertEqual(server.say(f"burl {URL}  last")[0][:3], "250")

    def test_the_client_goes_while_the_url_is_looked_up(self) -> None:
        self.resolver.waiting = Deferred(lambda _: None)
        server = begun(self.resolver)
        server.say(f"BURL {URL} LAST")
        server.lose()
        self.assertEqual(server.users["ann"].received, [])


class StoreTests(SynchronousTestCase):
    """With URLs that IMAP has made."""

    def setUp(self) -> None:
        self.server = IMAPServer()
        self.store: IMailStore = self.server.store
        assert isinstance(self.store, MemoryStore)
        now(self.store.add_account("bob@example.org"))
        mailbox = self.server.mailbox()
        now(mailbox.append(messages=[AppendMessage(Spool.from_bytes(MESSAGE))]))
        self.resolver = StoreURLResolver(lambda: self.store, self.server.clock)

    def make_url(self, access: str, tail: str = "") -> bytes:
        base = f"imap://ann%40example.org@h/INBOX/;uid=1{tail};urlauth={access}"
        (line, _) = self.server.login().command(f'GENURLAUTH "{base}" INTERNAL')
        return line.split(b'"')[1]

    def read(self, url: bytes, account: str = "ann@example.org") -> bytes:
        content = now(self.resolver.open_url(url=url, account=account))
        octets = b"".join(content.octets)
        content.close()
        self.assertEqual(len(octets), content.size)
        return octets

    def test_who_may(self) -> None:
        for access, ann, bob in (
            ("submit+ann%40example.org", True, False),
            ("submit+bob%40example.org", False, True),
            ("authuser", True, True),
            ("anonymous", True, True),
            # Of an IMAP session, not of a submission server.
            ("user+ann%40example.org", False, False),
        ):
            url = self.make_url(access)
            for account, may in (("ann@example.org", ann), ("bob@example.org", bob)):
                if may:
                    self.assertEqual(self.read(url, account), MESSAGE)
                else:
                    with self.assertRaises(BadURL, msg=(access, account)):
                        self.read(url, account)

    def test_parts(self) -> None:
        url = self.make_url("anonymous", "/;section=TEXT/;partial=3.3")
        self.assertEqual(self.read(url), b"vis")

    def test_what_does_not_hold(self) -> None:
        url = self.make_url("anonymous")
        for other in (url[:-1] + b"x", url.partition(b":internal")[0], b"http://h/x", b"/a/;UID=1"):
            with self.assertRaises(BadURL, msg=other):
                self.read(other)
        with self.assertRaises(BadURL):
            self.read(url, "nobody@example.org")

    def test_from_the_store_to_the_recipient(self) -> None:
        server = begun(self.resolver)
        server.protocol.session.account = "ann@example.org"
        url = self.make_url("submit+ann%40example.org").decode()
        (answer,) = server.say(f"BURL {url} LAST")
        self.assertTrue(answer.startswith("250 2.0.0 "), answer)
        self.assertEqual(server.message, MESSAGE)
