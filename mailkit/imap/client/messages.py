"""Commands about the messages of the selected mailbox, for
:class:`~mailkit.imap.client.session.Session`."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field

from mailkit.annotations import Annotation
from mailkit.client.errors import ProtocolError
from mailkit.imap.client.commands import (
    Command,
    Part,
    Source,
    annotation_list,
    atom,
    fetch_items,
    flag_list,
    label_list,
    sort_keys,
)
from mailkit.imap.client.criteria import search_keys
from mailkit.imap.client.errors import NotOffered, Refused, WrongState
from mailkit.imap.client.fetching import Fetching, SectionStream
from mailkit.imap.client.limited import Rounds
from mailkit.imap.client.mailboxes import NewMessage, append_uids, code_uids
from mailkit.imap.client.metadata import MetadataCommands
from mailkit.imap.client.responses import Typed
from mailkit.imap.client.selected import Selected
from mailkit.imap.client.sets import RangeSet, SetLike, covered, expand, format_sets
from mailkit.imap.client.values import (
    ExtendedSearch,
    Message,
    SearchNumbers,
    Status,
    ThreadNode,
    Threads,
    Unknown,
)
from mailkit.model import DELETED, AppendResult, CopyResult, FlagOp
from mailkit.query import All, Query

#: Messages that one answer may name besides those that the mailbox has: some come, some go.
MAX_BESIDE = 100_000

_ALL = All()
_OPERATIONS = {FlagOp.ADD: "+FLAGS", FlagOp.REMOVE: "-FLAGS", FlagOp.REPLACE: "FLAGS"}


def _data_item(operation: FlagOp) -> str:
    """The data item of STORE."""
    if not isinstance(operation, FlagOp):
        raise TypeError(f"operation is a FlagOp: {operation!r}")
    return _OPERATIONS[operation]


@dataclass
class StoreAnswer:
    """What came of STORE."""

    #: What the server told of the messages, in its order; with ``silent`` perhaps nothing.
    messages: list[Message] = field(default_factory=list)
    #: UIDs, or numbers, left alone because they have changed since (RFC 7162 section 3.1.3).
    modified: list[int] = field(default_factory=list)


class MessageCommands(MetadataCommands):
    """Commands that need a selected mailbox. Sets are UIDs unless they are
    :class:`~mailkit.imap.client.sets.Numbers`."""

    def _selected(self) -> Selected:
        self._connection.check()
        selected = self._connection.selected
        if selected is None:
            raise WrongState("No mailbox is selected")
        return selected

    def _most(self) -> int:
        """How many messages an answer may name that comes now: of the mailbox that is open then."""
        selected = self._connection.selected
        return (selected.exists if selected is not None else 0) + MAX_BESIDE

    # Reading.

    def fetch(
        self,
        messages: SetLike,
        items: str | Iterable[str] = ("FLAGS",),
        *,
        changed_since: int | None = None,
        vanished: bool = False,
        page: tuple[int, int] | None = None,
    ) -> Fetching:
        """Ask for messages: ``await`` gives a list, ``async for`` one after the other::

            async for message in session.fetch("1:*", ["ENVELOPE", "BODY.PEEK[1]"]):
                print(message.uid, message.envelope.subject)

        :param items: as IMAP names them: ``FLAGS``, ``ENVELOPE``, ``BODY.PEEK[HEADER]``, ...
        :param changed_since: only messages of a higher modification sequence (CONDSTORE).
        :param vanished: tell too which are gone since then (QRESYNC, which must be enabled).
        :param page: only the first to the last of the messages that fit, ``(1, 100)``, or from the
            end ``(-1, -100)`` (PARTIAL, RFC 9394); of a set that goes in one command.
        :raises ValueError: a set or an item is none.
        """
        self._selected()
        sets, by_uid = format_sets(messages)
        names = fetch_items(items)
        modifiers = []
        if page is not None:
            self._need("PARTIAL")
            if len(sets) > 1 or not by_uid:
                raise ValueError("a page is of UIDs that go in one command")
            modifiers.append(f"PARTIAL {page[0]}:{page[1]}")
        if changed_since is not None:
            self._need("CONDSTORE", "QRESYNC")
            modifiers.append(f"CHANGEDSINCE {changed_since}{' VANISHED' if vanished else ''}")
        given = f"({' '.join(modifiers)})" if modifiers else ""
        return Fetching(self._connection, sets, by_uid, names, given)

    def stream(self, uid: int, section: str = "", *, peek: bool = True) -> AsyncIterator[bytes]:
        """The octets of a section of one message, as they come; nothing is kept.

        Nothing else is sent meanwhile.

        :raises NoSuchMessage: there is no such message or section.
        """
        self._selected()
        (item,) = fetch_items(f"BODY{'.PEEK' if peek else ''}[{section}]")
        return SectionStream(self._connection, uid, item).read()

    async def search(self, query: Query | str = _ALL, *, by_number: bool = False) -> list[int]:
        """UIDs of the messages for which it is true, ascending.

        :param query: of :mod:`mailkit.query`, or search keys as IMAP writes them.
        :param by_number: give message numbers instead.
        :raises ValueError: IMAP has no key for the query.
        :raises WrongState: another mailbox has been selected before all was known.
        :raises Refused: with ``MESSAGELIMIT``: there are numbers of some of the messages only.
        """
        return await self._search(self._selected(), query, by_number=by_number)

    async def _search(
        self, selected: Selected, query: Query | str, *, by_number: bool = False
    ) -> list[int]:
        numbers: set[int] = set()
        rounds = Rounds("SEARCH", self._connection)
        below, most = 0, 0
        while True:
            if self.has("ESEARCH"):
                answer, now = await self._extended_search(
                    self._search_command(selected, by_number), query, ["ALL"], rounds, below
                )
                most = max(most, now)
                _bound(
                    len(numbers) + sum(last - first + 1 for first, last in answer.all or ()), most
                )
                numbers.update(expand(answer.all or ()))
            else:
                command = self._search_command(selected, by_number)
                await self._plain_search(command, query, numbers, rounds, below)
                most = max(most, self._most())
                _bound(len(numbers), most)
            if by_number:
                # Until the next command is sent, they may mean other messages.
                rounds.refuse()
            lowest = rounds.lowest()
            if lowest <= 1:
                return sorted(numbers)
            if below and lowest >= below:
                raise ProtocolError("The server speaks of other messages", command="SEARCH")
            below = lowest

    async def _plain_search(
        self, command: Command, query: Query | str, numbers: set[int], rounds: Rounds, below: int
    ) -> None:
        """:param numbers: takes what is found."""

        def collect(response: Typed) -> bool:
            if isinstance(response, SearchNumbers) and not response.sorted:
                numbers.update(response.numbers)
                return True
            return rounds.note(response)

        command.collect = collect
        command.answers = frozenset(("SEARCH",))
        command.add(*search_keys(query, self._utf8))
        rounds.note(await self._connection.run(_only_below(command, below)))

    async def extended_search(
        self,
        query: Query | str = _ALL,
        results: Iterable[str] = ("ALL",),
        *,
        by_number: bool = False,
    ) -> ExtendedSearch:
        """Ask for some results only (RFC 4731).

        :param results: of ``MIN``, ``MAX``, ``COUNT``, ``ALL``, ``SAVE``; ``PARTIAL 1:100`` or, from
            the end, ``PARTIAL -1:-100`` (RFC 9394).
        :raises Refused: with ``MESSAGELIMIT``: the server has looked at some of the messages only.
        """
        rounds = Rounds("SEARCH", self._connection)
        command = self._search_command(self._selected(), by_number)
        answer, _ = await self._extended_search(command, query, results, rounds)
        rounds.refuse()
        return answer

    async def _extended_search(
        self,
        command: Command,
        query: Query | str,
        results: Iterable[str],
        rounds: Rounds,
        below: int = 0,
    ) -> tuple[ExtendedSearch, int]:
        """
        :param rounds: takes note of a limit.
        :param below: a UID that those of the results are less than; 0 for none.
        :returns: besides, how many messages the mailbox could have when the answer came.
        """
        self._need("ESEARCH")
        found: list[tuple[ExtendedSearch, int]] = []

        def collect(response: Typed) -> bool:
            if isinstance(response, ExtendedSearch) and response.tag in (None, command.tag):
                found.append((response, self._most()))
                return True
            return rounds.note(response)

        command.collect = collect
        names = [name.upper() for name in results]
        command.add("RETURN (", " ".join(names), ")").add(*search_keys(query, self._utf8))
        rounds.note(await self._connection.run(_only_below(command, below)))
        if not found:
            return ExtendedSearch(None, command.name.startswith("UID ")), 0
        return found[-1]

    async def sort(
        self, keys: str, query: Query | str = _ALL, *, by_number: bool = False
    ) -> list[int]:
        """UIDs of the messages for which it is true, in an order (RFC 5256).

        :param keys: what to sort by: ``DATE``, ``REVERSE ARRIVAL``, ``SUBJECT DATE``, ...
        :param query: as :meth:`search` has it.
        :param by_number: give message numbers instead.
        :raises NotOffered: the server does not sort.
        """
        self._need("SORT")
        found: list[int] = []

        def collect(response: Typed) -> bool:
            if isinstance(response, SearchNumbers) and response.sorted:
                found.extend(response.numbers)
                return True
            return False

        command = self._search_command(self._selected(), by_number, "SORT")
        command.collect = collect
        command.answers = frozenset(("SORT",))
        command.add(*sort_keys(keys)).add("UTF-8")
        await self._connection.run(command.add(*search_keys(query, True)))
        return found

    async def thread(
        self,
        algorithm: str = "REFERENCES",
        query: Query | str = _ALL,
        *,
        by_number: bool = False,
    ) -> list[Sequence[ThreadNode]]:
        """UIDs as threads (RFC 5256): ``[[2], [3, 6, [4, 23], [44, 7]]]`` has two; in the second 3 is
        answered by 6, and 6 by both 4 and 44.

        Branches may be as deep as a discussion is long: more than Python's recursion allows, so that
        ``==``, ``copy.deepcopy()`` and the like fail. ``repr()`` shows the first levels.

        :param algorithm: ``REFERENCES``, ``ORDEREDSUBJECT``, or what else the server has.
        :param query: as :meth:`search` has it.
        :param by_number: give message numbers instead.
        :raises NotOffered: the server does not know the algorithm.
        """
        self._need(f"THREAD={algorithm.upper()}")
        found: list[Sequence[ThreadNode]] = []
        strange: list[Unknown] = []

        def collect(response: Typed) -> bool:
            if isinstance(response, Threads):
                found.extend(response.threads)
                return True
            if isinstance(response, Unknown) and response.name == "THREAD":
                strange.append(response)
                return True
            return False

        command = self._search_command(self._selected(), by_number, "THREAD")
        command.collect = collect
        command.answers = frozenset(("THREAD",))
        command.add(atom(algorithm.upper())).add("UTF-8")
        await self._connection.run(command.add(*search_keys(query, True)))
        if strange:
            raise ProtocolError("The mail server's threads cannot be read", command="THREAD")
        return found

    def _search_command(self, selected: Selected, by_number: bool, verb: str = "SEARCH") -> Command:
        name = verb if by_number else f"UID {verb}"
        return Command(name, removes=not by_number, selected=selected)

    # Changing.

    async def store(
        self,
        messages: SetLike,
        operation: FlagOp,
        flags: str | Iterable[str],
        *,
        silent: bool = False,
        unchanged_since: int | None = None,
    ) -> StoreAnswer:
        """Change flags.

        :param flags: a text is one flag.
        :param silent: the server need not tell the new flags.
        :param unchanged_since: leave messages of a higher modification sequence alone (CONDSTORE).
        """
        item = (_data_item(operation) + (".SILENT" if silent else "")).encode("ascii")
        return await self._store(messages, [item, b" ", flag_list(flags)], unchanged_since)

    async def store_labels(
        self, messages: SetLike, operation: FlagOp, labels: str | Iterable[str]
    ) -> StoreAnswer:
        """Change labels (X-GM-EXT-1): ``\\Inbox``, ``\\Important``, or the name of one."""
        item = _data_item(operation).replace("FLAGS", "X-GM-LABELS").encode("ascii")
        self._need("X-GM-EXT-1")
        return await self._store(messages, [item, b" ", *label_list(labels)], None)

    async def store_annotations(
        self,
        messages: SetLike,
        annotations: Iterable[Annotation],
        *,
        unchanged_since: int | None = None,
    ) -> StoreAnswer:
        """Change annotations (RFC 5257): all of a command's, or none.

        :param annotations: a value of None takes one away.
        :param unchanged_since: leave messages of a higher modification sequence alone (CONDSTORE).
        """
        self._need("ANNOTATE-EXPERIMENT-1")
        parts = [b"ANNOTATION ", *annotation_list(annotations)]
        return await self._store(messages, parts, unchanged_since)

    async def _store(
        self,
        messages: SetLike,
        parts: Sequence[Part],
        unchanged_since: int | None,
        selected: Selected | None = None,
    ) -> StoreAnswer:
        """
        :param parts: what is to be stored.
        :param selected: where; None for the mailbox that is open now.
        """
        selected = selected or self._selected()
        removals, most = selected.removals, self._most()
        sets, by_uid = format_sets(messages)
        answer = StoreAnswer()
        waiting = deque(sets)
        rounds = Rounds("STORE", self._connection)
        while waiting:
            text = waiting.popleft()
            wanted = covered(text if by_uid else "1:*")

            def collect(response: Typed, wanted: RangeSet = wanted) -> bool:
                if not isinstance(response, Message):
                    return rounds.note(response)
                if by_uid and (response.uid is None or response.uid not in wanted):
                    return False
                answer.messages.append(response)
                rounds.keep(self._connection.size)
                return True

            command = Command(
                "UID STORE" if by_uid else "STORE",
                numbered=not by_uid,
                removes=by_uid,
                fetches=wanted,
                collect=collect,
                selected=selected,
                removals=removals,
            ).add(text)
            if unchanged_since is not None:
                self._need("CONDSTORE", "QRESYNC")
                command.add(f"(UNCHANGEDSINCE {unchanged_since})")
            answer.modified += await self._run_store(command.add(*parts), rounds)
            most = max(most, self._most())
            _bound(len(answer.modified), most)
            if rest := rounds.rest(text, by_uid=by_uid):
                waiting.appendleft(rest)
        return answer

    async def _run_store(self, command: Command, rounds: Rounds) -> Sequence[int]:
        most = self._most()

        def done(status: Status) -> None:
            nonlocal most
            most = max(most, self._most())

        command.done = done
        limits = self._connection.settings.limits
        try:
            status = await self._connection.run(command)
        except Refused as error:
            # RFC 7162 section 3.1.3: NO where some of the messages are gone, too.
            if error.response_code is None or error.response_code.name != "MODIFIED":
                raise
            return code_uids(error.response_code.arguments, most, limits)
        rounds.note(status)
        if status.code is not None and status.code.name == "MODIFIED":
            return code_uids(status.code.arguments, most, limits)
        return ()

    async def copy(self, messages: SetLike, mailbox_name: str) -> CopyResult | None:
        """
        :returns: where the copies are; None where the server does not tell (RFC 4315).
        """
        return await self._copy("COPY", self._selected(), messages, mailbox_name)

    async def move(self, messages: SetLike, mailbox_name: str) -> CopyResult | None:
        """Move messages; where the server has no MOVE, copy, mark and expunge them (RFC 6851 3.3).

        :raises NotOffered: the server has neither MOVE nor UIDPLUS.
        :raises WrongState: another mailbox has been selected before all were moved.
        """
        selected = self._selected()
        if self.has("MOVE"):
            return await self._copy("MOVE", selected, messages, mailbox_name)
        sets, by_uid = format_sets(messages)
        if not (by_uid and self.has("UIDPLUS")):
            raise NotOffered("The mail server has no MOVE", command="MOVE")
        # RFC 6851 section 3.3: the same messages in all three; a set may mean more from one to the
        # next.
        uids: list[int] = []
        for text in sets:
            uids += await self._search(selected, f"UID {text}")
        result = await self._copy("COPY", selected, uids, mailbox_name)
        parts = [b"+FLAGS.SILENT ", flag_list([DELETED])]
        await self._store(uids, parts, None, selected)
        await self._expunge(selected, uids)
        return result

    async def _copy(
        self, verb: str, selected: Selected, messages: SetLike, mailbox_name: str
    ) -> CopyResult | None:
        removals, most = selected.removals, self._most()
        limits = self._connection.settings.limits
        sets, by_uid = format_sets(messages)
        found: list[CopyResult] = []
        told = 0
        last = b""

        def measure(response: Typed) -> None:
            nonlocal most
            most = max(most, self._most())

        def collect(response: Typed) -> bool:
            measure(response)
            return note(response) or rounds.note(response)

        def note(response: Typed) -> bool:
            nonlocal told, last
            # RFC 6851 section 4.3: MOVE tells in an untagged OK, before EXPUNGE.
            if not (isinstance(response, Status) and response.code is not None):
                return False
            if response.code.name != "COPYUID":
                return False
            arguments = response.code.arguments
            if arguments == last:
                # Some tell it in the tagged OK, too.
                return True
            last = arguments
            parts = arguments.split(b" ", 3)
            if len(parts) == 3 and parts[0].isdigit():
                validity, source, destination = parts
                uids = [code_uids(each, most, limits) for each in (source, destination)]
                result = CopyResult(int(validity), *uids)
                if 0 < len(result.source_uids) == len(result.destination_uids):
                    found.append(result)
                    told += len(result.source_uids)
                    _bound(told, most)
            return True

        waiting = deque(sets)
        rounds = Rounds(verb, self._connection)
        while waiting:
            text, last = waiting.popleft(), b""
            command = Command(
                f"UID {verb}" if by_uid else verb,
                numbered=not by_uid,
                answers=frozenset(("COPYUID",)) if verb == "MOVE" else frozenset(),
                collect=collect,
                done=measure,
                selected=selected,
                removals=removals,
            )
            status = await self._connection.run(command.add(text).add(self._mailbox(mailbox_name)))
            note(status)
            rounds.note(status)
            if rest := rounds.rest(text, by_uid=by_uid):
                waiting.appendleft(rest)
        if not found:
            return None
        return CopyResult(
            found[0].uid_validity,
            [uid for each in found for uid in each.source_uids],
            [uid for each in found for uid in each.destination_uids],
        )

    async def replace(
        self, uid: int, mailbox_name: str, message: NewMessage | Source
    ) -> AppendResult | None:
        """Put a message in the place of another, which is removed (RFC 8508): both or none.

        :param mailbox_name: where the new one goes.
        :returns: where it is; None where the server does not tell.
        :raises NotOffered: the server has no REPLACE.
        """
        selected = self._selected()
        self._need("REPLACE")
        limits = self._connection.settings.limits
        found: list[AppendResult] = []

        def note(response: Typed) -> bool:
            # RFC 8508 section 3.4: it comes in an untagged OK, before the message is removed.
            result = append_uids(response, 1, limits) if isinstance(response, Status) else None
            if result is None:
                return False
            found.append(result)
            return True

        answers = frozenset(("APPENDUID",))
        command = Command("UID REPLACE", answers=answers, collect=note, selected=selected)
        command.add(str(uid)).add(self._mailbox(mailbox_name))
        new = message if isinstance(message, NewMessage) else NewMessage(message)
        command.parts += new.parts()
        note(await self._connection.run(command))
        return found[-1] if found else None

    async def expunge(self, messages: SetLike | None = None) -> None:
        """Remove messages that are marked ``\\Deleted``: all, or those among some UIDs.

        :raises ValueError: ``messages`` names some by another number than the UID.
        :raises WrongState: another mailbox has been selected before all were removed.
        """
        selected = self._selected()
        if messages is None:
            await self._connection.run(Command("EXPUNGE", selected=selected))
            return
        self._need("UIDPLUS")
        await self._expunge(selected, messages)

    async def _expunge(self, selected: Selected, messages: SetLike) -> None:
        sets, by_uid = format_sets(messages)
        if not by_uid:
            raise ValueError("EXPUNGE takes UIDs")
        waiting = deque(sets)
        rounds = Rounds("EXPUNGE", self._connection)
        while waiting:
            text = waiting.popleft()
            command = Command("UID EXPUNGE", collect=rounds.note, selected=selected).add(text)
            rounds.note(await self._connection.run(command))
            if rest := rounds.rest(text, by_uid=True):
                waiting.appendleft(rest)


def _bound(count: int, most: int) -> None:
    """
    :param count: messages that all rounds of a command have named.
    :raises ProtocolError: there cannot be so many.
    """
    if count > most:
        raise ProtocolError("The mail server names more messages than there can be")


def _only_below(command: Command, uid: int) -> Command:
    """A search among the messages with a lower UID; 0 for all."""
    return command.add(f"UID 1:{uid - 1}") if uid > 1 else command
