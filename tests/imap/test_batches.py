"""UIDBATCHES (RFC 10022)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap.handlers import batches
from mailkit.imap.handlers.batches import split_batches

from .support import Server, ServerTestCase

MESSAGE = b"Subject: a\r\n\r\nb\r\n"


class SplitTests(SynchronousTestCase):
    def split(self, uids: list[int], size: int, first: int = 1, last: int = 99) -> list[object]:
        return list(split_batches(uids, size, first, last))

    def test_ranges(self) -> None:
        uids = [3, 5, 8, 10, 20, 21, 30]
        self.assertEqual(self.split(uids, 3), [(30, 20), (19, 5), (4, 1)])
        self.assertEqual(self.split(uids, 7), [(30, 1)])
        self.assertEqual(self.split(uids, 500), [(30, 1)])
        self.assertEqual(self.split(uids, 3, 2, 2), [(19, 5)])
        self.assertEqual(self.split(uids, 3, 4, 9), [])
        self.assertEqual(self.split([], 3), [])

    def test_no_uid_is_left_out_and_none_is_in_two(self) -> None:
        for count in range(1, 60):
            uids = [3 * number + 2 for number in range(count)]
            spans = list(split_batches(uids, 7, 1, 99))
            covered = [uid for high, low in spans for uid in range(high, low - 1, -1)]
            self.assertEqual(covered, list(range(uids[-1], 0, -1)))
            for high, low in spans[:-1]:
                self.assertEqual(sum(low <= uid <= high for uid in uids), 7)


class DialogueTests(ServerTestCase):
    def setUp(self) -> None:
        self.patch(batches, "MIN_BATCH", 2)
        self.server = self.make_server()
        self.server.add(*[MESSAGE] * 5)
        self.client = self.server.login("SELECT INBOX")

    def ask(self, text: str) -> list[bytes]:
        return self.client.command(f"UIDBATCHES {text}")

    def test_answers(self) -> None:
        done = b"OK UIDBATCHES completed"
        for text, ranges in (
            ("2", b" 5:4,3:2,1:1"),
            ("2 1:2", b" 5:4,3:2"),
            ("2 3:3", b" 1:1"),
            ("2 4:10", b""),
            ("4", b" 5:2,1:1"),
            ("4294967295 1:4294967295", b" 5:1"),
        ):
            tag = b"t%d" % (self.client._tags + 1)
            told = b'* UIDBATCHES (TAG "%b")%b' % (tag, ranges)
            self.assertEqual(self.ask(text), [told, done], text)

    def test_saved_result_is_kept(self) -> None:
        self.client.command("UID SEARCH RETURN (SAVE) UID 2")
        self.ask("2")
        self.assertEqual(self.client.command("FETCH $ UID")[0], b"* 2 FETCH (UID 2)")

    def test_wrong(self) -> None:
        for text, answer in (
            ("1", b"NO [TOOFEW] A batch has at least 2 messages"),
            ("2 2:1", b"BAD [CLIENTBUG] The first batch of a range comes before the last"),
            ("2 0:1", b"BAD [CLIENTBUG] The first batch of a range comes before the last"),
        ):
            self.assertEqual(self.ask(text), [answer])
        for text in ("", "x", "0", "2 1", "2 1:", "2 1:2,3:4", "2 1:2 x", "2 *:1", "4294967296"):
            self.assertTrue(self.ask(text)[-1].startswith(b"BAD "), text)

    def test_states_and_switch(self) -> None:
        client = self.server.login()
        self.assertIn(b" UIDBATCHES", client.command("CAPABILITY")[0])
        self.assertTrue(client.command("UIDBATCHES 2")[-1].startswith(b"BAD This command cannot"))

    def test_empty_mailbox(self) -> None:
        self.client.command("SELECT Drafts")
        self.assertRegex(self.ask("2")[0], rb'^\* UIDBATCHES \(TAG "t\d+"\)$')


class SQLiteDialogueTests(DialogueTests):
    sqlite = True


class SwitchTests(SynchronousTestCase):
    def test_off(self) -> None:
        client = Server(without=["UIDBATCHES"]).login("SELECT INBOX")
        self.assertEqual(client.command("UIDBATCHES 500"), [b"BAD There is no such command"])
