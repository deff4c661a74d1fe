"""The result of a search that the server keeps up to date (RFC 5267): with our own server, and with
what others may say."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, cast
from unittest import mock

from twisted.internet.defer import CancelledError, Deferred

from mailkit.imap.client import (
    ClientError,
    ClientSettings,
    ExtendedSearch,
    Following,
    NotOffered,
    ProtocolError,
    Refused,
    ResponseLimits,
    ResponseTooLarge,
    SearchUpdate,
    WrongState,
    following,
)
from mailkit.imap.client.commands import Command
from mailkit.imap.client.following import MAX_BESIDE
from mailkit.imap.client.reader import Response
from mailkit.imap.client.responses import parse_response
from mailkit.imap.client.selected import Selected
from mailkit.imap.client.values import ResultChange
from mailkit.imap.contexts import MAX_CONTEXTS
from mailkit.model import FlagOp
from mailkit.query import HasFlag, Not
from tests.imap.client.support import SETTINGS, ClientTestCase, login
from tests.imap.client.test_pipelining import SELECTED, Manual
from tests.imap.support import Server, now

CAPABLE = b"* OK [CAPABILITY IMAP4rev1 ESEARCH CONTEXT=SEARCH CONTEXT=SORT IDLE] hello\r\n"
SEEN = ["\\Seen"]


class FollowingTestCase(ClientTestCase):
    async def follow(self, *arguments: Any, count: int = 1) -> list[SearchUpdate]:
        """So many updates; what is followed meanwhile stands in ``found``."""
        updates: list[SearchUpdate] = []
        async with self.client.session.follow(*arguments) as self.found:
            while len(updates) < count:
                updates.append(await self.found.__anext__())
        return updates

    found: Following


class OurServerTests(FollowingTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.server.add(*[b"Subject: %b\r\n\r\n" % subject for subject in (b"d", b"b", b"a", b"c")])
        self.client = login(self.server)
        self.session = self.client.session
        self.run_it(self.session.select("INBOX"))

    def change(self, op: FlagOp, uids: Sequence[int], flags: Sequence[str] = SEEN) -> None:
        now(self.server.mailbox().store_flags(uids=uids, op=op, flags=frozenset(flags)))
        self.client.flush()

    def test_flags_arrivals_and_removals(self) -> None:
        results = self.client.start(self.follow("UNSEEN", count=4))
        self.assertEqual(self.found.uids, [1, 2, 3, 4])
        self.change(FlagOp.ADD, [2, 3])
        self.server.add(b"\r\n")
        self.client.flush()
        self.change(FlagOp.REMOVE, [2])
        now(self.server.mailbox().expunge(uids=[1]))
        self.client.flush()
        self.assertEqual(results, [[([], [2, 3]), ([5], []), ([2], []), ([], [1])]])
        self.assertEqual(self.found.uids, [2, 4, 5])
        # The server has been told that nobody listens any more.
        self.assertIsNone(self.client.end.protocol.selection.contexts)

    def test_order(self) -> None:
        results = self.client.start(self.follow("UNSEEN", "SUBJECT", count=3))
        self.assertEqual(self.found.uids, [3, 2, 4, 1])
        self.change(FlagOp.ADD, [2, 1])
        self.assertEqual(self.found.uids, [3, 4])
        self.server.add(b"Subject: bb\r\n\r\n", b"Subject: z\r\n\r\n")
        self.client.flush()
        self.assertEqual(self.found.uids, [3, 5, 4, 6])
        self.change(FlagOp.REMOVE, [1])
        self.assertEqual(results, [[([], [1, 2]), ([5, 6], []), ([1], [])]])
        self.assertEqual(self.found.uids, [3, 5, 4, 1, 6])

    def test_between_two_updates_the_session_can_be_used(self) -> None:
        async def work() -> list[Any]:
            heard: list[Any] = []
            async with self.session.follow(Not(HasFlag("\\Seen"))) as found:
                await self.session.store([1], FlagOp.ADD, SEEN)
                # What comes and goes again is no news.
                await self.session.store([2], FlagOp.ADD, SEEN)
                await self.session.store([2], FlagOp.REMOVE, SEEN)
                async for update in found:
                    heard += [update, await self.session.search("SEEN")]
                    if len(heard) > 2:
                        return heard
            return heard

        results = self.client.start(work())
        self.change(FlagOp.ADD, [3])
        self.assertEqual(results, [[([], [1]), [1], ([], [3]), [1, 3]]])

    def test_time(self) -> None:
        async def work() -> SearchUpdate | None:
            async with self.session.follow("UNSEEN") as found:
                return await found.next(5)

        results = self.client.start(work())
        self.assertEqual(results, [])
        self.client.clock.advance(5)
        self.client.flush()
        self.assertEqual(results, [None])
        self.assertEqual(self.run_it(self.session.search()), [1, 2, 3, 4])

    def test_given_up(self) -> None:
        self.client.flush()
        begun = Deferred.fromCoroutine(self.follow("UNSEEN"))
        self.client.flush()
        begun.cancel()
        self.client.flush()
        self.failureResultOf(begun)
        self.assertEqual(self.run_it(self.session.search()), [1, 2, 3, 4])
        self.assertIsNone(self.client.end.protocol.selection.contexts)

    def test_given_up_before_the_answer(self) -> None:
        """The server is told, and has room for others."""
        for _ in range(MAX_CONTEXTS + 2):
            begun = Deferred.fromCoroutine(self.session.follow("UNSEEN").__aenter__())
            begun.cancel()
            self.failureResultOf(begun)
            self.client.flush()
        self.assertIsNone(self.client.end.protocol.selection.contexts)

    def test_nothing_found(self) -> None:
        results = self.client.start(self.follow("FLAGGED"))
        self.assertEqual(self.found.uids, [])
        self.change(FlagOp.ADD, [4], ["\\Flagged"])
        self.assertEqual(results, [[([4], [])]])

    def test_refusals(self) -> None:
        error = self.fails(Refused, self.follow("YOUNGER 60"))
        self.assertEqual(error.code_name, "NOUPDATE")
        self.fails(ValueError, self.follow("UNSEEN", "("))
        for _ in range(MAX_CONTEXTS):
            self.client.start(self.session.follow("SEEN").__aenter__())
        self.assertEqual(self.fails(Refused, self.follow("SEEN")).code_name, "NOUPDATE")

    def test_another_mailbox(self) -> None:
        async def work() -> None:
            async with self.session.follow("UNSEEN") as found:
                await self.session.select("Sent")
                await found.next(None)

        self.fails(WrongState, work())
        self.run_it(self.session.unselect())
        with self.assertRaises(WrongState):
            self.session.follow()

    def test_a_server_without(self) -> None:
        announced = self.session._connection.facts.announced
        self.session._connection.facts.announced = announced - {"CONTEXT=SORT"}
        with self.assertRaises(NotOffered):
            self.session.follow("ALL", "DATE")
        self.session._connection.facts.announced = announced - {"CONTEXT=SEARCH"}
        with self.assertRaises(NotOffered):
            self.session.follow()


class ScriptedTests(FollowingTestCase):
    def begin(self, answer: bytes, *arguments: Any, **limits: int) -> None:
        """Follow a search whose answer is given."""
        settings = ClientSettings(tls=SETTINGS.tls, limits=ResponseLimits(**limits))
        self.client: Manual = Manual(CAPABLE, settings=settings)
        self.addCleanup(self.client.lose)
        self.client.start(self.client.session.select("INBOX"))
        self.client.say(SELECTED)
        self.results = self.client.start(self.follow(*arguments, count=9))
        self.client.say(answer + b"m2 OK x\r\n")
        self.client.say(b"+ idling\r\n")

    def ends(
        self, kind: type[ClientError], *answers: bytes, cancel: bytes | None = b"OK"
    ) -> ClientError:
        """What ends it once an update is heard.

        :param cancel: what the server says to CANCELUPDATE; None where it is not sent.
        """
        for answer in answers:
            self.client.say(answer)
        heard = self.client.take()
        self.assertEqual(heard[-1], b"DONE")
        self.client.say(b"%b OK x\r\n" % heard[-2].split()[0])
        if cancel is not None:
            (cancelled,) = self.client.take()
            self.assertEqual(cancelled.split(None, 1)[1], b'CANCELUPDATE "m2"')
            self.client.say(b"%b %b x\r\n" % (cancelled.split()[0], cancel))
        self.assertEqual(self.client.take(), [b""])
        self.results[0].trap(kind)
        error = self.results[0].value
        assert isinstance(error, ClientError)
        return error

    def test_the_examples_of_the_standard(self) -> None:
        """RFC 5267 section 4.3.3: they are the same."""
        for updates in (
            b"ADDTO (1 2733 1 2732 1 2731)",
            b"ADDTO (1 2733) ADDTO (1 2731:2732)",
            b"ADDTO (1 2731:2733)",
        ):
            self.begin(b'* ESEARCH (TAG "m2") UID ALL 2734:2735\r\n', "ALL", "ARRIVAL")
            self.client.say(b'* ESEARCH (TAG "m2") UID %b\r\n' % updates)
            self.assertEqual(self.found.uids, [2731, 2732, 2733, 2734, 2735], updates)

    def test_updates_before_the_end_of_the_command(self) -> None:
        self.begin(
            b'* ESEARCH (TAG "m2") UID ALL 1:3\r\n* ESEARCH (TAG "m2") UID REMOVEFROM (0 2)\r\n'
        )
        self.assertEqual(self.found.uids, [1, 3])
        self.assertFalse(self.found._has_news)

    def test_what_comes_and_goes_is_no_news(self) -> None:
        self.begin(b'* ESEARCH (TAG "m2") UID ALL 1:3\r\n')
        self.client.say(b'* ESEARCH (TAG "m2") UID ADDTO (0 7) REMOVEFROM (0 7)\r\n')
        self.assertFalse(self.found._has_news)

    def test_another_order_is_news(self) -> None:
        self.begin(b'* ESEARCH (TAG "m2") UID ALL 1:3\r\n', "ALL", "DATE")
        self.client.say(b'* ESEARCH (TAG "m2") UID REMOVEFROM (1 1) ADDTO (3 1)\r\n')
        self.assertEqual(self.found.uids, [2, 3, 1])
        self.client.take()
        self.client.say(b"* 1 FETCH (FLAGS ())\r\nm3 OK x\r\n+ idling\r\n")
        # It has been taken, and the next one is waited for.
        self.assertEqual(self.client.take(), [b"m4 IDLE"])

    def test_updates_of_another_search(self) -> None:
        self.begin(b'* ESEARCH (TAG "m2") UID ALL 1:3\r\n')
        self.client.say(b'* ESEARCH (TAG "m1") UID REMOVEFROM (0 2)\r\n')
        self.assertEqual(self.found.uids, [1, 2, 3])

    def test_updates_that_make_no_sense(self) -> None:
        for keys, update in (
            ("", b"REMOVEFROM (0 9)"),
            ("", b"REMOVEFROM (2 1)"),
            ("", b"ADDTO (0 2)"),
            ("", b"ADDTO (0 7,7)"),
            ("", b"ADDTO (5 7)"),
            # Section 4.4: the result of a SEARCH is in the order of the mailbox.
            ("", b"ADDTO (1 7)"),
            ("", b"ADDTO (4 8,7)"),
            ("DATE", b"ADDTO (0 7)"),
            ("DATE", b"REMOVEFROM (3 3 3 2)"),
            ("", b"ADDTO (0 100:%d)" % (100 + MAX_BESIDE + 5)),
            ("", b"REMOVEFROM (0 1:4294967295)"),
        ):
            self.begin(b'* ESEARCH (TAG "m2") UID ALL 1:3\r\n', "ALL", keys)
            self.ends(ProtocolError, b'* ESEARCH (TAG "m2") UID %b\r\n* 6 EXISTS\r\n' % update)
            self.assertFalse(self.client.session.closed)

    def test_an_answer_of_too_many(self) -> None:
        self.begin(b"")
        self.assertEqual(self.found.uids, [])
        answer = b'* ESEARCH (TAG "m2") UID ALL 1:4294967295\r\n'
        client: Manual = Manual(CAPABLE)
        client.start(client.session.select("INBOX"))
        client.say(SELECTED)
        results = client.start(client.session.follow().__aenter__())
        client.say(answer + b"m2 OK x\r\n")
        results[0].trap(ProtocolError)
        self.assertEqual(client.take()[-1], b'm3 CANCELUPDATE "m2"')

    def test_given_up(self) -> None:
        client: Manual = Manual(CAPABLE)
        self.addCleanup(client.lose)
        client.start(client.session.select("INBOX"))
        client.say(SELECTED)
        begun = Deferred.fromCoroutine(client.session.follow().__aenter__())
        client.take()
        begun.cancel()
        self.failureResultOf(begun)
        self.assertEqual(client.take(), [b'm3 CANCELUPDATE "m2"'])
        client.say(b'* ESEARCH (TAG "m2") UID ALL 1:3\r\nm2 OK x\r\nm3 OK x\r\n')
        self.assertFalse(client.session.closed)

    def test_given_up_while_nothing_more_can_be_sent(self) -> None:
        """It ends at once, and the server is told when that has its turn."""

        def cancel(begun: Coroutine[Any, Any, object]) -> None:
            results = Deferred.fromCoroutine(begun)
            results.cancel()
            self.failureResultOf(results, CancelledError)

        def close(begun: Coroutine[Any, Any, object]) -> None:
            begun.send(None)
            begun.close()

        for give_up in (cancel, close):
            client: Manual = Manual(CAPABLE, ClientSettings(tls=SETTINGS.tls, max_pipelined=1))
            self.addCleanup(client.lose)
            client.start(client.session.select("INBOX"))
            client.say(SELECTED)
            client.take()
            give_up(client.session.follow().__aenter__())
            self.assertEqual(len(client.take()), 1)
            client.say(b"m2 OK x\r\n")
            self.assertEqual(client.take(), [b'm3 CANCELUPDATE "m2"'])
            client.say(b"m3 NO x\r\n")
            self.assertFalse(client.session.closed)

    def test_given_up_before_the_connection_ends(self) -> None:
        """Nobody is told that it could not be sent: nobody waits."""
        client: Manual = Manual(CAPABLE, ClientSettings(tls=SETTINGS.tls, max_pipelined=1))
        client.start(client.session.select("INBOX"))
        client.say(SELECTED)
        begun = Deferred.fromCoroutine(client.session.follow().__aenter__())
        client.take()
        begun.cancel()
        self.failureResultOf(begun, CancelledError)
        client.lose()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_search_that_is_refused(self) -> None:
        """There is nothing to cancel."""
        for answer in (b"m2 NO x\r\n", b'* NO [NOUPDATE "m2"] x\r\nm2 OK x\r\n'):
            client: Manual = Manual(CAPABLE)
            self.addCleanup(client.lose)
            client.start(client.session.select("INBOX"))
            client.say(SELECTED)
            results = client.start(client.session.follow().__aenter__())
            client.take()
            client.say(answer)
            results[0].trap(Refused)
            self.assertEqual(client.take(), [b""])

    def test_updates_that_end(self) -> None:
        self.begin(b'* ESEARCH (TAG "m2") UID ALL 1:3\r\n')
        error = self.ends(Refused, b'* NO [NOUPDATE "m2"] The disk is full\r\n', cancel=None)
        self.assertEqual(error.text, "The disk is full")

    def test_a_server_that_does_not_know_what_to_cancel(self) -> None:
        """Why it has ended counts."""
        update = b'* ESEARCH (TAG "m2") UID REMOVEFROM (0 9)\r\n'
        for answer in (b"NO", b"BAD"):
            self.begin(b'* ESEARCH (TAG "m2") UID ALL 1:3\r\n')
            self.ends(ProtocolError, update, cancel=answer)
            self.assertFalse(self.client.session.closed)

    def test_an_update_that_is_too_large(self) -> None:
        self.begin(b'* ESEARCH (TAG "m2") UID ALL 1:3\r\n', ranges=3)
        self.ends(ResponseTooLarge, b'* ESEARCH (TAG "m2") UID ADDTO (0 11,13,15,17)\r\n')

    def test_an_update_of_too_many_places(self) -> None:
        """The limit is one of all sets together."""
        for update in (b"ADDTO (0 11 0 13) REMOVEFROM (0 1,2)", b"ADDTO (0 11 0 12 0 13 0 14)"):
            self.begin(b'* ESEARCH (TAG "m2") UID ALL 1:3\r\n', ranges=3)
            self.ends(ResponseTooLarge, b'* ESEARCH (TAG "m2") UID %b\r\n' % update)
        self.begin(b'* ESEARCH (TAG "m2") UID ALL 1:3\r\n', ranges=3)
        self.client.say(b'* ESEARCH (TAG "m2") UID ADDTO (0 11 0 13) REMOVEFROM (0 2)\r\n')
        self.assertEqual(self.found.uids, [1, 3, 11, 13])

    def test_updates_without_end(self) -> None:
        """In one line or in many: what they cost is bounded until somebody takes them."""
        self.patch(following, "MAX_BESIDE", 100)
        there_and_back = b"ADDTO (0 9:90) REMOVEFROM (0 9:90)"
        self.begin(b'* ESEARCH (TAG "m2") UID ALL 1:3\r\n')
        update = b" ".join([there_and_back] * 40)
        self.ends(ProtocolError, b'* ESEARCH (TAG "m2") UID %b\r\n' % update)
        self.begin(b'* ESEARCH (TAG "m2") UID ALL 1:3\r\n')
        update = b'* ESEARCH (TAG "m2") UID %b\r\n' % there_and_back
        self.ends(ProtocolError, b"* 5 EXISTS\r\n" + update * 40)
        # Nor is the answer told again and again.
        self.begin(b'* ESEARCH (TAG "m2") UID ALL 1:100\r\n' * 10 + b'* NO [NOUPDATE "m2"] x\r\n')
        self.results[0].trap(Refused)
        self.begin(b'* ESEARCH (TAG "m2") UID ALL 1:100\r\n' * 60)
        self.results[0].trap(ProtocolError)
        # Those that are taken do not count.
        self.begin(b'* ESEARCH (TAG "m2") UID ALL 1:3\r\n')
        for _ in range(40):
            self.client.say(update)
            self.found._take()
        self.assertEqual(self.found.uids, [1, 2, 3])

    def test_all_change_one_by_one(self) -> None:
        """A server may tell each by itself (section 4.3.2); the list is made anew once."""
        count = 30_000
        selected = Selected("INBOX", read_only=False)
        for position in (0, 1):
            found = Following(cast(Any, None), selected, Command("UID SEARCH"), True, False)
            found._collect(ExtendedSearch(b"", True)._replace(all=((1, count),)))
            found._take()
            with mock.patch.object(following, "MAX_BESIDE", count):
                for uid in range(1, count):
                    change = ResultChange(False, position, ((uid, uid),))
                    found._hear(ExtendedSearch(b"", True, changes=(change,)))
            self.assertIsNone(found._failure)
            self.assertEqual(found.uids, [count])

    def test_a_result_of_which_little_changes(self) -> None:
        """It is as if all had been sorted anew."""
        self.begin(b'* ESEARCH (TAG "m2") UID ALL 999,3:900\r\n')
        self.client.say(b'* ESEARCH (TAG "m2") UID ADDTO (0 950,1)\r\n')
        self.assertEqual(self.found.uids, [1, *range(3, 901), 950, 999])
        self.client.say(b'* ESEARCH (TAG "m2") UID REMOVEFROM (0 999,3,500) ADDTO (2 2)\r\n')
        self.assertEqual(self.found.uids, [1, 2, *range(4, 500), *range(501, 901), 950])
        self.client.say(b'* ESEARCH (TAG "m2") UID REMOVEFROM (0 4:499,501:900) ADDTO (0 5,3)\r\n')
        self.assertEqual(self.found.uids, [1, 2, 3, 5, 950])

    def test_a_connection_that_ends(self) -> None:
        self.begin(b'* ESEARCH (TAG "m2") UID ALL 1:3\r\n')
        self.client.lose()
        self.results[0].trap(ClientError)

    def test_a_server_without_idle(self) -> None:
        greeting = CAPABLE.replace(b" IDLE", b"")
        self.client = Manual(greeting)
        self.addCleanup(self.client.lose)
        self.client.start(self.client.session.select("INBOX"))
        self.client.say(SELECTED)
        self.client.start(self.follow())
        self.client.say(b'* ESEARCH (TAG "m2") UID ALL 1:3\r\nm2 OK x\r\n')
        self.client.clock.advance(SETTINGS.timeouts.poll)
        self.assertEqual(self.client.take()[-1], b"m3 NOOP")
        self.client.say(b'* ESEARCH (TAG "m2") UID REMOVEFROM (0 2)\r\n* 2 EXPUNGE\r\nm3 OK x\r\n')
        self.assertEqual(self.client.take(), [b'm4 CANCELUPDATE "m2"'])
        self.assertEqual(self.found.uids, [1, 3])

    def test_reading(self) -> None:
        line = b'* ESEARCH (TAG "B01") UID ADDTO (0 32768:32769 4 9,7) REMOVEFROM (1 5)'
        changes = (
            ResultChange(True, 0, ((32768, 32769),)),
            ResultChange(True, 4, ((9, 9), (7, 7))),
            ResultChange(False, 1, ((5, 5),)),
        )
        self.assertEqual(
            parse_response(Response(line, {})), ExtendedSearch(b"B01", True, changes=changes)
        )
        for bad in (
            b"ADDTO 0 5",
            b"ADDTO (0)",
            b"ADDTO (0 *)",
            b"REMOVEFROM (0 1",
            b"ADDTO (-1 5)",
        ):
            with self.assertRaises(ProtocolError, msg=bad):
                parse_response(Response(b'* ESEARCH (TAG "a") %b' % bad, {}))
