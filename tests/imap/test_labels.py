"""X-GM-EXT-1: numbers and labels of messages, with both stores."""

from __future__ import annotations

import re

from mailkit.imap.clients import ClientRule
from mailkit.imap.handlers import labelling
from mailkit.imap.labels import MAX_LABEL_KEYS, MAX_LABELS
from mailkit.model import DELETED, FlagOp
from tests.imap.access import OTHERS, AccessTestCase
from tests.imap.support import USER, Client, Server, ServerTestCase, now
from tests.imap.test_object_ids import PlainAccount

ONE, TWO, THREE = (b"Subject: %d\r\n\r\nbody\r\n" % number for number in (1, 2, 3))


class LabelTestCase(ServerTestCase):
    def start(self, *commands: str) -> Client:
        """A client with a mailbox of three messages, of which the first one is in Work too."""
        self.server = self.make_server(gmail_extensions=True)
        now(self.server.account.create_mailbox(name="Work"))
        self.server.add(ONE, TWO, THREE)
        self.client = self.server.login("SELECT INBOX", "COPY 1 Work", *commands)
        return self.client

    def labels(self, client: Client | None = None) -> list[bytes]:
        """What FETCH tells of all messages."""
        lines = (client or self.client).command("FETCH 1:* X-GM-LABELS")
        self.assertEqual(lines[-1], b"OK FETCH completed")
        return [line.split(b"X-GM-LABELS ", 1)[1][:-1] for line in lines[:-1]]

    def counts(self, *names: str) -> list[int]:
        """How many messages some mailboxes hold."""
        infos = {info.name: info.messages for info in now(self.server.account.list_mailboxes())}
        return [infos[name] for name in names]

    def search(self, keys: str) -> bytes:
        lines = self.client.command(f"SEARCH {keys}")
        return lines[0] if lines[0].startswith(b"* SEARCH") else lines[-1]


class NumberTests(LabelTestCase):
    def numbers(self, item: str, what: str = "1:3", by: str = "") -> list[int]:
        lines = self.client.command(f"{by}FETCH {what} {item}")[:-1]
        found = [re.search(item.encode() + rb" (\d{1,19})[ )]", line) for line in lines]
        return [int(match[1]) for match in found if match is not None]

    def test_numbers_last(self) -> None:
        self.start()
        messages, threads = self.numbers("X-GM-MSGID"), self.numbers("X-GM-THRID")
        self.assertEqual((len(set(messages)), len(set(threads))), (3, 3))
        self.assertTrue(all(0 < number < 2**63 for number in messages + threads))
        self.assertEqual(self.numbers("X-GM-MSGID", by="UID "), messages)
        both = self.client.command("FETCH 2 (X-GM-MSGID X-GM-THRID BODY.PEEK[TEXT])")[0]
        self.assertIn(b"X-GM-MSGID %d X-GM-THRID %d BODY" % (messages[1], threads[1]), both)
        self.client.command("MOVE 3 Work")
        self.client.command("SELECT Work")
        self.assertEqual(self.numbers("X-GM-MSGID", "1:2"), [messages[0], messages[2]])
        self.assertEqual(self.numbers("X-GM-THRID", "1:2"), [threads[0], threads[2]])

    def test_threads(self) -> None:
        self.start()
        self.server.add(
            b"Message-ID: <a@example.org>\r\nSubject: talk\r\n\r\n",
            b"In-Reply-To: <a@example.org>\r\nSubject: Re: talk\r\n\r\n",
        )
        self.client.command("NOOP")
        first, second = self.numbers("X-GM-THRID", "4:5")
        self.assertEqual(first, second)
        self.assertEqual(self.search(f"X-GM-THRID {first}"), b"* SEARCH 4 5")

    def test_search(self) -> None:
        self.start()
        first, second, _ = self.numbers("X-GM-MSGID")
        for keys, found in (
            (f"X-GM-MSGID {second}", b" 2"),
            (f"NOT X-GM-MSGID {second}", b" 1 3"),
            (f"OR X-GM-MSGID {first} X-GM-MSGID {second}", b" 1 2"),
            (f"X-GM-THRID {self.numbers('X-GM-THRID', '3')[0]}", b" 3"),
            ("X-GM-MSGID 0", b""),
            (f"X-GM-MSGID {2**63 - 1}", b""),
        ):
            self.assertEqual(self.search(keys), b"* SEARCH" + found, keys)

    def test_identifiers_are_the_same_things(self) -> None:
        self.start()
        line = self.client.command("FETCH 1 (EMAILID X-GM-MSGID THREADID X-GM-THRID)")[0]
        match = re.search(
            rb"EMAILID \(M(\w+)\) X-GM-MSGID (\d+) THREADID \(T(\w+)\) X-GM-THRID (\d+)\)", line
        )
        assert match is not None, line
        self.assertEqual((int(match[1], 16), int(match[3], 16)), (int(match[2]), int(match[4])))


