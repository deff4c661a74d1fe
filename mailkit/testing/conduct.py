"""Contract tests of how a mailbox answers: with what kinds of values, and without keeping others."""

from __future__ import annotations

import re
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.python.failure import Failure

from mailkit.errors import MailError
from mailkit.interfaces import IMailbox, IWatchableMailbox, IWritableMailbox
from mailkit.model import SYSTEM_FLAGS, AppendMessage, FlagOp
from mailkit.testing.base import sample_message, sample_messages, spooled
from mailkit.testing.reading import ReadingContract

# RFC 3501 section 9: flag-keyword is an atom.
_is_keyword = re.compile(r"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+").fullmatch
# RFC 3501 section 9: date-year has four digits. 1 January 1 and 31 December 9999.
_FIRST_SECOND, _LAST_SECOND = -62135596800, 253402300799

# What keeps the thread that calls it waiting, as PEP 578 names it.
_WAITS = frozenset(("socket.getaddrinfo", "socket.gethostbyname", "socket.connect"))


class _BlockingCalls:
    """What has kept the reactor's thread waiting."""

    def __init__(self) -> None:
        #: The thread that is watched; None for none.
        self.thread: int | None = None
        self.found: list[str] = []
        self._installed = False

    @contextmanager
    def watched(self) -> Iterator[list[str]]:
        """Collect the calls of this thread, each with the lines that led to it."""
        if not self._installed:
            # It stays for as long as the process lives: nothing takes away an audit hook.
            sys.addaudithook(self._hear)
            self._installed = True
        self.found = []
        self.thread = threading.get_ident()
        sleep = time.sleep

        def heard_sleep(seconds: Any) -> None:
            self._note("time.sleep")
            sleep(seconds)

        # Only later versions of Python tell the hook of it.
        time.sleep = heard_sleep
        try:
            yield self.found
        finally:
            time.sleep = sleep
            self.thread = None

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        # Asked for whatever happens in the process from now on.
        if self.thread is None or event not in _WAITS:
            return
        if event != "socket.connect" or arguments[0].gettimeout() != 0:
            self._note(event)

    def _note(self, name: str) -> None:
        if threading.get_ident() == self.thread:
            lines = traceback.extract_stack(limit=8)[:-2]
            self.found.append(f"{name} was called:\n" + "".join(traceback.format_list(lines)))


_blocking_calls = _BlockingCalls()


