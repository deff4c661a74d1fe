"""Several clients on one mailbox, and IDLE (RFC 3501 sections 5.2, 7.4; RFC 2177)."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvidedBy, directlyProvides, implementer

from mailkit.errors import StoreUnavailable
from mailkit.interfaces import IVersionedMailbox
from tests.imap.fakes import LateWatch, PlainAccount, Slow
from tests.imap.support import Client, Server, now

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"


class SharingTests(SynchronousTestCase):
    plain = False

    def setUp(self) -> None:
        self.server = Server()
        self.server.add(MESSAGE, MESSAGE, MESSAGE)
        # \Recent is not what these tests are about.
        self.server.login("SELECT INBOX").command("LOGOUT")
        if self.plain:
            self.server.realm.account = PlainAccount(self.server.account)
        self.ann = self.server.login("SELECT INBOX")
        self.bob = self.server.login("SELECT INBOX")

    def test_new_messages(self) -> None:
        self.assertEqual(self.ann.command("NOOP"), [b"OK NOOP completed"])
        self.bob.command(b"APPEND INBOX {3+}\r\nabc")
        lines = self.ann.command("NOOP")
        self.assertEqual((lines[0], lines[-1]), (b"* 4 EXISTS", b"OK NOOP completed"))
        self.assertEqual(self.ann.command("NOOP"), [b"OK NOOP completed"])

    def test_own_append_to_the_selected_mailbox(self) -> None:
        lines = self.ann.command(b"APPEND INBOX {3+}\r\nabc")
        self.assertEqual(lines[0], b"* 4 EXISTS")
        self.assertTrue(lines[-1].startswith(b"OK [APPENDUID "))

    def test_flags(self) -> None:
        self.bob.command("STORE 2 +FLAGS (\\Flagged)")
        (line, _) = self.ann.command("NOOP")
        self.assertIn(b"* 2 FETCH (FLAGS (", line)
        self.assertIn(b"\\Flagged))", line)
        self.assertEqual(self.ann.command("NOOP"), [b"OK NOOP completed"])

    def test_keywords_that_the_client_does_not_know_yet(self) -> None:
        self.bob.command("STORE 2 +FLAGS (mine)")
        flags, fetch, _ = self.ann.command("NOOP")
        self.assertTrue(flags.startswith(b"* FLAGS (") and flags.endswith(b" mine)"), flags)
        self.assertTrue(fetch.endswith(b"mine))"), fetch)
        self.bob.command("STORE 1 +FLAGS (mine)")
        self.assertEqual(len(self.ann.command("NOOP")), 2)

    def test_uid_commands_tell_uids(self) -> None:
        self.bob.command("STORE 2 +FLAGS (\\Flagged)")
        (line, _) = self.ann.command("UID FETCH 77 FLAGS")
        self.assertIn(b"* 2 FETCH (UID 2 FLAGS (", line)

    def test_changes_by_others_before_a_silent_store_are_told(self) -> None:
        self.bob.command("STORE 2 +FLAGS (\\Flagged)")
        before, after, _ = self.ann.command("STORE 2 +FLAGS.SILENT (\\Seen)")
        self.assertIn(b"\\Flagged))", before)
        # Told twice, for nobody could tell whether the first are the flags from before.
        self.assertIn(b"\\Seen \\Flagged))", after)

    def test_both_change_one_message(self) -> None:
        self.ann.command("STORE 2 +FLAGS.SILENT (\\Seen)")
        self.bob.command("STORE 2 +FLAGS.SILENT (\\Flagged)")
        (line, _) = self.ann.command("NOOP")
        self.assertIn(b"\\Seen \\Flagged))", line)

    def test_expunge_waits_for_a_command_that_allows_it(self) -> None:
        self.bob.command("STORE 1:2 +FLAGS.SILENT (\\Deleted)")
        self.ann.command("NOOP")
        self.bob.command("EXPUNGE")
        for command in ("FETCH 3 UID", "STORE 3 +FLAGS.SILENT (x)", "SEARCH KEYWORD x"):
            self.assertFalse(
                [line for line in self.ann.command(command) if line.endswith(b" EXPUNGE")], command
            )
        self.assertEqual(self.ann.command("FETCH 3 UID")[0], b"* 3 FETCH (UID 3)")
        self.assertEqual(
            self.ann.command("NOOP"), [b"* 2 EXPUNGE", b"* 1 EXPUNGE", b"OK NOOP completed"]
        )
        self.assertEqual(self.ann.command("FETCH 1 UID")[0], b"* 1 FETCH (UID 3)")

    def test_messages_that_come_while_expunges_wait(self) -> None:
        self.bob.command("STORE 1 +FLAGS.SILENT (\\Deleted)")
        self.bob.command("EXPUNGE")
        self.server.add(MESSAGE)
        lines = self.ann.command("FETCH 3 UID")
        self.assertIn(b"* 4 EXISTS", lines)
        lines = self.ann.command("NOOP")
        self.assertEqual(lines, [b"* 1 EXPUNGE", b"OK NOOP completed"])
        self.assertEqual(
            self.ann.command("FETCH 1:* UID")[:-1],
            [b"* 1 FETCH (UID 2)", b"* 2 FETCH (UID 3)", b"* 3 FETCH (UID 4)"],
        )

    def test_came_and_went_unseen(self) -> None:
        (uid,) = self.server.add(MESSAGE)
        now(self.server.mailbox().expunge(uids=[uid]))
        self.assertEqual(self.ann.command("NOOP"), [b"OK NOOP completed"])

    def test_own_expunge_is_told_once(self) -> None:
        self.ann.command("STORE 2 +FLAGS.SILENT (\\Deleted)")
        self.assertEqual(self.ann.command("EXPUNGE"), [b"* 2 EXPUNGE", b"OK EXPUNGE completed"])
        self.assertEqual(self.ann.command("NOOP"), [b"OK NOOP completed"])

    def test_mailbox_deleted_by_another(self) -> None:
        self.server.add(MESSAGE, mailbox="Sent")
        for command in ("NOOP", "FETCH 1 FLAGS", "STORE 1 FLAGS ()", "SEARCH SEEN", "CHECK",
                        "EXPUNGE", "COPY 1 INBOX"):  # fmt: skip
            now(self.server.account.create_mailbox(name="x"))
            self.server.add(MESSAGE, mailbox="x")
            client = self.server.login("SELECT x")
            now(self.server.account.delete_mailbox(name="x"))
            lines = client.command(command)
            self.assertEqual(lines[-1], b"* BYE The selected mailbox has been deleted", command)
            self.assertTrue(client.closed)
        self.assertFalse(self.ann.closed)

    def test_leaving_a_mailbox_that_another_has_deleted(self) -> None:
        # RFC 3501 section 6.4.2: CLOSE is OK, or BAD.
        for command in ("CLOSE", "UNSELECT", "SELECT INBOX", "EXAMINE INBOX"):
            now(self.server.account.create_mailbox(name="x"))
            self.server.add(MESSAGE, mailbox="x")
            client = self.server.login("SELECT x")
            now(self.server.account.delete_mailbox(name="x"))
            self.assertTrue(client.command(command)[-1].startswith(b"OK "), command)
            self.assertEqual(client.command("NOOP"), [b"OK NOOP completed"])

    def test_what_succeeded_is_said_before_bye(self) -> None:
        now(self.server.account.create_mailbox(name="x"))
        client = self.server.login("SELECT x")
        now(self.server.account.delete_mailbox(name="x"))
        data = client.send(b"a APPEND INBOX {3+}\r\nabc\r\n")
        self.assertIn(b"a OK [APPENDUID ", data)
        self.assertTrue(data.endswith(b"* BYE The selected mailbox has been deleted\r\n"))


class PlainSharingTests(SharingTests):
    """The same for a backend that does not tell of changes."""

    plain = True


class RecentTests(SynchronousTestCase):
    def test_one_session_gets_a_recent_message(self) -> None:
        server = Server()
        ann, bob = server.login("SELECT INBOX"), server.login("SELECT INBOX")
        server.add(MESSAGE)
        self.assertIn(b"* 1 RECENT", ann.command("NOOP"))
        self.assertIn(b"* 0 RECENT", bob.command("NOOP"))
        self.assertEqual(ann.command("FETCH 1 FLAGS")[0], b"* 1 FETCH (FLAGS (\\Recent))")
        self.assertEqual(bob.command("FETCH 1 FLAGS")[0], b"* 1 FETCH (FLAGS ())")
        server.add(MESSAGE)
        self.assertIn(b"* 1 RECENT", bob.command("NOOP"))
        self.assertIn(b"* 1 RECENT", ann.command("NOOP"))
        self.assertEqual(bob.command("SEARCH RECENT")[0], b"* SEARCH 2")
        self.assertEqual(ann.command("SEARCH RECENT")[0], b"* SEARCH 1")

    def test_examine_sees_but_does_not_take(self) -> None:
        server = Server()
        client = server.login("EXAMINE INBOX")
        server.add(MESSAGE)
        self.assertIn(b"* 1 RECENT", client.command("NOOP"))
        self.assertIn(b"* 1 RECENT", server.login().command("SELECT INBOX"))


class LateWatchTests(SynchronousTestCase):
    """A backend answers first and tells of the change afterwards."""

    def setUp(self) -> None:
        self.server = Server()
        self.server.add(MESSAGE, MESSAGE, MESSAGE)
        self.mailbox = LateWatch(self.server.mailbox())
        self.server.realm.account = PlainAccount(self.server.account, lambda _: self.mailbox)
        self.client = self.server.login("EXAMINE INBOX", "SELECT INBOX")

    def check(self, command: str | bytes, *lines: bytes) -> None:
        told = self.client.command(command)
        self.assertEqual(tuple(line for line in told[:-1] if b"RECENT" not in line), lines)
        self.assertTrue(told[-1].startswith(b"OK "), told)
        self.mailbox.tell()
        self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])

    def test_own_changes_are_told_at_once_and_once(self) -> None:
        self.check("STORE 1 +FLAGS.SILENT (\\Deleted)")
        self.check("EXPUNGE", b"* 1 EXPUNGE")
        self.check(b"APPEND INBOX {3+}\r\nabc", b"* 3 EXISTS")
        self.check("STORE 3 FLAGS.SILENT (x)", self.client_flags())
        self.check("COPY 1 INBOX", b"* 4 EXISTS")
        validity = now(self.server.mailbox("Sent").get_info()).uid_validity
        self.check("MOVE 2 Sent", b"* OK [COPYUID %d 3 1] Moved" % validity, b"* 2 EXPUNGE")

    def client_flags(self) -> bytes:
        return (
            b"* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft"
            b" $Forwarded $MDNSent $Junk $NotJunk $Phishing $Important Junk NonJunk x)"
        )


@implementer(IVersionedMailbox)
class VersionedMailbox(LateWatch):
    """A mailbox that others change, who are answered before this process hears of it."""

    def __init__(self, mailbox: Any) -> None:
        super().__init__(mailbox)
        directlyProvides(self, IVersionedMailbox, directlyProvidedBy(self))

    def get_version(self) -> int:
        return int(now(self._mailbox.get_info()).highest_modseq)


class VersionTests(SynchronousTestCase):
    """What somebody was answered elsewhere is there for whatever command comes after it."""

    def setUp(self) -> None:
        self.server = Server()
        self.server.add(MESSAGE, MESSAGE)
        self.mailbox = VersionedMailbox(self.server.mailbox())
        self.server.realm.account = PlainAccount(self.server.account, lambda _: self.mailbox)
        self.client = self.server.login("SELECT INBOX")

    def test_each_command_sees_it(self) -> None:
        self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])
        self.server.add(MESSAGE)
        self.assertIn(b"* 3 EXISTS", self.client.command("NOOP"))
        now(self.server.mailbox().expunge(uids=[1]))
        self.assertIn(b"* 1 EXPUNGE", self.client.command("CHECK"))
        self.server.add(MESSAGE)
        self.assertIn(b"* 3 EXISTS", self.client.command("FETCH 1 UID"))
        now(self.server.mailbox().expunge(uids=[2]))
        # Not while numbers are in use (RFC 3501 section 7.4.1).
        found = self.client.command("SEARCH ALL")
        self.assertNotIn(b"* 1 EXPUNGE", found)
        self.assertIn(b"* 1 EXPUNGE", self.client.command("NOOP"))

    def test_it_is_told_once(self) -> None:
        self.server.add(MESSAGE)
        self.assertIn(b"* 3 EXISTS", self.client.command("NOOP"))
        self.mailbox.tell()
        self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])

    def test_recent_messages_are_claimed_as_far_as_the_client_is_told(self) -> None:
        changes = self.mailbox._mailbox.get_changes

        async def look(since: int) -> Any:
            found = await changes(since=since)
            # One more comes before they are claimed.
            if found.added and len(found.added) == 1:
                self.server.add(MESSAGE, MESSAGE)
            return found

        self.mailbox._mailbox.get_changes = look
        self.server.add(MESSAGE)
        told = self.client.command("NOOP")
        told += self.client.command("NOOP")
        self.assertEqual(
            [line for line in told if b"RECENT" in line], [b"* 3 RECENT", b"* 5 RECENT"]
        )


class MemoryTests(SynchronousTestCase):
    def test_sessions_in_step_share_one_sequence(self) -> None:
        server = Server()
        server.add(*[MESSAGE] * 1000)
        clients = [server.login("SELECT INBOX") for _ in range(3)]
        server.add(MESSAGE)
        now(server.mailbox().expunge(uids=[5]))
        for client in clients:
            client.command("NOOP")
        views = set()
        for client in clients:
            assert client.protocol.selection is not None
            views.add(id(client.protocol.selection.state.uids))
        self.assertEqual(views, {id(now(server.mailbox().list_uids()))})


class IdleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.server.add(MESSAGE, MESSAGE)
        self.client = self.server.login("SELECT INBOX")

    def idle(self, client: Client | None = None) -> Client:
        client = client or self.client
        self.assertEqual(client.send(b"i IDLE\r\n"), b"+ idling\r\n")
        return client

    def told(self) -> bytes:
        self.server.clock.advance(0)
        return self.client.take()

    def test_changes_are_told_at_once(self) -> None:
        self.idle()
        self.server.add(MESSAGE)
        self.assertEqual(self.told(), b"* 3 EXISTS\r\n* 3 RECENT\r\n")
        other = self.server.login("SELECT INBOX", "STORE 1 +FLAGS (\\Deleted)")
        self.assertEqual(self.told(), b"* 1 FETCH (FLAGS (\\Recent \\Deleted))\r\n")
        other.command("EXPUNGE")
        self.assertEqual(self.told(), b"* 1 EXPUNGE\r\n* 2 RECENT\r\n")
        self.assertEqual(self.client.send(b"DONE\r\n"), b"i OK IDLE completed\r\n")
        self.assertEqual(self.client.command("FETCH 1 UID")[0], b"* 1 FETCH (UID 2)")

    def test_many_changes_make_one_update(self) -> None:
        self.idle()
        for _ in range(10):
            self.server.add(MESSAGE)
        self.assertEqual(self.told(), b"* 12 EXISTS\r\n* 12 RECENT\r\n")

    def test_what_happened_before_is_told_first(self) -> None:
        self.server.add(MESSAGE)
        self.assertEqual(
            self.client.send(b"i IDLE\r\n"), b"+ idling\r\n* 3 EXISTS\r\n* 3 RECENT\r\n"
        )

    def test_done_in_any_case_and_pipelined(self) -> None:
        self.assertEqual(
            self.client.send(b"i IDLE\r\ndone\r\nj NOOP\r\n"),
            b"+ idling\r\ni OK IDLE completed\r\nj OK NOOP completed\r\n",
        )

    def test_anything_else_ends_idle_with_bad(self) -> None:
        for line in (b"", b"a NOOP", b"DONE ", b"*", b"x" * 20_000):
            self.idle()
            self.assertEqual(
                self.client.send(line + b"\r\n"), b"i BAD IDLE is ended by DONE\r\n", line[:9]
            )
            self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])

    def test_nothing_selected(self) -> None:
        client = self.idle(self.server.login())
        self.server.add(MESSAGE)
        self.server.clock.advance(0)
        self.assertEqual(client.send(b"DONE\r\n"), b"i OK IDLE completed\r\n")

    def test_nothing_is_told_after_done(self) -> None:
        self.idle()
        self.client.send(b"DONE\r\n")
        self.server.add(MESSAGE)
        self.assertEqual(self.told(), b"")

    def test_a_mailbox_that_does_not_tell_is_looked_at(self) -> None:
        server = Server(PlainAccount(self.server.account), poll_interval=10)
        client = self.idle(server.login("SELECT INBOX"))
        self.server.add(MESSAGE)
        server.clock.advance(9)
        self.assertEqual(client.take(), b"")
        server.clock.advance(1)
        self.assertEqual(client.take(), b"* 3 EXISTS\r\n* 1 RECENT\r\n")
        self.server.add(MESSAGE)
        server.clock.advance(10)
        self.assertEqual(client.take(), b"* 4 EXISTS\r\n* 2 RECENT\r\n")
        client.send(b"DONE\r\n")
        server.clock.advance(100)
        self.assertEqual(client.take(), b"")
        client.lose()
        self.assertEqual(server.clock.getDelayedCalls(), [])

    def test_client_vanishes(self) -> None:
        self.idle()
        self.server.add(MESSAGE)
        self.client.lose()
        self.server.clock.advance(0)
        self.server.add(MESSAGE)
        self.assertEqual(self.server.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.server.mailbox()._watchers), 0)

    def test_client_that_does_not_read_gets_nothing_more(self) -> None:
        self.idle()
        self.client.transport.limit = 0
        sent = b""
        for _ in range(50):
            self.server.login("SELECT INBOX", "STORE 1:* +FLAGS (x)", "STORE 1:* -FLAGS (x)")
            sent += self.told()
        self.assertLess(len(sent), 200)
        self.client.transport.resume()
        self.assertIn(b"* 2 FETCH (FLAGS (", self.told())

    def test_mailbox_deleted(self) -> None:
        self.client.command("CREATE x")
        client = self.server.login("SELECT x")
        client.send(b"i IDLE\r\n")
        self.client.command("DELETE x")
        self.server.clock.advance(0)
        self.assertEqual(client.take(), b"* BYE The selected mailbox has been deleted\r\n")
        self.assertTrue(client.closed)

    def test_backend_slow_and_failing(self) -> None:
        slow = Slow(self.server.account)
        self.server.realm.account = slow
        client = self.idle(self.server.login("SELECT INBOX"))
        slow.slow = True
        self.server.add(MESSAGE)
        self.server.clock.advance(0)
        # DONE comes while the backend is asked.
        self.assertEqual(client.send(b"DONE\r\n"), b"")
        slow.release_all()
        self.server.clock.advance(0)
        data = client.take()
        self.assertTrue(data.startswith(b"* 3 EXISTS\r\n"))
        self.assertTrue(data.endswith(b"i OK IDLE completed\r\n"))
        self.idle(client)
        slow.fail = StoreUnavailable("The disk is full")
        self.server.add(MESSAGE)
        self.server.clock.advance(0)
        self.assertEqual(client.take(), b"* NO [UNAVAILABLE] The disk is full\r\n")
        slow.fail = None
        self.server.add(MESSAGE)
        self.server.clock.advance(0)
        self.assertIn(b"* 5 EXISTS\r\n", client.take())