class SQLiteNumberTests(NumberTests):
    sqlite = True


class FetchTests(LabelTestCase):
    def test_labels(self) -> None:
        self.start()
        self.assertEqual(self.labels(), [b'("Work")', b"()", b"()"])
        self.client.command("COPY 1:2 Sent")
        self.client.command("COPY 1 Archive")
        self.client.command('CREATE "M\N{LATIN SMALL LETTER U WITH DIAERESIS}ll/a \\"b\\""')
        self.client.command('COPY 3 "M\N{LATIN SMALL LETTER U WITH DIAERESIS}ll/a \\"b\\""')
        self.client.command("STORE 2 +FLAGS.SILENT (\\Flagged $Important)")
        self.assertEqual(
            self.labels(),
            [
                b'("\\\\Sent" "Archive" "Work")',
                b'("\\\\Starred" "\\\\Important" "\\\\Sent")',
                b'("M&APw-ll/a \\"b\\"")',
            ],
        )
        other = self.server.login("SELECT Sent")
        self.assertEqual(self.labels(other), [b'("\\\\Inbox" "Archive" "Work")', b'("\\\\Inbox")'])
        other.command("ENABLE UTF8=ACCEPT")
        other.command("SELECT INBOX")
        self.assertEqual(self.labels(other)[2], '("Müll/a \\"b\\"")'.encode())

    def test_beside_other_items(self) -> None:
        self.start()
        self.assertEqual(
            self.client.command("UID FETCH 1 (X-GM-LABELS FLAGS ENVELOPE)")[0].split(b" ENV")[0],
            b'* 1 FETCH (UID 1 X-GM-LABELS ("Work") FLAGS (\\Recent)',
        )
        # \Seen is set on the way.
        line = self.client.command("FETCH 1 (BODY[TEXT] X-GM-LABELS FLAGS)")[0]
        self.assertTrue(
            line.endswith(b'body\r\n X-GM-LABELS ("Work") FLAGS (\\Recent \\Seen))'), line
        )
        line = self.client.command("FETCH 2 (X-GM-LABELS BODY[])")[0]
        self.assertTrue(line.startswith(b"* 2 FETCH (X-GM-LABELS () BODY[] {"), line)

    def test_a_mailbox_that_looks_like_a_system_label_is_passed_over(self) -> None:
        self.start()
        now(self.server.account.create_mailbox(name="\\Inbox"))
        self.client.command('COPY 2 "\\\\Inbox"')
        self.assertEqual(self.labels(), [b'("Work")', b"()", b"()"])

    def test_many_messages(self) -> None:
        self.start()
        self.server.add(*[THREE] * 600)
        self.client.command("NOOP")
        self.client.command("COPY 500:603 Work")
        labels = self.labels()
        self.assertEqual(len(labels), 603)
        found = {number for number, each in enumerate(labels, 1) if each != b"()"}
        self.assertEqual(found, {1, *range(500, 604)})

    def test_another_session_sees_a_change_at_once(self) -> None:
        self.start()
        other = self.server.login("SELECT Work")
        other.command("STORE 1 +FLAGS (\\Deleted)")
        other.command("EXPUNGE")
        self.assertEqual(self.labels()[0], b"()")
        self.client.command("RENAME Work Play")
        self.client.command("COPY 2 Play")
        self.assertEqual(self.labels()[1], b'("Play")')
        self.client.command("DELETE Play")
        self.assertEqual(self.labels()[1], b"()")


