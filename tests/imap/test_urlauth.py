"""URLs that let others read parts of messages (RFC 4467)."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap.handlers import urlauth
from mailkit.imap.urlparts import URLPart
from tests.imap.fakes import PlainAccount
from tests.imap.messages import NESTED
from tests.imap.support import Client, Server, ServerTestCase, now

BOB = "bob@example.org"
#: The URL of a part of the first message in INBOX.
PART = b"imap://ann%40example.org@mail.example.org/INBOX/;uid=1/;section=1"


class StoredTests(ServerTestCase):
    """Ann has a message; bob is somebody else of the same store."""

    def prepare(self) -> tuple[Client, Client]:
        self.server = server = self.make_server()
        now(server.store.add_account(name=BOB))
        bob = Server(now(server.store.open_account(name=BOB)))
        client = server.login()
        client.send(b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(NESTED), NESTED))
        return client, bob.login()

    def signed(self, client: Client, tail: bytes = b";urlauth=anonymous") -> bytes:
        """The part's URL with a token."""
        line, last = client.command(b'GENURLAUTH "%b%b" INTERNAL' % (PART, tail))
        self.assertEqual(last, b"OK GENURLAUTH completed")
        self.assertRegex(line, rb'^\* GENURLAUTH "[^"]+:internal:01[0-9a-f]{64}"$')
        url = line.partition(b'"')[2][:-1]
        self.assertTrue(url.startswith(PART + tail + b":internal:"), url)
        return url

    def fetched(self, client: Client, url: bytes) -> bytes | None:
        line, last = client.command(b'URLFETCH "%b"' % url)
        self.assertEqual(last, b"OK URLFETCH completed")
        self.assertTrue(line.startswith(b'* URLFETCH "%b" ' % url), line)
        value = line[len(b'* URLFETCH "%b" ' % url) :]
        return None if value == b"NIL" else value.partition(b"\r\n")[2]

    def test_whoever_has_the_url_reads_the_part(self) -> None:
        ann, bob = self.prepare()
        url = self.signed(ann)
        for client in (ann, bob):
            self.assertEqual(self.fetched(client, url), b"first")

    def test_a_part_that_cannot_be_read_to_its_end(self) -> None:
        ann, _ = self.prepare()
        url = self.signed(ann)

        def octets(part: URLPart) -> Iterator[bytes]:
            yield b"f"
            raise OSError(5, "I/O error")

        self.patch(URLPart, "octets", octets)
        received = ann.send(b'b URLFETCH "%b"\r\n' % url)
        # Anything else would be taken for the rest of the literal.
        self.assertTrue(received.endswith(b" {5}\r\nf"), received)
        self.assertTrue(ann.closed)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_any_other_octet_is_another_url(self) -> None:
        ann, bob = self.prepare()
        url = self.signed(ann)
        for other in (
            url.replace(b"section=1", b"section=2"),
            url.replace(b"mail.example", b"Mail.example"),
            url.replace(b"uid=1", b"UID=1"),
            url.replace(b"anonymous", b"authuser"),
            url[:-1] + (b"0" if url[-1:] != b"0" else b"1"),
            url[:-2],
            url + b"00",
            url.replace(b"internal", b"other"),
            url.replace(b"ann%40", b"bob%40"),
            url.replace(b"ann%40", b"nobody%40"),
            url.replace(b"INBOX", b"Nothing"),
            PART,
            PART + b";urlauth=anonymous",
            b"nonsense",
        ):
            self.assertIsNone(self.fetched(bob, other), other)
        self.assertEqual(self.fetched(bob, url), b"first")
        upper = url[:-64] + url[-64:].upper()
        self.assertEqual(self.fetched(bob, upper), b"first")

    def test_access_identifiers(self) -> None:
        ann, bob = self.prepare()
        for access, for_ann, for_bob in (
            (b"authuser", True, True),
            (b"user+bob%40example.org", False, True),
            (b"user+Ann%40example.org", True, False),
            (b"submit+bob%40example.org", False, False),
        ):
            url = self.signed(ann, b";urlauth=" + access)
            self.assertEqual(self.fetched(ann, url) is not None, for_ann, access)
            self.assertEqual(self.fetched(bob, url) is not None, for_bob, access)

    def test_the_submission_server_reads_what_is_for_it(self) -> None:
        ann, _ = self.prepare()
        url = self.signed(ann, b";urlauth=submit+ann%40example.org")
        server = Server(now(self.server.store.open_account(name=BOB)), submission_accounts=[BOB])
        self.assertEqual(self.fetched(server.login(), url), b"first")

    def test_expiry(self) -> None:
        ann, bob = self.prepare()
        # The clock begins at 2001-09-09T01:46:40Z.
        url = self.signed(ann, b";expire=2001-09-09T01:46:41Z;urlauth=anonymous")
        self.assertEqual(self.fetched(bob, url), b"first")
        bob.server.clock.advance(1)
        self.assertIsNone(self.fetched(bob, url))

    def test_reset_of_one_mailbox(self) -> None:
        ann, bob = self.prepare()
        url = self.signed(ann)
        self.assertEqual(self.signed(ann), url)
        lines = ann.command(b"RESETKEY inbox INTERNAL")
        self.assertEqual(lines, [b"OK [URLMECH INTERNAL] RESETKEY completed"])
        self.assertIsNone(self.fetched(bob, url))
        again = self.signed(ann)
        self.assertNotEqual(again, url)
        self.assertEqual(self.fetched(bob, again), b"first")

    def test_reset_of_all(self) -> None:
        ann, bob = self.prepare()
        url = self.signed(ann)
        self.assertEqual(ann.command(b"RESETKEY"), [b"OK All keys removed"])
        self.assertIsNone(self.fetched(bob, url))
        self.assertEqual(self.fetched(bob, self.signed(ann)), b"first")

    def test_bobs_reset_does_not_concern_ann(self) -> None:
        ann, bob = self.prepare()
        url = self.signed(ann)
        bob.command(b"RESETKEY")
        bob.command(b"RESETKEY INBOX")
        self.assertEqual(self.fetched(bob, url), b"first")

    def test_a_mailbox_that_is_made_again_has_another_key(self) -> None:
        ann, bob = self.prepare()
        ann.command(b"CREATE Box")
        ann.send(b"a APPEND Box {3+}\r\none\r\n")
        line, _ = ann.command(b'GENURLAUTH "%b;urlauth=authuser" INTERNAL' % PART.replace(b"INBOX", b"Box")
            .replace(b"/;section=1", b""))  # fmt: skip
        url = line.partition(b'"')[2][:-1]
        self.assertEqual(self.fetched(bob, url), b"one")
        ann.command(b"DELETE Box")
        self.assertIsNone(self.fetched(bob, url))
        ann.command(b"CREATE Box")
        ann.send(b"a APPEND Box {3+}\r\ntwo\r\n")
        self.assertIsNone(self.fetched(bob, url))

    def test_refusals(self) -> None:
        ann, _ = self.prepare()
        nothing = PART.replace(b"INBOX", b"Nothing")
        lines = ann.command(b'GENURLAUTH "%b;urlauth=anonymous" INTERNAL' % nothing)
        self.assertTrue(lines[0].startswith(b"NO [NONEXISTENT] "), lines)
        lines = ann.command(b"RESETKEY Nothing")
        self.assertTrue(lines[0].startswith(b"NO [NONEXISTENT] "), lines)


