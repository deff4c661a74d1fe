"""CONTEXT=SEARCH and CONTEXT=SORT (RFC 5267 section 4)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import StoreUnavailable
from mailkit.imap.contexts import MAX_CONTEXTS, Context
from mailkit.query import All, SortCriterion, SortKey
from mailkit.store.memory_mailbox import MemoryMailbox
from tests.imap.support import Client, Server, now


class ContextCase(SynchronousTestCase):
    """Six messages with the UIDs 2 to 7; the client has sent its first commands."""

    def setUp(self) -> None:
        self.server = Server()
        uids = self.server.add(
            b"\r\n", *(b"Subject: %b\r\n\r\n" % subject for subject in (b"d", b"b", b"f", b"a", b"c", b"e"))
        )  # fmt: skip
        now(self.server.mailbox().expunge(uids=uids[:1]))
        self.client = self.server.login("SELECT INBOX")

    def ask(self, command: str, client: Client | None = None) -> list[bytes]:
        return (client or self.client).command(command)

    def start(self, command: str) -> bytes:
        """Start a search; gives its tag, as it is told."""
        lines = self.ask(command)
        self.assertTrue(lines[-1].startswith(b"OK "), lines)
        return b'* ESEARCH (TAG "t%d")' % self.client._tags

    def news(self, command: str = "NOOP") -> list[bytes]:
        """Untagged responses, without FLAGS."""
        lines = self.ask(command)
        self.assertTrue(lines[-1].startswith(b"OK "), lines)
        return [line for line in lines[:-1] if b"RECENT" not in line and b" FLAGS " not in line[:9]]


class SearchTests(ContextCase):
    def test_flags(self) -> None:
        tag = self.start("UID SEARCH RETURN (UPDATE COUNT) FLAGGED")
        other = self.server.login("SELECT INBOX")
        self.ask("STORE 2:3,5 +FLAGS (\\Flagged)", other)
        news = self.news()
        self.assertEqual(news[0], tag + b" UID ADDTO (0 3:4,6)")
        self.assertEqual(len(news), 4)
        self.ask("STORE 3 -FLAGS (\\Flagged)", other)
        self.assertEqual(self.news()[0], tag + b" UID REMOVEFROM (0 4)")

    def test_own_changes(self) -> None:
        tag = self.start("SEARCH RETURN (UPDATE) UNSEEN")
        self.assertIn(tag + b" REMOVEFROM (0 2,4)", self.news("STORE 2,4 +FLAGS.SILENT (\\Seen)"))
        self.assertIn(tag + b" REMOVEFROM (0 1)", self.news("FETCH 1 BODY[]"))
        self.assertIn(tag + b" ADDTO (0 2)", self.news("STORE 2 FLAGS.SILENT ()"))
        # What changes nothing is not told.
        self.assertEqual(self.news("STORE 2 +FLAGS.SILENT (\\Draft)"), [])

    def test_arrivals_come_behind_exists(self) -> None:
        tag = self.start("SEARCH RETURN (UPDATE COUNT) SUBJECT x")
        self.server.add(b"Subject: xy\r\n\r\n", b"Subject: yy\r\n\r\n", b"Subject: yx\r\n\r\n")
        self.assertEqual(self.news(), [b"* 9 EXISTS", tag + b" ADDTO (0 7,9)"])
        self.assertEqual(self.news(), [])

    def test_expunges_come_behind_removefrom(self) -> None:
        # Appendix A.3: it is told at once that they are gone.
        tag = self.start("SEARCH RETURN (UPDATE) ALL")
        now(self.server.mailbox().expunge(uids=[3, 5]))
        self.assertEqual(
            self.news("FETCH 1 UID"), [b"* 1 FETCH (UID 2)", tag + b" REMOVEFROM (0 2,4)"]
        )
        self.assertEqual(self.news(), [b"* 4 EXPUNGE", b"* 2 EXPUNGE"])
        now(self.server.mailbox().expunge(uids=[7]))
        self.assertEqual(self.news(), [tag + b" REMOVEFROM (0 4)", b"* 4 EXPUNGE"])

    def test_results_that_are_gone_and_not_told_yet(self) -> None:
        now(self.server.mailbox().expunge(uids=[3]))
        self.assertEqual(self.news("FETCH 1 UID"), [b"* 1 FETCH (UID 2)"])
        lines = self.ask("SEARCH RETURN (UPDATE ALL) ALL")
        tag = b'* ESEARCH (TAG "t%d")' % self.client._tags
        self.assertEqual(lines[:2], [tag + b" ALL 1:6", tag + b" REMOVEFROM (0 2)"])
        self.assertEqual(self.news(), [b"* 2 EXPUNGE"])

    def test_while_idling(self) -> None:
        tag = self.start("UID SEARCH RETURN (UPDATE) FLAGGED")
        self.client.send(b"i IDLE\r\n")
        self.server.add(b"\r\n", flags="\\Flagged")
        self.server.clock.advance(0)
        self.assertIn(tag + b" UID ADDTO (0 8)\r\n", self.client.take())

    def test_numbers_are_those_of_then(self) -> None:
        # Section 4.3: message numbers in the search program.
        tag = self.start("SEARCH RETURN (UPDATE) 5:*")
        self.server.add(b"\r\n")
        self.assertEqual(self.news(), [b"* 7 EXISTS"])
        now(self.server.mailbox().expunge(uids=[2]))
        self.assertEqual(self.news(), [b"* 1 EXPUNGE"])
        now(self.server.mailbox().expunge(uids=[6]))
        self.assertEqual(self.news(), [tag + b" REMOVEFROM (0 4)", b"* 4 EXPUNGE"])

    def test_initial_results(self) -> None:
        self.ask("STORE 1,3 +FLAGS (\\Flagged)")
        lines = self.ask("UID SEARCH RETURN (UPDATE CONTEXT PARTIAL 1:1) FLAGGED")
        self.assertTrue(lines[0].endswith(b" UID PARTIAL (1:1 2)"))
        # Nothing but the updates was asked for.
        self.assertEqual(len(self.ask("SEARCH RETURN (UPDATE) FLAGGED")), 1)

    def test_a_tag_that_is_in_use(self) -> None:
        octets = self.client.send(
            b"x SEARCH RETURN (UPDATE COUNT) SEEN\r\nx SORT RETURN (UPDATE) (DATE) UTF-8 ALL\r\n"
        )
        self.assertIn(b"x BAD The tag is in use", octets)
        self.assertIn(b"x OK ", self.client.send(b"x SEARCH RETURN (COUNT) SEEN\r\n"))

    def test_cancelled(self) -> None:
        first = self.start("SEARCH RETURN (UPDATE) FLAGGED")
        second = self.start("SEARCH RETURN (UPDATE) FLAGGED")
        tag = first[first.index(b'"') + 1 : -2].decode()
        self.assertEqual(
            self.ask(f'CANCELUPDATE "{tag}" "unknown"'), [b"OK CANCELUPDATE completed"]
        )
        self.assertEqual(self.news("STORE 1 +FLAGS.SILENT (\\Flagged)"), [second + b" ADDTO (0 1)"])
        for arguments in ("", "x", ' "x" y', '"x"' + ' "x"' * 100):
            self.assertTrue(self.ask(f"CANCELUPDATE {arguments}")[0].startswith(b"BAD "))

    def test_too_many(self) -> None:
        for _ in range(MAX_CONTEXTS):
            self.start("SEARCH RETURN (UPDATE) FLAGGED")
        lines = self.ask("SEARCH RETURN (UPDATE COUNT) FLAGGED")
        tag = b"t%d" % self.client._tags
        self.assertEqual(lines[0], b'* ESEARCH (TAG "%b") COUNT 0' % tag)
        self.assertTrue(lines[1].startswith(b'* NO [NOUPDATE "%b"] ' % tag), lines)
        self.assertTrue(lines[2].startswith(b"OK "))

    def test_an_age_is_not_kept_up_to_date(self) -> None:
        for keys in ("YOUNGER 60", "OR SEEN NOT (DRAFT OLDER 60)"):
            lines = self.ask(f"SEARCH RETURN (UPDATE COUNT) {keys}")
            tag = b"t%d" % self.client._tags
            self.assertTrue(lines[1].startswith(b'* NO [NOUPDATE "%b"] ' % tag), lines)
            self.assertTrue(lines[2].startswith(b"OK "))
        # A date stays what it is.
        self.assertEqual(len(self.ask("SEARCH RETURN (UPDATE COUNT) SINCE 1-Jan-2020")), 2)

    def test_ages_and_times_as_gmail_has_them(self) -> None:
        client = Server(gmail_extensions=True).login("SELECT INBOX")
        for text, lines in (
            ("older_than:3d", 3),
            ("newer_than:3d", 3),
            ("{is:read -newer_than:3d}", 3),
            ("after:1388552399", 2),
            ("-before:1388552399", 2),
            ("older:2020/01/01", 2),
        ):
            told = client.command(f'SEARCH RETURN (UPDATE COUNT) X-GM-RAW "{text}"')
            self.assertEqual(len(told), lines, (text, told))

    def test_numbers_end_with_uidonly(self) -> None:
        """RFC 9586 section 3: the server tells UIDs alone."""
        tag = self.start("SEARCH RETURN (UPDATE) FLAGGED")[len(b'* ESEARCH (TAG "') : -2]
        by_uid = self.start("UID SEARCH RETURN (UPDATE) FLAGGED")
        lines = self.ask("ENABLE UIDONLY")
        told = [line for line in lines if line.startswith(b'* NO [NOUPDATE "%b"] ' % tag)]
        self.assertEqual(len(told), 1, lines)
        news = self.news("UID STORE 3 +FLAGS.SILENT (\\Flagged)")
        self.assertEqual(news, [by_uid + b" UID ADDTO (0 3)"])

    def test_another_mailbox_begins_without(self) -> None:
        self.start("SEARCH RETURN (UPDATE) FLAGGED")
        self.ask("SELECT INBOX")
        self.assertEqual(self.news("STORE 1 +FLAGS.SILENT (\\Flagged)"), [])

    def test_a_store_that_fails(self) -> None:
        async def fail(mailbox: object, uids: object, structure: bool) -> None:
            raise StoreUnavailable("The disk is full")

        tag = self.start("SEARCH RETURN (UPDATE) SUBJECT x")
        works = MemoryMailbox.get_summaries
        self.patch(MemoryMailbox, "get_summaries", fail)
        self.server.add(b"Subject: x\r\n\r\n")
        told = b'* NO [NOUPDATE "%b"] The disk is full' % tag[tag.index(b'"') + 1 : -2]
        self.assertEqual(self.news(), [b"* 7 EXISTS", told])
        self.patch(MemoryMailbox, "get_summaries", works)
        self.assertEqual(self.news(), [])


class SortTests(ContextCase):
    def test_positions(self) -> None:
        # In order: a5 b3 c6 d2 e7 f4.
        tag = self.start("UID SORT RETURN (UPDATE COUNT) (SUBJECT) UTF-8 UNSEEN")
        self.assertEqual(
            self.news("UID STORE 2,4,5 +FLAGS.SILENT (\\Seen)"),
            [tag + b" UID REMOVEFROM (6 4 4 2 1 5)"],
        )
        # Now b3 c6 e7.
        self.assertEqual(
            self.news("UID STORE 2,4 -FLAGS.SILENT (\\Seen)"), [tag + b" UID ADDTO (3 2 5 4)"]
        )
        # Now b3 c6 d2 e7 f4.
        self.server.add(b"Subject: aa\r\n\r\n", b"Subject: ab\r\n\r\n", b"Subject: z\r\n\r\n")
        self.assertEqual(self.news(), [b"* 9 EXISTS", tag + b" UID ADDTO (1 8:9 8 10)"])

    def test_expunged(self) -> None:
        tag = self.start("SORT RETURN (UPDATE) (SUBJECT) UTF-8 ALL")
        now(self.server.mailbox().expunge(uids=[2, 7]))
        self.assertEqual(
            self.news(), [tag + b" REMOVEFROM (5 6 4 1)", b"* 6 EXPUNGE", b"* 1 EXPUNGE"]
        )

    def test_gone_and_not_told_yet(self) -> None:
        tag = self.start("SORT RETURN (UPDATE) (SUBJECT) UTF-8 ALL")
        box = self.server.mailbox()
        now(box.expunge(uids=[5]))
        self.server.add(b"Subject: aa\r\n\r\n")
        self.assertEqual(
            self.news(),
            [tag + b" REMOVEFROM (1 4)", b"* 4 EXPUNGE", b"* 6 EXISTS", tag + b" ADDTO (1 6)"],
        )


class SwitchTests(SynchronousTestCase):
    def test_without(self) -> None:
        for without, understood in (
            ((), (True, True, True)),
            (("CONTEXT=SEARCH",), (False, True, True)),
            (("CONTEXT=SORT",), (True, False, True)),
            (("CONTEXT=SORT", "CONTEXT=SEARCH"), (False, False, False)),
            (("ESEARCH",), (False, True, True)),
        ):
            client = Server(without=without).login("SELECT INBOX")
            words = client.command("CAPABILITY")[0].split()
            for number, command in enumerate(
                (
                    "SEARCH RETURN (UPDATE) ALL",
                    "SORT RETURN (UPDATE) (DATE) UTF-8 ALL",
                    'CANCELUPDATE "x"',
                )
            ):
                done = client.command(command)[-1].startswith(b"OK ")
                self.assertEqual(done, understood[number], (without, command))
            self.assertEqual(b"CONTEXT=SEARCH" in words, understood[0])
            self.assertEqual(b"CONTEXT=SORT" in words, understood[1])


ORDERS = st.permutations(range(1, 15)).flatmap(
    lambda order: st.tuples(
        st.just(order), st.sets(st.sampled_from(order)), st.sets(st.sampled_from(order))
    )
)


class ReplayTests(SynchronousTestCase):
    @given(ORDERS)
    @settings(max_examples=200, deadline=None)
    def test_what_a_client_makes_of_it(self, case: tuple[list[int], set[int], set[int]]) -> None:
        """Updates, applied word for word, lead from one result to the other."""
        order, gone, new = case
        old = [uid for uid in order if uid not in new]
        context = Context(b"x", True, All(), (SortCriterion(SortKey.SIZE),), old)
        client = list(old)
        for position, uids in context.remove(gone):
            self.assertEqual(client[position - 1 : position - 1 + len(uids)], uids)
            del client[position - 1 : position - 1 + len(uids)]
        for position, uids in context.add_in_order(
            new, [uid for uid in order if uid not in gone or uid in new]
        ):
            client[position - 1 : position - 1] = uids
        self.assertEqual(client, [uid for uid in order if uid not in gone or uid in new])
        self.assertEqual(list(context.uids), client)