class SQLiteFetchTests(FetchTests):
    sqlite = True


class StoreTests(LabelTestCase):
    def test_adding(self) -> None:
        self.start()
        self.assertEqual(
            self.client.command('STORE 1:2 +X-GM-LABELS (Work "New/On top" \\Sent "\\\\sent")'),
            [
                b'* 1 FETCH (X-GM-LABELS ("\\\\Sent" "New/On top" "Work"))',
                b'* 2 FETCH (X-GM-LABELS ("\\\\Sent" "New/On top" "Work"))',
                b"OK STORE completed",
            ],
        )
        self.assertEqual(self.counts("INBOX", "Work", "New/On top", "Sent"), [3, 2, 2, 2])
        self.assertEqual(
            self.client.command("UID STORE 3 +X-GM-LABELS Work"),
            [b'* 3 FETCH (X-GM-LABELS ("Work") UID 3)', b"OK STORE completed"],
        )
        self.assertEqual(
            self.client.command("STORE 3 +X-GM-LABELS.SILENT (\\Inbox INBOX inbox)"),
            [b"OK STORE completed"],
        )
        self.assertEqual(self.counts("INBOX", "Work"), [3, 3])

    def test_removing(self) -> None:
        self.start("STORE 2 +X-GM-LABELS (Work \\Drafts)")
        self.assertEqual(
            self.client.command("STORE 1:3 -X-GM-LABELS (Work Nowhere \\Spam)"),
            [
                b"* 1 FETCH (X-GM-LABELS ())",
                b'* 2 FETCH (X-GM-LABELS ("\\\\Draft"))',
                b"* 3 FETCH (X-GM-LABELS ())",
                b"OK STORE completed",
            ],
        )
        self.assertEqual(self.counts("INBOX", "Work", "Drafts"), [3, 0, 1])

    def test_the_mailbox_itself_is_kept(self) -> None:
        self.start()
        refusal = b"NO [NOPERM] A message loses its own mailbox by MOVE or EXPUNGE alone"
        self.assertEqual(self.client.command("STORE 1 -X-GM-LABELS (Work \\Inbox)"), [refusal])
        self.assertEqual(self.counts("INBOX", "Work"), [3, 1])
        self.client.command("SELECT Work")
        self.assertEqual(self.client.command("STORE 1 -X-GM-LABELS work")[-1][:2], b"OK")
        self.assertEqual(self.client.command("STORE 1 -X-GM-LABELS Work"), [refusal])
        self.assertEqual(
            self.client.command("STORE 1 -X-GM-LABELS (\\Inbox)")[0],
            b"* 1 FETCH (X-GM-LABELS ())",
        )
        self.assertEqual(self.counts("INBOX", "Work"), [2, 1])

    def test_replacing(self) -> None:
        self.start("STORE 1 +X-GM-LABELS (\\Starred Archive)")
        lines = self.client.command("STORE 1 X-GM-LABELS (\\Important Archive \\Trash)")
        self.assertIn(
            b'* 1 FETCH (X-GM-LABELS ("\\\\Important" "\\\\Trash" "Archive"))', lines, lines
        )
        self.assertEqual(self.counts("Work", "Archive", "Trash"), [0, 1, 1])
        self.client.command("STORE 1 X-GM-LABELS.SILENT ()")
        self.assertEqual(self.labels(), [b"()", b"()", b"()"])
        self.assertEqual(self.counts("INBOX", "Work", "Archive", "Trash"), [3, 0, 0, 0])

    def test_flags_that_are_labels(self) -> None:
        self.start()
        lines = self.client.command("STORE 1 +X-GM-LABELS (\\Starred \\Important)")
        self.assertEqual(
            lines[0], b'* 1 FETCH (X-GM-LABELS ("\\\\Starred" "\\\\Important" "Work"))'
        )
        self.assertIn(b"* 1 FETCH (FLAGS (\\Flagged \\Recent $Important))", [
            line.replace(b"\\Recent \\Flagged", b"\\Flagged \\Recent") for line in lines
        ])  # fmt: skip
        # A copy is a message of its own.
        other = self.server.login("SELECT Work")
        self.assertEqual(self.labels(other), [b'("\\\\Inbox")'])
        lines = self.client.command("STORE 1 -X-GM-LABELS \\starred")
        self.assertEqual(lines[0], b'* 1 FETCH (X-GM-LABELS ("\\\\Important" "Work"))')

    def test_copies_have_the_flags_of_their_message(self) -> None:
        self.start("STORE 2 +FLAGS (\\Answered Mine)", "STORE 2 +X-GM-LABELS (Fresh \\Starred)")
        other = self.server.login("SELECT Fresh")
        flags = now(self.server.mailbox("Fresh").get_messages(uids=[1]))[0].flags
        self.assertEqual(flags, {"\\Answered", "\\Flagged", "Mine"})
        self.assertEqual(self.labels(other), [b'("\\\\Starred" "\\\\Inbox")'])

    def test_in_parts(self) -> None:
        self.patch(labelling, "LABEL_BATCH", 2)
        self.start()
        lines = self.client.command("STORE 1:3 +X-GM-LABELS (Parts)")
        self.assertEqual(len(lines), 4)
        self.assertEqual(self.counts("Parts"), [3])

    def test_quota(self) -> None:
        self.start()
        now(self.server.store.set_quota(account=USER, max_octets=0, max_messages=5))
        for command in (
            "STORE 2:3 +X-GM-LABELS (Work \\Starred Made)",
            "STORE 2 +X-GM-LABELS (Work Archive)",
        ):
            line = self.client.command(command)[-1]
            self.assertTrue(line.startswith(b"NO [OVERQUOTA] "), line)
        self.assertEqual(self.labels(), [b'("Work")', b"()", b"()"])
        self.assertNotIn("Made", [i.name for i in now(self.server.account.list_mailboxes())])
        self.assertEqual(self.client.command("STORE 2 +X-GM-LABELS Archive")[-1][:2], b"OK")


