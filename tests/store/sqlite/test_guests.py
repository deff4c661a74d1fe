"""Several processes with one store: contracts kept by a guest, notices, the owner's end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from array import array
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast
from unittest import mock

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from mailkit._typing import override
from mailkit.errors import (
    AccountExists,
    EntryTooLarge,
    NoSuchMailbox,
    NoSuchRecipient,
    OverQuota,
    Referral,
    RefusedElsewhere,
    RelayDenied,
    StoreUnavailable,
    TemporaryFailure,
)
from mailkit.model import (
    ConnectionInfo,
    Envelope,
    FlagOp,
    LocalResult,
    MessageInfo,
    Path,
    Recipient,
    StoreResult,
)
from mailkit.query import HeaderContains, SortCriterion, SortKey
from mailkit.queue.values import NewMessage, Order
from mailkit.spool import Spool
from mailkit.store.sqlite import SQLiteStore, StoreSettings, textcolumns
from mailkit.store.sqlite.codec import Codec, NotUnderstood
from mailkit.store.sqlite.frames import Link
from mailkit.store.sqlite.guest import Guest
from mailkit.store.sqlite.lock import DirectoryLock
from mailkit.store.sqlite.transaction import Content
from mailkit.store.sqlite.transfers import Expunge
from mailkit.store.sqlite.writer import Writer
from mailkit.testing import (
    DirectoryContract,
    QueueContract,
    SharingContract,
    StoreContract,
    fill_directory,
)

from .helpers import ANN, BOB, StoreTestCase, message

TO = Recipient(Path("eve", "example.net"))


class GuestTestCase(TestCase):
    """Makes stores that another one has open, as if that were another process."""

    async def make_guest(self, accounts: Sequence[str] = ()) -> SQLiteStore:
        directory = self.mktemp()
        owner = SQLiteStore(directory)
        owner.open()
        guest = SQLiteStore(directory)
        guest.open()
        self.assertIsInstance(guest.core.writer, Guest)
        self.addCleanup(owner.close)
        self.addCleanup(guest.close)
        for account in accounts:
            await guest.add_account(name=account)
        return guest


class GuestStoreContractTests(StoreContract, GuestTestCase):
    @override
    async def make_store(self, accounts: Sequence[str]) -> SQLiteStore:
        return await self.make_guest(accounts)


class GuestSharingContractTests(SharingContract, GuestTestCase):
    @override
    async def make_store(self, accounts: Sequence[str]) -> SQLiteStore:
        return await self.make_guest(accounts)


class GuestQueueContractTests(QueueContract, GuestTestCase):
    @override
    async def make_queueing_store(self, accounts: Sequence[str]) -> SQLiteStore:
        return await self.make_guest(accounts)


class GuestDirectoryContractTests(DirectoryContract, GuestTestCase):
    @override
    async def make_directory(
        self, accounts: Mapping[str, str | None], aliases: Mapping[str, Sequence[str]]
    ) -> SQLiteStore:
        guest = await self.make_guest()
        await fill_directory(guest, accounts, aliases)
        return guest


class GuestTests(StoreTestCase):
    async def make_pair(self) -> tuple[SQLiteStore, SQLiteStore]:
        """The owner of a store, and a guest."""
        owner = await self.make_store(ANN)
        guest = self.open_store()
        self.assertIsInstance(guest.core.writer, Guest)
        # When it has an answer, the owner knows it.
        await guest.add_account(name=BOB)
        return owner, guest

    async def test_each_sees_at_once_what_the_other_has_done(self) -> None:
        owner, guest = await self.make_pair()
        await self.deliver(guest, message(1))
        await self.deliver(owner, message(2))
        for store in (owner, guest):
            self.assertEqual(await self.contents(store), [message(1), message(2)])

    async def test_what_one_turn_asks_for_goes_in_one_piece(self) -> None:
        owner, guest = await self.make_pair()
        writer = guest.core.writer
        assert isinstance(writer, Guest)
        sent: list[Link] = []

        def send(link: Link, frame: bytes) -> None:
            sent.append(link)
            send_frame(link, frame)

        send_frame = Link.send_frame
        with mock.patch.object(Link, "send_frame", send):
            await gatherResults(
                [Deferred.fromCoroutine(self.deliver(guest, message(n))) for n in range(10)]
            )
        self.assertEqual(sum(writer.is_linked(cast(Any, link)) for link in sent), 1)
        self.assertEqual(await self.contents(owner), [message(n) for n in range(10)])

    async def test_texts_and_values_are_kept_by_the_owner(self) -> None:
        owner, guest = await self.make_pair()
        for subject in (b"=?utf-8?q?=C3=A9?=", b"a", b"b"):
            await self.deliver(owner, b"From: x\r\nSubject: %b\r\n\r\n" % subject)
        inbox = await self.mailbox(guest)
        found = await inbox.search(query=HeaderContains("Subject", "É"))
        self.assertEqual(found, [1])
        # The search of a larger mailbox.
        self.patch(textcolumns, "MAX_MESSAGES", 0)
        self.assertEqual(await inbox.search(query=HeaderContains("Subject", "É")), [1])
        criteria = [SortCriterion(SortKey.SUBJECT, True)]
        self.assertEqual(
            list(await inbox.sort_messages(uids=[1, 2, 3], criteria=criteria)), [1, 3, 2]
        )
        for table in ("field_text", "thread_value"):
            (rows,) = owner.connection().execute(f"SELECT count(*) FROM {table}").fetchone()
            self.assertEqual(rows, 3)

    async def test_a_large_body_is_renamed_and_not_copied(self) -> None:
        owner, guest = await self.make_pair()
        large = message(1, 5_000_000)
        spool = guest.new_spool()
        await self.deliver(guest, large, spool=spool)
        self.assertEqual(os.listdir(guest.core.spool_directory), [])
        self.assertTrue(await self.contents(owner) == [large])
        self.assertEqual(len(self.log_files()), 1)
        # Of its own segment: the reserved octets come first.
        path = os.path.join(self.directory, "log", self.log_files()[0])
        self.assertGreater(os.path.getsize(path), len(large) + 16_000)

    async def test_more_goes_by_a_file_than_where_the_owner_receives(self) -> None:
        owner, guest = await self.make_pair()
        content = message(1, 400_000)
        for store, in_file in ((owner, False), (guest, True)):
            spool = store.new_spool()
            spool.write(content)
            self.assertEqual(spool.path is not None, in_file)
            await self.deliver(store, b"", spool=spool)
        self.assertTrue(await self.contents(owner) == [content] * 2)

    async def test_a_refusal_is_that_of_the_owner(self) -> None:
        _, guest = await self.make_pair()
        inbox = await self.mailbox(guest)
        with self.assertRaises(NoSuchMailbox):
            await inbox.copy_messages(uids=[1], destination="Nowhere")
        with self.assertRaises(AccountExists):
            await guest.add_account(name=ANN)

    async def test_watchers_are_told_in_each_process(self) -> None:
        owner, guest = await self.make_pair()
        for here, there in ((owner, guest), (guest, owner)):
            told: list[str] = []
            end = (await self.mailbox(here)).watch(partial(told.append, "mailbox"))
            account = await here.open_account(name=ANN)
            end_names = account.watch(partial(told.append, "names"))
            await self.deliver(there, message(1))
            await self.wait_until(partial(told.__contains__, "mailbox"))
            other = await there.open_account(name=ANN)
            await other.create_mailbox(name=f"New {id(here)}")
            await self.wait_until(partial(told.__contains__, "names"))
            end()
            end_names()

    async def test_a_version_tells_what_watchers_will_hear_of(self) -> None:
        owner, guest = await self.make_pair()
        told: list[str] = []
        with mock.patch.object(guest.core, "announce", told.append):
            here, there = await self.mailbox(guest), await self.mailbox(owner)
            before, owners = here.get_version(), there.get_version()
            self.assertEqual(here.get_version(), before)
            await self.deliver(owner, message(1))
            self.assertNotEqual(here.get_version(), before)
            # Nobody is answered before this one has announced it.
            self.assertEqual(there.get_version(), owners)

    async def test_recent_messages_are_one_session_s_in_all_processes(self) -> None:
        owner, guest = await self.make_pair()
        for first, (here, there) in enumerate(((owner, guest), (guest, owner)), 1):
            await self.deliver(owner, message(first))
            one, other = await self.mailbox(here), await self.mailbox(there)
            # Both have looked before either takes anything.
            works = [each.get_view(claim_recent=True) for each in (one, other)]
            done = [Deferred.fromCoroutine(work) for work in works]
            views = [await each for each in done]
            firsts = {view.info.first_recent_uid for view in views}
            self.assertEqual(firsts, {first, first + 1})
        await self.deliver(owner, message(3))
        self.assertEqual(await one.claim_recent(), 3)
        self.assertEqual(await other.claim_recent(), 4)

    async def test_what_was_recent_before_a_guest_came_is_not_so_again(self) -> None:
        owner = await self.make_store(ANN)
        await self.deliver(owner, message(1))
        self.assertEqual(await (await self.mailbox(owner)).claim_recent(), 1)
        guest = self.open_store()
        self.assertEqual(await (await self.mailbox(guest)).claim_recent(), 2)

    async def test_nothing_is_recent_while_nobody_can_say(self) -> None:
        _, guest = await self.make_pair()
        await self.deliver(guest, message(1))
        with mock.patch.object(guest.core.writer, "submit", side_effect=StoreUnavailable):
            self.assertEqual(await (await self.mailbox(guest)).claim_recent(), 2)

    async def test_the_queue_is_told_of_new_domains_in_each_process(self) -> None:
        owner, guest = await self.make_pair()
        told: list[str] = []
        for store in (owner, guest):
            self.addCleanup(store.queue.watch(told.append))
        for store in (owner, guest):
            told.clear()
            envelope = Envelope(
                ConnectionInfo("test"), "", Path("ann", "example.org"), recipients=[TO]
            )
            new = [NewMessage(envelope, 0, 2**40)]
            spool = Spool.from_bytes(message(1))
            (id,) = (await store.queue.enqueue(message=spool, new=new)).ids
            await self.wait_until(lambda: told == ["example.net"] * 2)
            told.clear()
            self.assertEqual(await store.queue.order(order=Order.RETRY, id=id, now=5), 1)
            await self.wait_until(lambda: told == ["example.net"] * 2)

    async def test_a_guest_looks_again_when_it_is_known(self) -> None:
        owner = await self.make_store()
        guest = self.open_store()
        told: list[str] = []
        (await self.mailbox(guest)).watch(partial(told.append, "mailbox"))
        # Perhaps before the owner has heard of it.
        await self.deliver(owner, message(1))
        await self.wait_until(lambda: bool(told))

    async def test_a_password_or_a_domain_that_was_changed_elsewhere_holds(self) -> None:
        owner, guest = await self.make_pair()
        for here, there in ((owner, guest), (guest, owner)):
            # As if the directory had not changed for long, so that answers are remembered.
            os.utime(os.path.join(self.directory, "changes"), (1, 1))
            here.core.recent._look(time.time())
            name = f"hash of {id(here)}"
            before = await here.find_login(login=ANN)
            self.assertIs(await here.find_login(login=ANN), before)
            await there.set_password_hash(account=ANN, password_hash=name)

            async def known(store: SQLiteStore = here) -> str | None:
                login = await store.find_login(login=ANN)
                assert login is not None
                return login.password_hash

            # Until it is told of the change; the test's own time ends it otherwise.
            while await known() != name:
                await self.turn(0.001)
            path = Path("eve", f"domain-{id(here)}.example")
            with self.assertRaises(RelayDenied):
                await here.resolve(path=path)
            await there.add_domain(domain=path.domain)
            with self.assertRaises(NoSuchRecipient):
                while True:
                    with contextlib.suppress(RelayDenied):
                        await here.resolve(path=path)
                    await self.turn(0.001)

    async def test_a_limit_of_files_that_was_set_elsewhere_holds(self) -> None:
        owner, guest = await self.make_pair()
        await guest.set_file_quota(account=ANN, max_octets=500, max_files=5)
        for store in (guest, owner):
            self.assertEqual(await store.get_file_quota(account=ANN), (500, 5))

    async def test_messages_go_to_all_others(self) -> None:
        owner, guest = await self.make_pair()
        third = self.open_store()
        stores = (owner, guest, third)
        told: list[tuple[int, object]] = []
        for number, store in enumerate(stores):
            store.listen("colours", lambda what, number=number: told.append((number, what)))
            store.listen("other", lambda what: told.append((-1, what)))
        # Guests that have said hello are there.
        await self.deliver(guest, message(1))
        await self.deliver(third, message(1))
        for number, store in enumerate(stores):
            told.clear()
            store.send_message("colours", {"red": number})
            others = {each for each in range(3) if each != number}
            await self.wait_until(lambda: len(told) == 2)
            self.assertEqual({each for each, _ in told}, others)
            self.assertEqual(told[0][1], {"red": number})
        self.assertRaises(ValueError, owner.send_message, "colours", "x" * 70_000)

    async def test_changes_of_metadata_are_told_in_each_process(self) -> None:
        owner, guest = await self.make_pair()
        for here, there in ((owner, guest), (guest, owner)):
            told: list[object] = []
            self.addCleanup((await here.open_account(name=ANN)).watch_metadata(told.append))
            await self.deliver(guest, message(1))
            other = await there.open_account(name=ANN)
            await other.set_metadata(mailbox="INBOX", entries={"/private/comment": b"x"})
            await self.wait_until(lambda told=told: bool(told))

    # The owner's end.

    async def test_a_guest_becomes_the_owner_and_nothing_is_refused(self) -> None:
        owner, guest = await self.make_pair()
        third = self.open_store()
        deliveries = []
        closing: Deferred[None] | None = None
        for number in range(60):
            store = (guest, third)[number % 2]
            deliveries.append(Deferred.fromCoroutine(self.deliver(store, message(number))))
            await self.turn(0.001)
            if number == 20:
                closing = Deferred.fromCoroutine(self.close_store(owner))
        assert closing is not None
        await closing
        uids = sorted([uid for delivery in deliveries for uid in await delivery])
        self.assertEqual(uids, list(range(1, 61)))
        kinds = {type(store.core.writer) for store in (guest, third)}
        self.assertEqual(kinds, {Writer, Guest})
        self.assertEqual(len(await self.contents(third)), 60)
        again = self.open_store()
        self.assertIsInstance(again.core.writer, Guest)
        await self.deliver(again, message(61))
        for store in (guest, third, again):
            self.assertEqual(len(await self.contents(store)), 61)

    async def test_what_keeps_a_guest_from_becoming_the_owner_is_told_once(self) -> None:
        owner, guest = await self.make_pair()
        other = self.open_store()
        told: list[Any] = []

        def observe(event: Any) -> None:
            if "taken over" in event.get("log_format", ""):
                told.append(event["error"])

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        error = mock.Mock(side_effect=OSError(5, "no disk"))
        with mock.patch("mailkit.store.sqlite.owner.recover", error):
            await self.close_store(owner)
            delivery = Deferred.fromCoroutine(self.deliver(guest, message(1)))
            await self.wait_until(lambda: error.call_count > 5)
        self.assertEqual(await delivery, [1])
        await self.deliver(other, message(2))
        # By each of the two.
        self.assertLessEqual(len(told), 2)
        self.assertIn("no disk", str(told[0]))

    async def test_watchers_look_again_after_another_owner_has_come(self) -> None:
        owner, guest = await self.make_pair()
        told: list[str] = []
        (await self.mailbox(guest)).watch(partial(told.append, "mailbox"))
        await self.close_store(owner)
        await self.wait_until(lambda: bool(told))

    async def test_what_was_asked_of_an_owner_that_broke_off_is_refused(self) -> None:
        owner, guest = await self.make_pair()
        delivery = Deferred.fromCoroutine(self.deliver(guest, message(1)))
        link: Any = guest.core.writer
        link._link.transport.abortConnection()
        await self.assertFailure(delivery, StoreUnavailable)
        # It is there still.
        await self.deliver(guest, message(2))
        self.assertIn(message(2), await self.contents(owner))

    async def test_what_was_asked_of_an_owner_that_never_heard_of_it_is_done(self) -> None:
        owner, guest = await self.make_pair()
        # It lets nobody in any more, and is about to end.
        owner.core._owner._door._port.stopReading()
        link: Any = guest.core.writer
        link._link.transport.abortConnection()
        await self.wait_until(lambda: link._link is not None and not link._link.welcome)
        delivery = Deferred.fromCoroutine(self.deliver(guest, message(1)))
        await self.close_store(owner)
        self.assertEqual(await delivery, [1])
        self.assertEqual(await self.contents(guest), [message(1)])

    async def test_a_closed_guest_says_so(self) -> None:
        _, guest = await self.make_pair()
        inbox = await self.mailbox(guest)
        delivery = Deferred.fromCoroutine(self.deliver(guest, message(1)))
        await self.close_store(guest)
        self.assertEqual(await delivery, [1])
        with self.assertRaises(StoreUnavailable):
            await inbox.expunge(uids=[1])
        self.assertEqual(os.listdir(os.path.join(self.directory, "tmp")).__len__(), 1)

    # Files.

    async def test_messages_stay_readable_while_the_owner_compacts(self) -> None:
        settings = StoreSettings(
            maintenance_interval=3600.0, ahead_delay=3600.0, segment_size=64 * 1024
        )
        owner = await self.make_store(settings=settings)
        guest = self.open_store(settings)
        for number in range(60):
            await self.deliver(owner, message(number, 4000))
        inbox = await self.mailbox(guest)
        before = {uid: await self.read(inbox, uid) for uid in range(1, 61)}
        with await inbox.open_message(uid=60) as file:
            await inbox.expunge(uids=[uid for uid in range(1, 61) if uid % 3])
            # Asked for by the guest.
            await guest.compact()
            self.assertTrue(file.read() == before[60])
        for uid in range(3, 61, 3):
            self.assertTrue(await self.read(inbox, uid) == before[uid])
        await inbox.expunge(uids=range(1, 61))
        await guest.compact()
        segments = self.log_files()
        # Another owner may give the numbers of segments again that are gone.
        await self.close_store(owner)
        await self.wait_until(lambda: isinstance(guest.core.writer, Writer))
        owner, guest = guest, self.open_store(settings)
        for number in range(100, 130):
            await self.deliver(guest, message(number, 4000))
        self.assertEqual(
            await self.contents(guest), [message(number, 4000) for number in range(100, 130)]
        )
        self.assertNotEqual(self.log_files(), segments)

    async def test_what_a_dead_process_was_receiving_is_removed(self) -> None:
        await self.make_store()
        code = (
            "import os, sys; from mailkit.store.sqlite import SQLiteStore\n"
            "store = SQLiteStore(sys.argv[1]); store.open(); spool = store.new_spool()\n"
            "spool.write(b'x' * 1_000_000); print(spool.path, flush=True); os.kill(os.getpid(), 9)"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", code, self.directory],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
        )
        path, _ = child.communicate()
        self.assertIn(b"/tmp/process-", path)
        await self.wait_until(lambda: not os.path.exists(os.path.dirname(path.strip())))

    # Who gets in.

    async def test_a_process_of_another_version_is_refused_with_a_text(self) -> None:
        await self.make_store()
        with mock.patch("mailkit.store.sqlite.core.fingerprint", lambda: "another"):
            error = self.assertRaises(StoreUnavailable, self.open_store)
        self.assertIn(f"in use by process {os.getpid()}, which runs another version", str(error))
        # It may have changed between the look at the lock and the greeting.
        guest = self.open_store()
        link: Any = guest.core.writer
        with mock.patch("mailkit.store.sqlite.guest.fingerprint", lambda: "another"):
            link._link.transport.abortConnection()
            await self.turn(0.05)
            with self.assertRaises(StoreUnavailable) as caught:
                await self.deliver(guest, message(1))
        self.assertIn("of another version; stop it first", str(caught.exception))
        self.flushLoggedErrors()

    async def test_a_command_that_needs_the_store_for_itself_is_not_disturbed(self) -> None:
        await self.close_store(await self.make_store())
        lock = DirectoryLock(self.directory)
        with mock.patch("mailkit.store.sqlite.core._ENTER_PATIENCE", 0.05):
            error = self.assertRaises(StoreUnavailable, self.open_store)
        self.assertIn(f"in use by process {os.getpid()}", str(error))
        lock.release()
        self.open_store()

    async def test_an_operation_with_odd_values_harms_nobody(self) -> None:
        owner, guest = await self.make_pair()
        wrong: Any = "no numbers"
        with self.assertRaises(TemporaryFailure):
            await guest.core.submit(Expunge(1, wrong))
        self.flushLoggedErrors()
        self.assertEqual(await self.deliver(guest, message(1)), [1])
        await self.close_store(owner)

    async def test_a_long_path_is_no_obstacle(self) -> None:
        self.directory = os.path.join(self.directory, "d" * 100)
        _, guest = await self.make_pair()
        self.assertEqual(await self.deliver(guest, message(1)), [1])

    async def test_processes_that_start_together_share_the_store(self) -> None:
        code = (
            "import sys; from twisted.internet import reactor; from twisted.internet.defer import Deferred\n"
            "from mailkit.store.sqlite import SQLiteStore; from mailkit.spool import Spool\n"
            "from mailkit.model import LocalDelivery\n"
            "store = SQLiteStore(sys.argv[1])\n"
            "async def work():\n"
            "    store.open()\n"
            "    name = sys.argv[2] + '@example.org'\n"
            "    await store.add_account(name=name)\n"
            "    print((await store.deliver(message=Spool.from_bytes(b'x'),\n"
            "        deliveries=[LocalDelivery(name)]))[0].uid)\n"
            "    await store.close()\n"
            "def run():\n"
            "    Deferred.fromCoroutine(work()).addErrback(print).addBoth(lambda _: reactor.stop())\n"
            "reactor.callWhenRunning(run); reactor.run()"
        )
        children = [
            subprocess.Popen(
                [sys.executable, "-c", code, self.directory, f"user{number}"],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=subprocess.PIPE,
            )
            for number in range(3)
        ]
        self.assertEqual([child.communicate()[0] for child in children], [b"1\n"] * 3)
        store = self.open_store()
        self.assertEqual(len(await store.list_accounts()), 3)


class CodecTests(StoreTestCase):
    def test_values_come_back_as_they_were(self) -> None:
        codec = Codec("/store/tmp")
        infos = [
            MessageInfo(uid, frozenset(["\\Seen"] if uid % 2 else ["a", "b"]), 5, 6, 7)
            for uid in range(1, 10)
        ]
        for value in (
            *(None, True, -5, 1.5, "text \udcff \0 \N{SNOWMAN}", b"\0\xff", [], (), {}),
            *([1, "a", None], (1, (2, b"x")), {"a": b"1", 2: None}, {1, 2}, range(5, 2, -1)),
            array("I", [1, 2**32 - 1]),
            StoreResult(infos, [3]),
            LocalResult(error=OverQuota("full")),
            FlagOp.ADD,
            Content(None, 5, "/store/tmp/process-1/spool-x", b"prefix", 1, 32, b"\r\n"),
        ):
            encoded = codec.encode(value)
            found = codec.decode(*encoded)
            if isinstance(value, LocalResult):
                self.assertEqual((type(found.error), str(found.error)), (OverQuota, "full"))
                continue
            self.assertEqual((type(found), found), (type(value), value))

    def test_errors_keep_what_they_know(self) -> None:
        codec = Codec("/store/tmp")
        for error in (
            EntryTooLarge("x", 7),
            RefusedElsewhere("no", 550, "5.1.1"),
            Referral("there", ["imap://example.org/"]),
        ):
            found = codec.decode(*codec.encode(error))
            self.assertEqual((type(found), vars(found)), (type(error), vars(error)))
            self.assertEqual(str(found), str(error))

    def test_what_is_not_ours_is_not_sent(self) -> None:
        codec = Codec("/store/tmp")
        for value in (object(), print, partial(print, 1), SQLiteStore, [object()]):
            self.assertRaises(TypeError, codec.encode, value)

    def test_files_elsewhere_are_not_taken(self) -> None:
        codec = Codec("/store/tmp")
        for path in ("../x", "a/../b", "a/b/c", "x", "a/b.c"):
            text, blobs = codec.encode(Content(None, 1, f"/store/tmp/{path}"))
            self.assertRaises(NotUnderstood, codec.decode, text, blobs)

    def test_every_operation_of_a_guest_can_be_sent(self) -> None:
        from mailkit.store.sqlite.codec import _tables

        operations = _tables().operations
        for name in ("Deliver", "Append", "SetMetadata", "Enqueue", "Record", "ChangeDirectory"):
            self.assertIn(name, operations)
        self.assertNotIn("MoveBodies", operations)