class ConductContract(ReadingContract):
    """How a mailbox answers; part of ``MailboxContract``."""

    def check_sequence(self, what: str, found: Any) -> None:
        """Callers count it, slice it and read it more than once."""
        try:
            (len(found), found[:1], found[-1:])
        except TypeError:
            self.fail(f"{what}: a list or another sequence is wanted, not {type(found).__name__}")

    async def test_sequences(self) -> None:
        mailbox = await self.open_sample(3)
        uids = await mailbox.list_uids()
        self.check_sequence("list_uids", uids)
        self.check_sequence("get_messages", await mailbox.get_messages(uids=list(uids)))
        changes = await mailbox.get_changes(since=0)
        for name in ("added", "changed", "vanished"):
            self.check_sequence(f"get_changes: {name}", getattr(changes, name))

    async def test_kinds_of_values(self) -> None:
        mailbox = await self.open_sample(3)
        for uid in await mailbox.list_uids():
            self.assertIs(type(uid), int, "list_uids: UIDs are numbers")
        for message in await self.infos(mailbox):
            for name in ("uid", "internal_date", "size", "modseq"):
                value = getattr(message, name)
                self.assertIs(type(value), int, f"get_messages: {name} is a whole number")
            self.assertTrue(
                _FIRST_SECOND <= message.internal_date <= _LAST_SECOND,
                f"get_messages: internal_date, in seconds since 1970, is {message.internal_date}",
            )
            self.assertIsInstance(message.flags, frozenset, "get_messages: flags")
            for flag in message.flags:
                # \Recent is the server's to tell.
                if flag not in SYSTEM_FLAGS and not _is_keyword(flag):
                    self.fail(f"get_messages: no flag has the name {flag!r}")
        info = await mailbox.get_info()
        for name in ("uid_validity", "uid_next", "highest_modseq", "messages", "unseen", "size"):
            self.assertIs(type(getattr(info, name)), int, f"get_info: {name} is a whole number")

    async def test_nothing_keeps_others_waiting(self) -> None:
        """What sleeps, or waits for the network, belongs into a thread: ``deferToThread``."""
        mailbox = await self.open_sample(2)
        with _blocking_calls.watched() as found:
            uids = list(await mailbox.list_uids())
            await mailbox.get_info()
            await mailbox.get_messages(uids=uids)
            (await mailbox.open_message(uid=uids[0])).close()
            await mailbox.get_changes(since=0)
            if IWritableMailbox.providedBy(mailbox):
                new = (await mailbox.append(messages=sample_messages(1))).uids
                await mailbox.store_flags(uids=new, op=FlagOp.ADD, flags=frozenset({"\\Seen"}))
                await mailbox.expunge(uids=new)
        self.assertEqual(found, [], "the reactor's thread was kept waiting: " + "\n".join(found))

    async def _leave(self, what: str, call: Callable[[], Awaitable[Any]]) -> None:
        """Begin something and lose interest, as a client that hangs up makes a server do."""

        async def run() -> Any:
            return await call()

        ended: list[Any] = []
        task = Deferred.fromCoroutine(run())
        task.addBoth(ended.append)
        task.cancel()
        await self.wait_until(lambda: bool(ended), f"{what} does not end when it is cancelled")
        if isinstance(ended[0], Failure):
            if not ended[0].check(CancelledError, MailError):
                self.fail(f"{what} was cancelled, and raised {ended[0].getTraceback()}")
        elif hasattr(ended[0], "close"):
            ended[0].close()

    async def test_whoever_asks_may_leave(self) -> None:
        """A command is cancelled when its client has gone; others go on."""
        mailbox = await self.open_sample(3)
        before, uids = await self.infos(mailbox), list(await mailbox.list_uids())
        await self._leave("list_uids", mailbox.list_uids)
        await self._leave("get_info", mailbox.get_info)
        await self._leave("get_messages", lambda: mailbox.get_messages(uids=uids))
        await self._leave("open_message", lambda: mailbox.open_message(uid=uids[0]))
        await self._leave("get_changes", lambda: mailbox.get_changes(since=0))
        self.assertEqual(await self.infos(mailbox), before)

    async def _open_writable(self, count: int) -> IWritableMailbox:
        return cast(IWritableMailbox, self.need(IWritableMailbox, await self.open_sample(count)))

    async def test_whoever_appends_may_leave(self) -> None:
        """The message is there, whole, or it is not; nothing is half there."""
        mailbox = await self._open_writable(1)
        content = spooled(sample_message(2))
        self.addCleanup(content.close)
        new = AppendMessage(content)
        await self._leave("append", lambda: mailbox.append(messages=[new]))
        (last,) = (await mailbox.append(messages=[new])).uids
        uids = list(await mailbox.list_uids())
        self.assertEqual(uids, sorted(set(uids)))
        self.assertEqual(uids[-1], last)
        info, messages = await mailbox.get_info(), await self.infos(mailbox)
        self.assertEqual(info.messages, len(uids))
        self.assertEqual(info.size, sum(message.size for message in messages))
        for message in messages[1:]:
            with await mailbox.open_message(uid=message.uid) as file:
                self.assertEqual(file.read(), sample_message(2))

    async def test_many_appends_at_once(self) -> None:
        mailbox = await self._open_writable(0)
        results: Any = await gatherResults(
            [self._append(mailbox, number) for number in range(1, 11)], consumeErrors=True
        )
        given = [result.uids[0] for result in results]
        uids = list(await mailbox.list_uids())
        self.assertEqual(sorted(given), uids, "each message has a UID of its own")
        for number, uid in enumerate(given, 1):
            with await mailbox.open_message(uid=uid) as file:
                self.assertEqual(file.read(), sample_message(number))

    def _append(self, mailbox: IWritableMailbox, number: int) -> Deferred[Any]:
        async def append() -> Any:
            with closing(spooled(sample_message(number))) as content:
                return await mailbox.append(messages=[AppendMessage(content)])

        return Deferred.fromCoroutine(append())

    async def test_what_is_gone_is_told_once(self) -> None:
        mailbox = await self._open_writable(3)
        one, two, three = await mailbox.list_uids()
        await mailbox.expunge(uids=[one])
        since = (await mailbox.get_changes(since=0)).highest_modseq
        self.assertEqual(list((await mailbox.get_changes(since=since)).vanished), [])
        await mailbox.expunge(uids=[three])
        changes = await mailbox.get_changes(since=since)
        self.assertEqual(list(changes.vanished), [three])
        self.assertEqual(list(await mailbox.list_uids()), [two])

    async def test_watchers_find_the_change(self) -> None:
        """They are called after it, and on the reactor's thread, which is theirs."""
        mailbox = await self._open_writable(1)
        watchable = cast(IWatchableMailbox, self.need(IWatchableMailbox, mailbox))
        since = (await mailbox.get_info()).highest_modseq
        ours = threading.get_ident()
        threads: set[int] = set()
        found: list[int] = []

        def look() -> None:
            threads.add(threading.get_ident())
            if threads == {ours}:
                asked = Deferred.fromCoroutine(self._added(mailbox, since))
                asked.addCallback(found.extend)
                asked.addErrback(lambda failure: self.fail(failure.getTraceback()))

        end = watchable.watch(callback=look)
        self.addCleanup(lambda: end())
        (uid,) = (await mailbox.append(messages=sample_messages(1))).uids
        await self.wait_until(
            lambda: uid in found or bool(threads - {ours}),
            "the watchers were not called after append, when its message was there",
        )
        self.assertEqual(threads, {ours}, "the watchers were called on another thread")

    async def _added(self, mailbox: IMailbox, since: int) -> list[int]:
        return list((await mailbox.get_changes(since=since)).added)