class RefusalTests(LabelTestCase):
    def test_malformed(self) -> None:
        self.start()
        many = " ".join(f"l{number}" for number in range(MAX_LABELS + 1))
        for command, text in (
            ("STORE 1 +X-GM-LABELS", "An argument is missing"),
            ("STORE 1 +X-GM-LABELS (", ""),
            ("STORE 1 +X-GM-LABELS (a", ""),
            ("STORE 1 +X-GM-LABELS (a) b", "There is more"),
            ("STORE 1 +X-GM-LABELS ((a))", ""),
            ("STORE 1 +X-GM-LABELS (%)", ""),
            ("STORE 1 +X-GM-LABELS.LOUD (a)", "STORE takes X-GM-LABELS"),
            ("STORE 1 *X-GM-LABELS (a)", ""),
            ("STORE 1 (UNCHANGEDSINCE 1) +X-GM-LABELS (a)", "UNCHANGEDSINCE goes with flags"),
            ("STORE 9 +X-GM-LABELS (a)", "There is no message of that number"),
            (f"STORE 1 +X-GM-LABELS ({many})", f"At most {MAX_LABELS} labels"),
            (f"STORE 1 +X-GM-LABELS {many}", f"At most {MAX_LABELS} labels"),
            ("FETCH 1 X-GM-LABEL", "X-GM-LABEL is not an item"),
            ("FETCH 1 (X-GM-LABELS", ""),
            ("SEARCH X-GM-LABELS", "An argument is missing"),
            ("SEARCH X-GM-LABELS (a)", ""),
            ("SEARCH X-GM-MSGID x", "A number is missing"),
            ("SEARCH X-GM-MSGID -1", "A number is missing"),
            ("SEARCH X-GM-THRID 99999999999999999999", "A number is too large"),
            ("SEARCH X-GM-RAW", "An argument is missing"),
        ):
            # Not too many wrong commands in a row.
            self.client.command("NOOP")
            line = self.client.command(command)[-1]
            self.assertTrue(line.startswith(b"BAD " + text.encode()), (command, line))
        for command, text in (
            ("STORE 1 +X-GM-LABELS (\\Muted)", "[CANNOT] There is no such label"),
            ('STORE 1 +X-GM-LABELS ("\\\\")', "[CANNOT] There is no such label"),
            ('STORE 1 +X-GM-LABELS ("")', "[CANNOT] A mailbox name must not be empty"),
            ("STORE 1 +X-GM-LABELS (a//b)", "[CANNOT] A mailbox name has no empty levels"),
            ("STORE 1 +X-GM-LABELS (&jj)", "[CANNOT] The mailbox name is not valid"),
            ("SEARCH X-GM-LABELS \\Muted", "[CANNOT] There is no such label"),
        ):
            line = self.client.command(command)[-1]
            self.assertTrue(line.startswith(b"NO " + text.encode()), (command, line))
        self.assertEqual(self.labels(), [b'("Work")', b"()", b"()"])

    def test_a_system_label_without_a_mailbox(self) -> None:
        self.start("DELETE Junk")
        self.assertEqual(
            self.client.command("STORE 1 +X-GM-LABELS (\\Spam)"),
            [b"NO [CANNOT] There is no mailbox for the label \\Spam"],
        )
        self.assertEqual(self.client.command("STORE 1 -X-GM-LABELS (\\Spam)")[-1][:2], b"OK")
        self.assertEqual(self.search("X-GM-LABELS \\Spam"), b"* SEARCH")

    def test_read_only(self) -> None:
        self.start("EXAMINE INBOX")
        self.assertEqual(
            self.client.command("STORE 1 +X-GM-LABELS (a)"),
            [b"NO [NOPERM] The mailbox is selected read-only"],
        )


