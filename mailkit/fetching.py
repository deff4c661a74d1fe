"""Fetching another server's maildrop into an account, each message once.

Messages are added in batches, and remembered in the same durable step: whatever breaks, and
whenever, the next run goes on where this one ended, and nothing comes twice. A message is deleted
from the server only when it is durable here, or was known to be from an earlier run.

RFC 1939 section 7 lets a server give the unique-id of a message that was deleted to another one.
What we have asked to be deleted, or have not found in a listing, is remembered as gone. When its
unique-id is listed later, that message is fetched and compared: there are servers that go on listing
what they have deleted, too.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mailkit.client.content import Content
from mailkit.client.errors import ClientError
from mailkit.errors import MailError
from mailkit.mime.dates import parse_date
from mailkit.mime.headers import parse_header
from mailkit.model import INBOX, AppendMessage, FetchedBefore, FetchedMessage
from mailkit.pop3.client import Session

#: Messages, and octets, that are added in one durable step.
BATCH_MESSAGES = 200
BATCH_OCTETS = 16 * 1024 * 1024
#: Characters of a unique-id, above which its hash is remembered; RFC 1939 section 7 says 70.
MAX_UNIQUE_ID = 255
#: Seconds for which a message that is not at the server any more stays remembered: a listing that
#: lacks some messages by mistake must not bring them all again.
FORGET_AFTER = 30 * 86400
#: Header fields that servers change when a message was read, which are no part of what it is.
CHANGING_FIELDS = frozenset({b"status", b"x-status", b"x-uidl", b"x-keywords"})
#: Octets of a message in which its header is looked for.
HEADER_OCTETS = 64 * 1024
#: What stands for the machine where the program runs, whichever of them somebody types.
_THIS_MACHINE = frozenset({"localhost", "localhost.localdomain", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class FetchSettings:
    """What is done with the messages of a maildrop."""

    #: Where they go.
    mailbox: str = INBOX
    #: Seconds after which a message that was fetched is deleted from the server; 0 for at once,
    #: None for never.
    delete_after: float | None = None
    batch_messages: int = BATCH_MESSAGES
    batch_octets: int = BATCH_OCTETS


@dataclass
class FetchReport:
    """What a run has done."""

    #: Messages in the maildrop.
    listed: int = 0
    #: Of these, known from earlier runs.
    known: int = 0
    fetched: int = 0
    octets: int = 0
    #: Of those that came, messages that were here already: they had been remembered as gone.
    unchanged: int = 0
    #: Deleted from the server.
    deleted: int = 0
    #: Message numbers that could not be had, and why.
    failures: list[tuple[int, str]] = field(default_factory=list)
    #: Message numbers that the server does not delete, and why.
    refusals: list[tuple[int, str]] = field(default_factory=list)
    #: The end of the session; empty where the server said nothing against it.
    trouble: str = ""


class _Waiting(NamedTuple):
    number: int
    unique_id: str
    content: Content


class MaildropFetch:
    """One run.

    :param session: logged in; it is ended by :meth:`run`.
    :param account: an account with :class:`~mailkit.interfaces.IFetchMemory`.
    :param source: names the maildrop, see :func:`source_name`.
    :param progress: is told after each batch.
    :param now: gives seconds since the epoch.
    """

    def __init__(
        self,
        session: Session,
        account: Any,
        source: str,
        settings: FetchSettings,
        progress: Callable[[FetchReport], None] = lambda report: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._session = session
        self._account = account
        self._source = source
        self._settings = settings
        self._progress = progress
        self._now = now
        self._batch: list[_Waiting] = []
        self._octets = 0
        # Unique-ids of what is remembered as gone, by the ones that the server had for them.
        self._gone: dict[str, list[str]] = {}
        # Message numbers that will be deleted.
        self._deleted: list[int] = []
        self.report = FetchReport()

    async def run(self) -> FetchReport:
        """Fetch what is new, delete what is old, end the session.

        :raises ClientError: the connection broke, or the server cannot be used for this.
        :raises MailError: the store does not take it. What was fetched before is kept, as always.
        """
        try:
            await self._run()
        except ClientError:
            # What has come is ours.
            await self._keep_batch()
            raise
        finally:
            self._session.abort()
            for waiting in self._batch:
                waiting.content.close()
        return self.report

    async def _run(self) -> None:
        report = self.report
        told = await self._session.uidl()
        listed = distinct(told)
        known = await self._account.list_fetched(source=self._source)
        for unique_id, before in known.items():
            if before.gone:
                self._gone.setdefault(group_of(unique_id), []).append(unique_id)
        report.listed = len(listed)
        here = {unique_id for unique_id, before in known.items() if not before.gone}
        new = [number for number, unique_id in listed.items() if unique_id not in here]
        report.known = len(listed) - len(new)
        async for message in self._session.fetch(new):
            if message.content is None:
                assert message.refusal is not None
                report.failures.append((message.number, message.refusal.text))
                continue
            waiting = _Waiting(message.number, listed[message.number], message.content)
            self._batch.append(waiting)
            self._octets += message.content.size
            full = len(self._batch) >= self._settings.batch_messages
            if full or self._octets >= self._settings.batch_octets:
                await self._keep_batch()
        await self._keep_batch()
        await self._delete_old(told, listed)
        await self._leave()
        await self._forget(set(listed.values()), known)

    async def _keep_batch(self) -> None:
        batch, self._batch, self._octets = self._batch, [], 0
        if not batch:
            return
        try:
            try:
                await self._keep(batch)
            except MailError:
                if len(batch) == 1:
                    raise
                # As many as there is room for.
                for waiting in batch:
                    await self._keep([waiting])
        finally:
            for waiting in batch:
                waiting.content.close()
        self._progress(self.report)

    async def _keep(self, batch: Sequence[_Waiting]) -> None:
        now = self._now()
        messages = [
            FetchedMessage(
                waiting.unique_id,
                AppendMessage(
                    waiting.content.spool, internal_date=arrival_date(waiting.content, now)
                ),
                digest_of(waiting.content),
                self._gone.get(group_of(waiting.unique_id), ()),
            )
            for waiting in batch
        ]
        result = await self._account.append_fetched(
            mailbox=self._settings.mailbox, source=self._source, messages=messages
        )
        self.report.fetched += len(result.uids)
        self.report.unchanged += len(batch) - len(result.uids)
        self.report.octets += sum(waiting.content.size for waiting in batch)

    # At the server.

    async def _delete_old(self, told: Mapping[int, str], listed: Mapping[int, str]) -> None:
        """Have what is old enough marked as deleted; only the end of the session deletes it.

        :param told: unique-ids as the server has them.
        """
        after = self._settings.delete_after
        if after is None:
            return
        now = self._now()
        # What is gone is safe when it has come again: it may be another one.
        # That keeps its time if it is the same, so that the next run deletes what this one cannot.
        known = await self._account.list_fetched(source=self._source)
        safe = {unique_id: before.time for unique_id, before in known.items() if not before.gone}
        # Of messages with the same one, none goes before all are here, and old enough: the next run
        # could take what is left for what was fetched, and is older.
        awaited = {
            told[number]
            for number, unique_id in listed.items()
            if unique_id not in safe or safe[unique_id] > now - after
        }
        old = [number for number in listed if told[number] not in awaited]
        if not old:
            return
        refusals = await self._session.dele_each(old)
        self.report.refusals += [(number, error.text) for number, error in refusals.items()]
        self._deleted = [number for number in old if number not in refusals]
        # Before the end: whatever its answer is, or if none comes, they may be deleted.
        # Which of those with the same one was deleted, the next listing does not tell.
        touched = {told[number] for number in self._deleted}
        unique_ids = [listed[number] for number in listed if told[number] in touched]
        await self._account.mark_gone(source=self._source, unique_ids=unique_ids)

    async def _leave(self) -> None:
        farewell = await self._session.quit()
        if not self._deleted:
            return
        if farewell.removed:
            self.report.deleted = len(self._deleted)
        else:
            # They are remembered, and deleted by the next run.
            self.report.trouble = farewell.text or "the server did not delete the messages"

    async def _forget(self, listed: Collection[str], known: Mapping[str, FetchedBefore]) -> None:
        missing = {id: before for id, before in known.items() if id not in listed}
        since = self._now() - FORGET_AFTER
        # Not what only this listing lacks, however old.
        old = [id for id, before in missing.items() if before.gone and before.time <= since]
        if old:
            await self._account.forget_fetched(source=self._source, unique_ids=old)
        gone = [id for id, before in missing.items() if not before.gone]
        if gone:
            await self._account.mark_gone(source=self._source, unique_ids=gone)


def source_name(user: str, host: str, port: int) -> str:
    """What a maildrop is remembered by. The usual ports lead to the same one, as do this machine's names.

    Other names are taken as they are: of two, nobody can tell whether they stand for one server.
    """
    host = host.lower().rstrip(".")
    if host in _THIS_MACHINE:
        host = "localhost"
    return f"pop3:{user}@{host}" if port in (110, 995) else f"pop3:{user}@{host}:{port}"


def distinct(unique_ids: Mapping[int, str]) -> dict[int, str]:
    """Unique-ids that are each there once, and of bounded length, by message number.

    RFC 1939 section 7 lets servers give the same one to messages that are equal; there are servers
    that give it to others, too.
    """
    seen: Counter[str] = Counter()
    found: dict[int, str] = {}
    for number, unique_id in unique_ids.items():
        if len(unique_id) > MAX_UNIQUE_ID or " " in unique_id:
            unique_id = "sha256 " + hashlib.sha256(unique_id.encode("utf-8")).hexdigest()
        seen[unique_id] += 1
        found[number] = unique_id if seen[unique_id] == 1 else f"{unique_id} {seen[unique_id]}"
    return found


def group_of(unique_id: str) -> str:
    """What :func:`distinct` has made one from: the same for all that the server gave the same one."""
    group, _, number = unique_id.rpartition(" ")
    # A hash is no number.
    return group if number.isdecimal() and len(number) < 64 and group else unique_id


def digest_of(content: Content) -> str:
    """What tells whether messages are the same, but for what servers change in their headers."""
    digest = hashlib.sha256()
    with content.open() as reader:
        head = reader.read(HEADER_OCTETS)
        end = head.find(b"\r\n\r\n")
        if end >= 0:
            changing = False
            for line in head[:end].split(b"\r\n"):
                # RFC 5322 section 2.2.3: a folded line belongs to the field before it.
                if not line.startswith((b" ", b"\t")):
                    changing = line.partition(b":")[0].strip().lower() in CHANGING_FIELDS
                if not changing:
                    digest.update(line + b"\r\n")
            head = head[end:]
        while head:
            digest.update(head)
            head = reader.read(HEADER_OCTETS)
    return digest.hexdigest()


def arrival_date(content: Content, now: float) -> int:
    """When a message arrived where it was: its newest Received field, its Date, or now."""
    with content.open() as reader:
        head = reader.read(HEADER_OCTETS)
    header = parse_header(head)
    received = header.get("received")
    for value in (received.rpartition(b";")[2] if received else None, header.get("date")):
        moment = parse_date(value) if value else None
        if moment is not None and 0 < moment.timestamp() <= now:
            return int(moment.timestamp())
    return int(now)
