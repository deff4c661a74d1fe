"""THREAD (RFC 5256)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.interfaces import IMailbox
from tests.imap.support import Server, now
from tests.imap.test_sort import PlainMailbox


def message(number: int, subject: str, *ancestors: int) -> bytes:
    references = " ".join(f"<{ancestor}@x>" for ancestor in ancestors)
    return (
        f"Message-ID: <{number}@x>\r\nSubject: {subject}\r\nDate: {number} Jan 2024\r\n"
        f"References: {references}\r\n\r\n"
    ).encode()


class ThreadCase(SynchronousTestCase):
    """Six messages with the UIDs 2 to 7."""

    def setUp(self) -> None:
        self.server = Server()
        uids = self.server.add(
            b"\r\n",
            message(1, "one"),
            message(2, "Re: one", 1),
            message(3, "two"),
            message(4, "Re: one", 1, 2),
            message(5, "Re: TWO"),
            message(6, "re: other", 1, 2),
        )
        now(self.server.mailbox().expunge(uids=uids[:1]))
        self.client = self.server.login("SELECT INBOX")

    def ask(self, command: str) -> list[bytes]:
        return self.client.command(command)

    def check(self, command: str, *responses: bytes) -> None:
        self.assertEqual(self.ask(command), [*responses, b"OK THREAD completed"], command)


class ThreadTests(ThreadCase):
    def test_algorithms(self) -> None:
        self.check("THREAD REFERENCES UTF-8 ALL", b"* THREAD (1 2 (4)(6))(3 5)")
        self.check("THREAD ORDEREDSUBJECT US-ASCII ALL", b"* THREAD (1 (2)(4))(3 5)(6)")
        self.check("UID THREAD references UTF-8 ALL", b"* THREAD (2 3 (5)(7))(4 6)")
        self.check("THREAD REFS UTF-8 ALL", b"* THREAD (3)(5)(1 2 (4)(6))")

    def test_without_summaries(self) -> None:
        plain = PlainMailbox(self.server.mailbox())
        self.assertTrue(IMailbox.providedBy(plain))

        async def open_mailbox(name: str) -> PlainMailbox:
            return plain

        self.patch(self.server.account, "open_mailbox", open_mailbox)
        self.client = self.server.login("SELECT INBOX")
        self.check("THREAD REFERENCES UTF-8 ALL", b"* THREAD (1 2 (4)(6))(3 5)")

    def test_searching(self) -> None:
        self.check("THREAD REFERENCES UTF-8 2,4,6", b"* THREAD (2 (4)(6))")
        # Their parent does not match.
        self.check("THREAD REFERENCES UTF-8 4,6", b"* THREAD ((4)(6))")
        self.check("THREAD REFERENCES UTF-8 SUBJECT other", b"* THREAD (6)")
        self.check('THREAD ORDEREDSUBJECT US-ASCII TEXT "gewp"', b"* THREAD")

    def test_numbers_where_some_are_missing(self) -> None:
        now(self.server.mailbox().expunge(uids=[4]))
        self.ask("NOOP")
        self.check("THREAD REFERENCES UTF-8 ALL", b"* THREAD (1 2 (3)(5))(4)")
        self.check("UID THREAD REFERENCES UTF-8 ALL", b"* THREAD (2 3 (5)(7))(6)")

    def test_what_has_changed_meanwhile(self) -> None:
        self.server.add(message(7, "new", 1))
        now(self.server.mailbox().expunge(uids=[2]))
        self.assertEqual(
            self.ask("THREAD REFERENCES UTF-8 ALL"),
            [
                b"* THREAD (2 (4)(6))(3 5)",
                b"* 7 EXISTS",
                b"* 7 RECENT",
                b"OK [EXPUNGEISSUED] THREAD completed",
            ],
        )
        self.check("UID THREAD REFERENCES UTF-8 ALL",
                   b"* THREAD ((3 (5)(7))(8))(4 6)", b"* 1 EXPUNGE", b"* 6 RECENT")  # fmt: skip

    def test_wrong_commands(self) -> None:
        for arguments in (
            "", "REFERENCES", "REFERENCES UTF-8", "NONSENSE UTF-8 ALL", "REFERENCES UTF-8 NONSENSE",
            "(REFERENCES) UTF-8 ALL", "RETURN () REFERENCES UTF-8 ALL",
        ):  # fmt: skip
            (line,) = self.ask(f"THREAD {arguments}")
            self.assertTrue(line.startswith(b"BAD "), (arguments, line))
        (line,) = self.ask("THREAD REFERENCES X-NONE ALL")
        self.assertTrue(line.startswith(b"NO [BADCHARSET"), line)
        self.ask("CLOSE")
        self.assertTrue(self.ask("THREAD REFERENCES UTF-8 ALL")[0].startswith(b"BAD "))


class SwitchTests(SynchronousTestCase):
    def test_without(self) -> None:
        server = Server(without=["THREAD=REFS", "THREAD=ORDEREDSUBJECT"])
        client = server.login("SELECT INBOX")
        words = client.command("CAPABILITY")[0].split()
        self.assertEqual([w for w in words if w.startswith(b"THREAD")], [b"THREAD=REFERENCES"])
        for name, kind in (("REFERENCES", b"OK"), ("REFS", b"BAD"), ("ORDEREDSUBJECT", b"BAD")):
            self.assertTrue(client.command(f"THREAD {name} UTF-8 ALL")[-1].startswith(kind), name)