class SQLiteStoreTests(StoreTests):
    sqlite = True

    def test_durable(self) -> None:
        self.start("STORE 2 +X-GM-LABELS (Kept/Below \\Starred)", "STORE 1 -X-GM-LABELS (Work)")
        self.server = self.reopen(self.server)
        infos = {info.name: info.messages for info in now(self.server.account.list_mailboxes())}
        self.assertEqual((infos["Kept/Below"], infos["Work"], infos["INBOX"]), (1, 0, 3))
        (info,) = now(self.server.mailbox("Kept/Below").get_messages(uids=[1]))
        self.assertEqual(info.flags, {"\\Flagged"})


class RaceTests(LabelTestCase):
    """Two sessions."""

    def test_a_message_that_is_gone(self) -> None:
        self.start()
        box = self.server.mailbox()
        now(box.store_flags(uids=[2], op=FlagOp.ADD, flags=frozenset({DELETED})))
        now(box.expunge(uids=[2]))
        self.assertEqual(
            self.client.command("STORE 1:3 +X-GM-LABELS (Late)")[-1],
            b"NO [EXPUNGEISSUED] Some of the messages no longer exist",
        )
        self.assertEqual(self.counts("Late"), [2])
        self.assertEqual(
            self.client.command("UID STORE 2 +X-GM-LABELS (Late)")[-1], b"OK STORE completed"
        )
        self.assertEqual(self.counts("Late"), [2])

    def test_each_takes_the_other_ones_copy(self) -> None:
        # Neither takes its own away, so that one copy is left whoever comes first.
        self.start()
        other = self.server.login("SELECT Work")
        mine = self.client.command("STORE 1 -X-GM-LABELS (Work)")[-1]
        theirs = other.command("STORE 1 -X-GM-LABELS (\\Inbox)")[-1]
        self.assertEqual(mine, b"OK STORE completed")
        self.assertEqual(theirs, b"NO [EXPUNGEISSUED] Some of the messages no longer exist")
        self.assertEqual(self.counts("INBOX", "Work"), [3, 0])

    def test_who_has_the_other_mailbox_selected_is_told(self) -> None:
        self.start()
        other = self.server.login("SELECT Work")
        self.client.command("STORE 2 +X-GM-LABELS (Work)")
        self.assertIn(b"* 2 EXISTS", other.command("NOOP"))
        self.client.command("STORE 1 -X-GM-LABELS (Work)")
        self.assertIn(b"* 1 EXPUNGE", other.command("NOOP"))

    def test_the_mailbox_is_renamed_meanwhile(self) -> None:
        self.start("SELECT Work")
        now(self.server.account.rename_mailbox(name="Work", new_name="Play"))
        self.client.command("STORE 1 +X-GM-LABELS (Work)")
        self.assertEqual(self.counts("Play", "Work"), [1, 1])
        self.assertEqual(self.client.command("STORE 1 -X-GM-LABELS (Play)")[-1][:2], b"NO")

    def test_the_mailbox_is_deleted_meanwhile(self) -> None:
        self.start("SELECT Work")
        now(self.server.account.delete_mailbox(name="Work"))
        self.client.command("STORE 1 +X-GM-LABELS (Archive)")
        self.assertEqual(self.counts("Archive"), [0])


