"""SEARCH and UID SEARCH (RFC 3501 sections 6.4.4, 6.4.8; RFC 4731, 5032, 5182, 9394)."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mailkit.errors import MailError, NoSuchMessage
from mailkit.imap.condstore import asks_modseq
from mailkit.imap.content import MessageContent
from mailkit.imap.grammar import Arguments, Command, SyntaxFault
from mailkit.imap.handlers.table import SELECTED, Capability, Verb, after_login
from mailkit.imap.results import Results, parse_results
from mailkit.imap.search import parse_search
from mailkit.imap.session import BATCH, SUMMARY_BATCH, Selection
from mailkit.interfaces import (
    ISearchableMailbox,
    ISummarizingMailbox,
    IThreadNamingMailbox,
)
from mailkit.matching import Matcher, Need, asks_thread
from mailkit.model import MessageInfo
from mailkit.query import All, Query

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: Numbers written at a time.
NUMBERS = 5000


async def search(connection: IMAPProtocol, command: Command) -> None:
    """Both commands."""
    selection = connection.selection
    assert selection is not None
    arguments = command.arguments
    arguments.space()
    results = read_results(connection, arguments, b"ESEARCH")
    if b"UTF8=ACCEPT" in connection.enabled and arguments.accept_word(b"CHARSET"):
        # RFC 6855 section 3: all strings are UTF-8.
        raise SyntaxFault("With UTF8=ACCEPT, SEARCH takes no CHARSET")
    if results is None and connection.rev2:
        # RFC 9051 section 6.4.4: IMAP4rev2 has ESEARCH responses alone.
        results = Results(frozenset((b"ALL",)))
    try:
        now = connection.clock.seconds()
        query = parse_search(arguments, selection.state, now, connection.offers)
        arguments.end()
        uids = await find(connection, selection, query)
    except MailError:
        if results is not None and results.save:
            # RFC 5182 section 2.1: a search that gets NO saves nothing.
            selection.state.saved = ()
        raise
    state = selection.state
    by_uid = command.verb.startswith(b"UID ")
    # What has come since is not in view yet, and will be announced below.
    numbers = state.in_view(uids) if by_uid else state.numbers_of(uids)
    asks = asks_modseq(query)
    shown: Sequence[int] = ()
    if asks or (results is not None and results.save):
        shown = numbers if by_uid else state.in_view(uids)
    modseq = None
    if asks:
        connection.enable_condstore()
        of_those = shown if results is None else results.shown(shown)
        modseq = await highest_modseq(connection, selection, of_those)
    if results is None:
        await send_numbers(connection, b"SEARCH", numbers, modseq)
    else:
        if results.save:
            state.saved = array("I", results.saved(shown))
        if not results.silent:
            for piece in results.render(command.tag, numbers, by_uid, modseq):
                await connection.send(piece)
    await connection.complete("SEARCH completed")


def read_results(
    connection: IMAPProtocol, arguments: Arguments, extension: bytes
) -> Results | None:
    """What stands behind RETURN; None without it.

    :param extension: the capability that brings it.
    """
    extensions = connection.extensions
    if extension not in extensions or not arguments.accept_word(b"RETURN"):
        return None
    arguments.space()
    results = parse_results(arguments, extensions)
    arguments.space()
    return results


async def highest_modseq(
    connection: IMAPProtocol, selection: Selection, uids: Sequence[int]
) -> int | None:
    """Of some messages (RFC 7162 section 3.1.6); None where there is none."""
    highest = None
    for start in range(0, len(uids), BATCH):
        await connection.drain()
        infos = await selection.mailbox.get_messages(uids=uids[start : start + BATCH])
        highest = max((info.modseq for info in infos), default=highest or 0)
    return highest


async def send_numbers(
    connection: IMAPProtocol, name: bytes, numbers: Sequence[int], modseq: int | None
) -> None:
    """The response of a search without RETURN."""
    connection.write(b"* " + name)
    for start in range(0, len(numbers), NUMBERS):
        some = numbers[start : start + NUMBERS]
        await connection.send(b"".join([b" %d" % number for number in some]))
    connection.write(b"\r\n" if modseq is None else b" (MODSEQ %d)\r\n" % modseq)


async def find(connection: IMAPProtocol, selection: Selection, query: Query) -> Sequence[int]:
    """UIDs of the messages that match, ascending; perhaps some that are not in view."""
    if isinstance(query, All):
        return selection.state.uids
    mailbox = selection.mailbox
    if ISearchableMailbox.providedBy(mailbox):
        return await mailbox.search(query=query)
    return await _Scan(connection, selection, query).run()


class _Scan:
    """Looks at the messages one by one, for backends that do not search."""

    def __init__(self, connection: IMAPProtocol, selection: Selection, query: Query) -> None:
        self.connection = connection
        self.selection = selection
        self.matcher = Matcher(query)
        self.names_threads = asks_thread(query) and IThreadNamingMailbox.providedBy(
            selection.mailbox
        )

    async def run(self) -> list[int]:
        mailbox: Any = self.selection.mailbox
        matcher = self.matcher
        view = self.selection.state.uids
        found: list[int] = []
        for start in range(0, len(view), BATCH):
            await self.connection.drain()
            if self.names_threads:
                await mailbox.name_threads(uids=view[start : start + BATCH])
            infos = await mailbox.get_messages(uids=view[start : start + BATCH])
            undecided: list[MessageInfo] = []
            matching: list[int] = []
            for info in infos:
                answer = matcher.by_info(info)
                if answer is None:
                    undecided.append(info)
                elif answer:
                    matching.append(info.uid)
            if undecided:
                matching.extend(await self._by_summary(undecided))
                matching.sort()
            found.extend(matching)
        return found

    async def _by_summary(self, infos: list[MessageInfo]) -> list[int]:
        mailbox = self.selection.mailbox
        if not ISummarizingMailbox.providedBy(mailbox):
            return await self._by_message(infos)
        found: list[int] = []
        for start in range(0, len(infos), SUMMARY_BATCH):
            await self.connection.drain()
            some = infos[start : start + SUMMARY_BATCH]
            uids = [info.uid for info in some]
            summaries = await mailbox.get_summaries(uids=uids, structure=False)
            headers = {summary.uid: summary.header for summary in summaries}
            undecided = []
            for info in some:
                if info.uid not in headers:
                    continue
                answer = self.matcher.by_header(info, headers[info.uid], False)
                if answer is None:
                    undecided.append(info)
                elif answer:
                    found.append(info.uid)
            found.extend(await self._by_message(undecided))
        return found

    async def _by_message(self, infos: list[MessageInfo]) -> list[int]:
        return [info.uid for info in infos if await self._matches(info)]

    async def _matches(self, info: MessageInfo) -> bool:
        await self.connection.drain()
        try:
            file = await self.selection.mailbox.open_message(uid=info.uid)
        except NoSuchMessage:
            return False
        content = MessageContent(file)
        try:
            if self.matcher.needs < Need.MESSAGE:
                header = content.read(0, content.header().body_start)
                return bool(self.matcher.by_header(info, header, True))
            await content.load(self.connection.drain)
            return self.matcher.by_message(info, content.octets())
        finally:
            content.close()


VERBS: Mapping[bytes, Verb] = {
    b"SEARCH": Verb(SELECTED, search, expunges=False),
    b"UID SEARCH": Verb(SELECTED, search, by_uid=True),
}

CAPABILITIES: Sequence[Capability] = (
    Capability(b"ESEARCH", after_login),
    Capability(b"SEARCHRES", after_login, needs=b"ESEARCH"),
    Capability(b"WITHIN", after_login),
    Capability(b"PARTIAL", after_login, needs=b"ESEARCH"),
)
