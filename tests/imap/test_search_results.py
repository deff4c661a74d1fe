"""What SEARCH returns and saves: ESEARCH, SEARCHRES, PARTIAL, WITHIN (RFC 4731, 5182, 9394, 5032)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import StoreUnavailable
from mailkit.imap.protocol import IMAPFactory
from mailkit.store.memory_mailbox import MemoryMailbox
from tests.imap.support import Server, now


class SearchCase(SynchronousTestCase):
    """Twelve messages with the UIDs 2 to 13; number 1, 4 and 9 to 11 are flagged."""

    def setUp(self) -> None:
        self.server = Server()
        uids = self.server.add(*(b"Subject: %d\r\n\r\n" % n for n in range(13)))
        now(self.server.mailbox().expunge(uids=uids[:1]))
        self.client = self.server.login("SELECT INBOX", "STORE 1,4,9:11 +FLAGS (\\Flagged)")

    def ask(self, command: str) -> list[bytes]:
        return self.client.command(command)

    def check(self, command: str, *responses: bytes) -> None:
        lines = self.ask(command)
        expected = [line.replace(b"TAG", b'(TAG "t%d")' % self.client._tags) for line in responses]
        self.assertEqual(lines, [*expected, b"OK SEARCH completed"], command)

    def check_bad(self, command: str) -> None:
        (line,) = self.ask(command)
        self.assertTrue(line.startswith(b"BAD "), (command, line))


class ESearchTests(SearchCase):
    """RFC 4731"""

    def test_each_option(self) -> None:
        for options, result in (
            ("MIN", b"MIN 1"),
            ("MAX", b"MAX 11"),
            ("ALL", b"ALL 1,4,9:11"),
            ("COUNT", b"COUNT 5"),
            ("", b"ALL 1,4,9:11"),
            ("min count", b"MIN 1 COUNT 5"),
            ("COUNT ALL MAX MIN", b"MIN 1 MAX 11 ALL 1,4,9:11 COUNT 5"),
            ("COUNT COUNT", b"COUNT 5"),
        ):
            self.check(f"SEARCH RETURN ({options}) FLAGGED", b"* ESEARCH TAG " + result)

    def test_uids(self) -> None:
        self.check("UID SEARCH RETURN (MIN MAX ALL) FLAGGED",
                   b"* ESEARCH TAG UID MIN 2 MAX 12 ALL 2,5,10:12")  # fmt: skip

    def test_nothing_found(self) -> None:
        # RFC 4731 section 3.1: only COUNT can tell that.
        self.check("SEARCH RETURN (MIN MAX ALL COUNT) DELETED", b"* ESEARCH TAG COUNT 0")
        self.check("UID SEARCH RETURN () DELETED", b"* ESEARCH TAG UID")

    def test_with_a_charset(self) -> None:
        self.check("SEARCH RETURN (COUNT) CHARSET UTF-8 SUBJECT 1", b"* ESEARCH TAG COUNT 4")

    def test_a_large_result_comes_in_pieces_that_fit(self) -> None:
        self.server.add(*([b"\r\n"] * 10_490))
        self.ask("NOOP")
        self.check(
            "SEARCH RETURN (ALL) NOT 1:2", b"* ESEARCH TAG ALL 3:5002,5003:10002,10003:10502"
        )

    def test_the_old_response_without_return(self) -> None:
        self.check("SEARCH FLAGGED", b"* SEARCH 1 4 9 10 11")

    def test_an_option_that_is_named_twice_is_one(self) -> None:
        # RFC 4466 section 3 (search-return-opts): nothing says that each comes once.
        for options in ("ALL ALL", "COUNT ALL COUNT ALL", "MIN MIN"):
            once = " ".join(dict.fromkeys(options.split()))
            told = [self.client.command(f"SEARCH RETURN ({each}) ALL") for each in (options, once)]
            self.assertEqual(told[0][1:], told[1][1:])
            self.assertEqual(told[0][0].split()[4:], told[1][0].split()[4:])

    def test_wrong_options(self) -> None:
        for arguments in (
            "RETURN ALL", "RETURN (ALL)", "RETURN (ALL ALL", "RETURN (FOO) ALL", "RETURN(ALL) ALL",
            "RETURN (ALL MODSEQ) ALL", "RETURN ( ALL) ALL", "RETURN (ALL)ALL", "RETURN",
            f"RETURN ({' '.join(['MIN'] * 21)}) ALL",
        ):  # fmt: skip
            self.check_bad(f"SEARCH {arguments}")


class SearchResTests(SearchCase):
    """RFC 5182"""

    def test_a_saved_result_stands_for_messages(self) -> None:
        self.check("SEARCH RETURN (SAVE) FLAGGED")
        self.assertEqual(self.ask("FETCH $ UID")[:2], [b"* 1 FETCH (UID 2)", b"* 4 FETCH (UID 5)"])
        self.assertEqual(len(self.ask("UID FETCH $ UID")), 6)
        self.check("SEARCH $ SMALLER 4096", b"* SEARCH 1 4 9 10 11")
        self.check("UID SEARCH UID $ NOT 1", b"* SEARCH 5 10 11 12")
        self.check("SEARCH (OR $ 2) NOT 9:*", b"* SEARCH 1 2 4")

    def test_every_command_that_takes_a_set(self) -> None:
        self.check("UID SEARCH RETURN (SAVE) UID 3,4")
        self.assertEqual(self.ask("COPY $ Trash")[-1].split(b"]")[0][-7:], b"3:4 1:2")
        self.assertEqual(
            self.ask("STORE $ +FLAGS (\\Deleted)")[:2],
            [b"* 2 FETCH (FLAGS (\\Recent \\Deleted))", b"* 3 FETCH (FLAGS (\\Recent \\Deleted))"],
        )
        self.assertEqual(self.ask("UID EXPUNGE $")[:2], [b"* 3 EXPUNGE", b"* 2 EXPUNGE"])
        self.check("SEARCH $", b"* SEARCH")

    def test_an_empty_result_is_valid(self) -> None:
        for command in ("FETCH $ UID", "UID FETCH $ UID", "STORE $ FLAGS ()"):
            self.assertEqual(len(self.ask(command)), 1, command)
            self.assertTrue(self.ask(command)[0].startswith(b"OK "), command)
        self.assertTrue(self.ask("COPY $ Trash")[0].startswith(b"OK "))

    def test_what_is_expunged_leaves_the_result(self) -> None:
        self.check("SEARCH RETURN (SAVE COUNT) FLAGGED", b"* ESEARCH TAG COUNT 5")
        now(self.server.mailbox().expunge(uids=[5, 6]))
        self.ask("NOOP")
        self.check("SEARCH $", b"* SEARCH 1 7 8 9")

    def test_min_and_max_save_what_they_tell(self) -> None:
        for options, saved in (
            ("MIN", b" 1"),
            ("MAX", b" 11"),
            ("MIN MAX", b" 1 11"),
            ("MIN COUNT", b" 1 4 9 10 11"),
            ("MIN ALL", b" 1 4 9 10 11"),
            ("PARTIAL 2:3", b" 4 9"),
            ("PARTIAL -1:-1 MIN", b" 1 11"),
            ("PARTIAL 2:2 COUNT", b" 1 4 9 10 11"),
        ):
            self.ask(f"SEARCH RETURN (SAVE {options}) FLAGGED")
            self.check("SEARCH $", b"* SEARCH" + saved)

    def test_which_searches_change_it(self) -> None:
        self.ask("SEARCH RETURN (SAVE) 2")
        self.ask("SEARCH RETURN (COUNT) 3")
        self.ask("SEARCH 4")
        self.check_bad("SEARCH RETURN (SAVE) NONSENSE")
        self.ask("SEARCH CHARSET X-NONE SUBJECT x")
        self.check("SEARCH $", b"* SEARCH 2")
        # RFC 5182 section 2.1: NO empties it, if SAVE was asked for.
        self.assertTrue(self.ask("SEARCH RETURN (SAVE) CHARSET X-NONE $")[0].startswith(b"NO "))
        self.check("SEARCH $", b"* SEARCH")

    def test_a_store_that_fails(self) -> None:
        async def fail(mailbox: object, uids: object) -> None:
            raise StoreUnavailable

        self.ask("SEARCH RETURN (SAVE) 2")
        works = MemoryMailbox.get_messages
        self.patch(MemoryMailbox, "get_messages", fail)
        self.assertTrue(self.ask("SEARCH RETURN (SAVE) SEEN")[0].startswith(b"NO "))
        self.patch(MemoryMailbox, "get_messages", works)
        self.assertTrue(self.ask("FETCH $ UID")[0].startswith(b"OK "))

    def test_another_mailbox_begins_without(self) -> None:
        self.ask("SEARCH RETURN (SAVE) ALL")
        self.ask("SELECT INBOX")
        self.check("SEARCH $", b"* SEARCH")

    def test_pipelined(self) -> None:
        octets = self.client.send(b"a SEARCH RETURN (SAVE) FLAGGED\r\nb FETCH $ UID\r\n")
        lines = octets.split(b"\r\n")
        self.assertEqual((lines[0], lines[1]), (b"a OK SEARCH completed", b"* 1 FETCH (UID 2)"))

    def test_more_than_the_sign(self) -> None:
        for arguments in ("FETCH $,1 UID", "FETCH $:3 UID", "FETCH 1:$ UID", "SEARCH $,1"):
            self.check_bad(arguments)


class PartialTests(SearchCase):
    """RFC 9394"""

    def test_ranges(self) -> None:
        for wanted, result in (
            ("1:2", b"1,4"),
            ("2:1", b"1,4"),
            ("4:100", b"10:11"),
            ("-1:-2", b"10:11"),
            ("-4:-100", b"1,4"),
            ("-100:-3", b"1,4,9"),
            ("6:10", b"NIL"),
            ("-6:-10", b"NIL"),
        ):
            answer = b"* ESEARCH TAG PARTIAL (%b %b)" % (wanted.encode(), result)
            self.check(f"SEARCH RETURN (PARTIAL {wanted}) FLAGGED", answer)

    def test_uids_and_count(self) -> None:
        self.check("UID SEARCH RETURN (COUNT PARTIAL -1:-2) FLAGGED",
                   b"* ESEARCH TAG UID COUNT 5 PARTIAL (-1:-2 11:12)")  # fmt: skip

    def test_wrong_ranges(self) -> None:
        for options in (
            "PARTIAL", "PARTIAL 1", "PARTIAL 0:1", "PARTIAL 1:-2", "PARTIAL -1:2", "PARTIAL 1:*",
            "PARTIAL 1:4294967296", "PARTIAL 1:2x", "ALL PARTIAL 1:2", "PARTIAL 1:2 PARTIAL 3:4",
        ):  # fmt: skip
            self.check_bad(f"SEARCH RETURN ({options}) ALL")

    def test_uid_fetch(self) -> None:
        for wanted, uids in (
            ("-1:-3", (12, 13)),
            ("1:2", (2, 4)),
            ("2:4", (4, 5, 12)),
            ("5:9", (13,)),
            ("6:9", ()),
            ("-5:-9", (2,)),
            ("-9:-6", ()),
        ):
            lines = self.ask(f"UID FETCH 1:2,4:5,12:* (UID) (PARTIAL {wanted})")
            found = tuple(int(line.split()[-1].rstrip(b")")) for line in lines[:-1])
            self.assertEqual(found, uids if wanted != "-1:-3" else (5, 12, 13), wanted)
            self.assertTrue(lines[-1].startswith(b"OK "))

    def test_wrong_modifiers(self) -> None:
        for arguments in (
            "FETCH 1:* (UID) (PARTIAL 1:2)", "UID FETCH 1:* UID (PARTIAL 1:2",
            "UID FETCH 1:* UID (PARTIAL)", "UID FETCH 1:* UID (FOO 1:2)", "UID FETCH 1:* UID ()",
            "UID FETCH 1:* UID (PARTIAL 1:2) x", "UID FETCH 1:* UID PARTIAL 1:2",
        ):  # fmt: skip
            self.check_bad(arguments)


class WithinTests(SearchCase):
    """RFC 5032"""

    def test_to_the_second(self) -> None:
        self.server.clock.advance(100)
        self.server.add(b"Subject: late\r\n\r\n")
        self.ask("NOOP")
        self.server.clock.advance(10)
        for key, numbers in (
            ("YOUNGER 10", b" 13"),
            ("YOUNGER 9", b""),
            ("OLDER 110", b" 1 2 3 4 5 6 7 8 9 10 11 12"),
            ("OLDER 111", b""),
            ("OLDER 10 YOUNGER 10", b" 13"),
        ):
            self.check(f"SEARCH {key}", b"* SEARCH" + numbers)

    def test_wrong_intervals(self) -> None:
        for key in ("OLDER", "OLDER 0", "YOUNGER -1", "YOUNGER x", "OLDER 4294967296"):
            self.check_bad(f"SEARCH {key}")


class SwitchTests(SynchronousTestCase):
    """What a server is told to be without."""

    def test_not_announced_and_not_understood(self) -> None:
        server = Server(without=("esearch", "WITHIN", "MOVE"))
        server.add(b"\r\n")
        client = server.login("SELECT INBOX")
        words = client.command("CAPABILITY")[0].split()
        for name in (b"ESEARCH", b"SEARCHRES", b"PARTIAL", b"WITHIN", b"MOVE"):
            self.assertNotIn(name, words)
        self.assertIn(b"UIDPLUS", words)
        for command in ("SEARCH RETURN () ALL", "SEARCH OLDER 1", "MOVE 1 Trash"):
            self.assertTrue(client.command(command)[0].startswith(b"BAD "), command)

    def test_names_that_make_no_sense(self) -> None:
        for name in ("X-NONE", "IMAP4rev1", "STARTTLS", ""):
            self.assertRaises(ValueError, IMAPFactory, without=(name,))