class SQLiteRaceTests(RaceTests):
    sqlite = True


class SearchTests(LabelTestCase):
    def test_labels(self) -> None:
        self.start("STORE 2 +X-GM-LABELS (\\Sent \\Starred)", "STORE 3 +X-GM-LABELS (Two/Words)")
        for keys, found in (
            ("X-GM-LABELS Work", b" 1"),
            ("X-GM-LABELS work", b""),
            ('X-GM-LABELS "Two/Words"', b" 3"),
            ("NOT X-GM-LABELS Work", b" 2 3"),
            ("OR X-GM-LABELS Work X-GM-LABELS \\Sent", b" 1 2"),
            ("X-GM-LABELS {4+}\r\nSent", b" 2"),
            ('X-GM-LABELS "\\\\starred"', b" 2"),
            ("X-GM-LABELS \\Inbox", b" 1 2 3"),
            ("2:3 X-GM-LABELS INBOX", b" 2 3"),
            ("X-GM-LABELS Nowhere", b""),
            ("FUZZY X-GM-LABELS Work", b" 1"),
        ):
            self.assertEqual(self.search(keys), b"* SEARCH" + found, keys)
        self.assertEqual(
            self.client.command("SORT (REVERSE ARRIVAL) UTF-8 NOT X-GM-LABELS Work")[0],
            b"* SORT 2 3",
        )
        lines = self.client.command("ESEARCH IN (personal) X-GM-LABELS \\Inbox")
        self.assertEqual(len(lines), 5, lines)

    def test_not_kept_up_to_date(self) -> None:
        self.start()
        lines = self.client.command("SEARCH RETURN (UPDATE) X-GM-LABELS Work")
        self.assertTrue(lines[0].startswith(b'* NO [NOUPDATE "'), lines)

    def test_many_labels(self) -> None:
        self.start()
        keys = [f"X-GM-LABELS l{number}" for number in range(MAX_LABEL_KEYS + 1)]
        self.assertEqual(self.search(" ".join(keys[1:])), b"* SEARCH")
        self.assertEqual(
            self.search(" ".join(keys)), b"BAD A search names at most %d labels" % MAX_LABEL_KEYS
        )

    def test_one_word_for_many_labels(self) -> None:
        self.start()
        for number in range(MAX_LABEL_KEYS + 1):
            name = "".join("-/"[number >> bit & 1] + "x" for bit in range(5))
            self.client.command(f"CREATE a{name}")
        self.assertEqual(
            self.search("X-GM-RAW label:a-x-x-x-x-x"),
            b"BAD A search names at most %d labels" % MAX_LABEL_KEYS,
        )

    def test_raw(self) -> None:
        self.start("STORE 2 +X-GM-LABELS (Big/My-label \\Starred)", "STORE 1 +FLAGS (\\Seen)")
        self.server.add(
            b"From: Ann <ann@example.org>\r\nTo: bob@example.org\r\nSubject: Hello there\r\n"
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nText\r\n--b\r\n"
            b"Content-Type: application/pdf\r\n\r\n%PDF\r\n--b--\r\n"
        )
        self.client.command("NOOP")
        for raw, found in (
            ("has:attachment in:unread", b" 4"),
            ("label:work", b" 1"),
            ("label:big-my-LABEL", b" 2"),
            ("in:inbox is:starred", b" 2"),
            ("from:ann subject:(hello there)", b" 4"),
            ("-is:unread OR from:ann", b" 1 4"),
        ):
            self.assertEqual(self.search(f'X-GM-RAW "{raw}"'), b"* SEARCH" + found, raw)
        quoted = b'X-GM-RAW {22+}\r\nsubject:"hello there" '
        self.assertEqual(self.client.command(b"SEARCH " + quoted)[0], b"* SEARCH 4")
        self.assertEqual(
            self.search("X-GM-RAW category:social"),
            b"NO category: is not known here; put it in quotes to search for that text",
        )