class StoredSQLiteTests(StoredTests):
    sqlite = True

    def test_keys_last(self) -> None:
        ann, _ = self.prepare()
        url = self.signed(ann)
        ann = self.reopen(self.server).login()
        self.assertEqual(self.fetched(ann, url), b"first")


class DialogueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.server.add(NESTED)
        self.client = self.server.login()

    def test_examples_of_the_standard(self) -> None:
        # RFC 4467 section 7
        for url in (
            b"imap://joe@example.com/INBOX/;uid=20/;section=1.2",
            b"imap://example.com/Shared/;uid=20/;section=1.2;urlauth=submit+fred",
            b"imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=submit+fred",
        ):
            (line,) = self.client.command(b'GENURLAUTH "%b" INTERNAL' % url)
            self.assertTrue(line.startswith(b"BAD "), (url, line))

    def test_several_urls(self) -> None:
        urls = [PART + b";urlauth=" + access for access in (b"anonymous", b"authuser")]
        line, _ = self.client.command(b'GENURLAUTH "%b" INTERNAL "%b" internal' % tuple(urls))
        signed = line.split(b'"')[1::2]
        self.assertEqual([url.partition(b":internal:")[0] for url in signed], urls)
        lines = self.client.command(b'URLFETCH "%b" nonsense "%b"' % tuple(signed))
        self.assertEqual(len(lines), 4)
        self.assertEqual([line.endswith(b"{5}\r\nfirst") for line in lines], [1, 0, 1, 0])
        self.assertEqual(lines[1], b'* URLFETCH "nonsense" NIL')

    def test_select_tells_the_mechanism(self) -> None:
        # RFC 4467 section 8
        for command in ("SELECT INBOX", "EXAMINE INBOX"):
            self.assertIn(b"* OK [URLMECH INTERNAL] ", b"".join(self.client.command(command)))

    def test_faults(self) -> None:
        url = PART + b";urlauth=anonymous"
        for text in (
            b"GENURLAUTH",
            b'GENURLAUTH "%b"' % url,
            b'GENURLAUTH "%b" OTHER' % url,
            b'GENURLAUTH "%b:internal:%b" INTERNAL' % (url, b"0" * 32),
            b"GENURLAUTH nonsense INTERNAL",
            b'GENURLAUTH "%b" INTERNAL x' % url,
            b"URLFETCH",
            b"URLFETCH (",
            b"RESETKEY INBOX (",
        ):
            (line,) = self.client.command(text)
            self.assertTrue(line.startswith(b"BAD "), (text, line))
        (line,) = self.client.command(b"RESETKEY INBOX XSAMPLE")
        self.assertEqual(line, b"NO The only mechanism is INTERNAL")
        (line,) = self.client.command(b"URLFETCH" + b" x" * (urlauth.MAX_URLS + 1))
        self.assertTrue(line.startswith(b"BAD At most 100 URLs"), line)

    def test_before_login(self) -> None:
        client = self.server.connect()
        for text in ("RESETKEY", "GENURLAUTH x INTERNAL", "URLFETCH x"):
            self.assertTrue(client.command(text)[0].startswith(b"BAD "), text)
        self.assertNotIn(b"URLAUTH", client.greeting)

    def test_only_where_the_store_keeps_keys(self) -> None:
        self.assertIn(b" URLAUTH", self.client.command("CAPABILITY")[0])
        client = Server(PlainAccount(self.server.account)).login()
        self.assertNotIn(b"URLAUTH", client.command("CAPABILITY")[0])
        for text in ("RESETKEY", "GENURLAUTH x INTERNAL", "URLFETCH x"):
            self.assertTrue(client.command(text)[0].startswith(b"BAD "), text)

    def test_switched_off(self) -> None:
        client = Server(without=["URLAUTH"]).login()
        self.assertNotIn(b"URLAUTH", client.command("CAPABILITY")[0])
        self.assertEqual(client.command("RESETKEY"), [b"BAD There is no such command"])
        self.assertNotIn(b"URLMECH", b"".join(client.command("SELECT INBOX")))