class SQLiteSearchTests(SearchTests):
    sqlite = True


class OfferTests(LabelTestCase):
    def offers(self, client: Client) -> bool:
        return b"X-GM-EXT-1" in client.command("CAPABILITY")[0].split()

    def test_only_where_it_is_wanted(self) -> None:
        client = Server().login("SELECT INBOX")
        self.assertFalse(self.offers(client))
        for command in (
            "FETCH 1 X-GM-LABELS",
            "FETCH 1 X-GM-MSGID",
            "STORE 1 +X-GM-LABELS (a)",
            "SEARCH X-GM-LABELS a",
            "SEARCH X-GM-RAW a",
        ):
            self.assertEqual(client.command(command)[-1][:4], b"BAD ", command)

    def test_offered_after_login(self) -> None:
        server = Server(gmail_extensions=True)
        self.assertFalse(self.offers(server.connect()))
        self.assertTrue(self.offers(server.login()))

    def test_switched_off(self) -> None:
        self.assertFalse(self.offers(Server(gmail_extensions=True, without=["OBJECTID"]).login()))
        server = Server(gmail_extensions=True)
        now(server.store.set_imap_without(account=USER, names=["X-GM-EXT-1"]))
        self.assertFalse(self.offers(server.login()))
        rule = ClientRule("x", (("name", "Thunderbird"),), frozenset({"X-GM-EXT-1"}))
        client = Server(gmail_extensions=True, clients=[rule]).login()
        self.assertTrue(self.offers(client))
        client.command('ID ("name" "Thunderbird")')
        self.assertFalse(self.offers(client))

    def test_accounts_that_promise_nothing(self) -> None:
        account = now(Server().store.open_account(USER))
        self.assertFalse(self.offers(Server(PlainAccount(account), gmail_extensions=True).login()))


class OthersTests(AccessTestCase):
    """A mailbox of somebody else is no label, and its messages have only those that are flags."""

    def test_others_mailboxes(self) -> None:
        self.start(gmail_extensions=True)
        self.grant("lrswi")
        bob = self.bob(f'SELECT "{OTHERS}/Plans"', "COPY 1 INBOX", "STORE 1 +FLAGS (\\Flagged)")
        self.assertEqual(
            bob.command("FETCH 1:2 X-GM-LABELS")[:2],
            [b'* 1 FETCH (X-GM-LABELS ("\\\\Starred"))', b"* 2 FETCH (X-GM-LABELS ())"],
        )
        refusal = b"NO [NOPERM] Only messages in mailboxes of your own have labels"
        self.assertEqual(bob.command("STORE 1 +X-GM-LABELS (Work)"), [refusal])
        self.assertEqual(bob.command("STORE 1 X-GM-LABELS (\\Starred)"), [refusal])
        lines = bob.command("STORE 2 +X-GM-LABELS (\\Starred)")
        self.assertEqual(lines[0], b'* 2 FETCH (X-GM-LABELS ("\\\\Starred"))')
        self.assertEqual(bob.command("SEARCH X-GM-LABELS \\Inbox")[0], b"* SEARCH")
        self.grant("lrs")
        self.assertEqual(bob.command("STORE 2 -X-GM-LABELS (\\Starred)")[-1][:10], b"NO [NOPERM")
        bob.command("SELECT INBOX")
        line = bob.command(f'STORE 1 +X-GM-LABELS ("{OTHERS}/Plans")')[-1]
        self.assertEqual(line, b"NO [NOPERM] Only mailboxes of your own are labels")


class SQLiteOthersTests(OthersTests):
    sqlite = True
