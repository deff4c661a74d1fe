"""Searching a mailbox: the index first, then kept header fields, then the messages themselves.

What the index can tell, texts of header fields among it, is asked as SQL: a condition that holds
for every match, and often for nothing else. The :class:`~mailkit.matching.Matcher` decides the
rest, so that the result is always that of a plain scan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

from mailkit.errors import MailError, StoreCorrupt
from mailkit.matching import Matcher, Need, asks_thread
from mailkit.mime import Header, parse_message
from mailkit.model import MessageInfo
from mailkit.query import (
    And,
    Not,
    Or,
    Query,
)
from mailkit.store.sqlite import fields
from mailkit.store.sqlite.bodies import SMALL_BODY, BodyPlace
from mailkit.store.sqlite.conditions import NOTHING, Compiler
from mailkit.store.sqlite.core import Core
from mailkit.store.sqlite.fields import HEADERS, find_headers
from mailkit.store.sqlite.making import Wanted, read_bodies
from mailkit.store.sqlite.narrowing import is_kept, may_match
from mailkit.store.sqlite.rows import COLUMNS, Row, condition, select_uids, to_infos, to_uids
from mailkit.store.sqlite.slices import Slices
from mailkit.store.sqlite.textmaps import SaveTextMaps
from mailkit.textmap import decode_text_map, encode_text_map, read_text_map

#: Messages that are looked at in one step on the reactor's thread.
CHUNK = 500
#: The same where the header fields of their summaries are read.
NARROWED = 200
#: How many times as many when SQLite decides alone, by kept texts.
TEXT_CHUNKS = 4
#: Mailboxes of which it is remembered that their texts were searched.
MAX_SEARCHED = 1000
#: Octets of bodies that a thread scans in one step.
SCAN_OCTETS = 4 * 1024 * 1024
#: Octets of them that are looked at together: a call keeps other threads waiting.
SIFTED_OCTETS = 256 * 1024
#: Octets of a message from which its texts are mapped when they are searched once more: with a map
#: attachments are left out, while a look at all of a short message takes no longer.
MAPPED_FROM = 32 * 1024
#: Messages that a thread scans in one step.
SCAN_MESSAGES = 100
#: SQL that tells which messages are looked at, and its parameters.
_Where: TypeAlias = "tuple[str, tuple[object, ...]]"


def _asks(query: Query, asked: Callable[[Query], bool]) -> bool:
    """Whether one of the conditions is such a one."""
    match query:
        case And(queries=queries) | Or(queries=queries):
            return any(_asks(part, asked) for part in queries)
        case Not(query=inner):
            return _asks(inner, asked)
    return asked(query)


def _in_summary(query: Query) -> bool:
    """Whether the header fields of a summary decide this condition."""
    return Matcher(query).needs is Need.SUMMARY


class Search:
    """One search of one mailbox."""

    def __init__(self, core: Core, mailbox_id: int, query: Query) -> None:
        self._core = core
        self._id = mailbox_id
        self._query = query
        account = core.reader.connection.execute(
            "SELECT account_id FROM mailbox WHERE id = ?", (mailbox_id,)
        ).fetchone()
        account_id = account[0] if account else 0
        #: On messages without kept texts, and on those with them.
        self._condition = Compiler(core, account_id, False).compile(query)
        if self._condition.exact:
            return
        self._matcher = Matcher(query)
        self._by_texts = _asks(query, is_kept)
        self._on_texts = Compiler(core, account_id, True).compile(query)
        self._by_summary = _asks(query, _in_summary)
        #: Texts of this mailbox were searched before, and may be searched once more.
        self._again = self._matcher.needs is Need.MESSAGE and mailbox_id in core.searched

    async def run(self) -> list[int]:
        """UIDs that match, ascending."""
        # Raises when the mailbox is gone.
        uids = self._core.reader.list_uids(self._id)
        if uids and asks_thread(self._query):
            await self._core.conversations.name(self._id, uids[-1])
        if self._condition.exact:
            return await self._by_index(uids)
        found: list[int] = []
        undecided: list[MessageInfo] = []
        lacking = await self._go_through(uids, True, found, undecided)
        if lacking and may_match(self._query, ()) is not None:
            lacking = await self._narrow(lacking)
        if lacking:
            self._core.hurry(Wanted.TEXTS)
            # Where texts cannot be kept, the headers below are looked at one by one.
            with suppress(MailError):
                await self._core.fields.make(self._id, lacking, fields.TEXTS)
            lacking = await self._go_through(lacking, False, found, undecided)
        if lacking:
            undecided += await self._without_texts(lacking, found)
        if undecided:
            found.extend(await self._by_message(undecided))
        found.sort()
        return found

    async def _go_through(
        self, uids: Sequence[int], is_range: bool, found: list[int], undecided: list[MessageInfo]
    ) -> list[int]:
        """Look at messages in the index, and at those header fields of them that are kept.

        :param is_range: no other message lies between them.
        :param found: gets those that match.
        :param undecided: gets those that only the messages themselves can decide.
        :returns: those that are not decided because they have no texts.
        """
        lacking: list[int] = []
        by_texts = self._by_texts and self._on_texts.exact
        step = CHUNK * TEXT_CHUNKS if by_texts else CHUNK
        for begin in range(0, len(uids), step):
            if begin:
                await self._core.pause()
            where = condition(uids[begin : begin + step], is_range)
            if by_texts:
                matches, without = self._uids_by_texts(where)
                found += matches
            else:
                rows, without = (
                    self._rows_by_texts(where) if self._by_texts else (self._rows(where), [])
                )
                rest = self._by_info(rows, found)
                if rest and self._by_summary:
                    rest = await self._by_summaries(rest, found)
                undecided += rest
                if len(undecided) >= CHUNK:
                    # Now: to hold all of them, and to let go of them at once, takes long.
                    found += await self._by_message(undecided)
                    undecided.clear()
            lacking += without
        return lacking

    async def _narrow(self, uids: Sequence[int]) -> list[int]:
        """Those messages that may match, as far as the fields of their summaries tell."""
        left: list[int] = []
        slices = Slices(self._core)
        for begin in range(0, len(uids), NARROWED):
            if slices.over:
                await slices.pause()
            some = uids[begin : begin + NARROWED]
            sql, values = condition(some, False)
            headers: dict[int, bytes] = dict(
                self._core.reader.connection.execute(
                    "SELECT m.uid, s.header FROM message m JOIN summary s USING (body_id)"
                    f" WHERE m.mailbox_id = ? AND m.{sql}",
                    (self._id, *values),
                )
            )
            known = list(headers)
            hits = may_match(self._query, list(headers.values()))
            assert hits is not None
            likely = {known[place] for place in hits}
            left += [uid for uid in some if uid in likely or uid not in headers]
        return left

    async def _by_index(self, uids: Sequence[int]) -> list[int]:
        found: list[int] = []
        if self._condition == NOTHING:
            return found
        # Rows that do not match cost little: larger steps.
        for begin in range(0, len(uids), CHUNK * 20):
            if begin:
                await self._core.pause()
            last = uids[min(begin + CHUNK * 20, len(uids)) - 1]
            found += select_uids(
                self._core.reader.connection,
                f"mailbox_id = ? AND uid BETWEEN ? AND ? AND ({self._condition.sql})",
                (self._id, uids[begin], last, *self._condition.values),
            )
        return found

    async def _without_texts(self, uids: Sequence[int], found: list[int]) -> list[MessageInfo]:
        """Decide by their headers about messages that have no texts; gives those that are left."""
        undecided: list[MessageInfo] = []
        slices = Slices(self._core)
        for begin in range(0, len(uids), HEADERS):
            rows = self._rows(condition(uids[begin : begin + HEADERS], False))
            bodies = {row[0]: row[5] for row in rows}
            headers = await find_headers(self._core, self._id, bodies, slices)
            rest = self._by_info(rows, found)
            undecided += await self._by_fields(rest, headers, found, slices)
        return undecided

    def _rows(self, where: _Where) -> list[Row]:
        """Rows of messages that may match."""
        sql, values = where
        return self._core.reader.connection.execute(
            f"SELECT {COLUMNS} FROM message WHERE mailbox_id = ? AND {sql}"
            f" AND ({self._condition.sql})",
            (self._id, *values, *self._condition.values),
        ).fetchall()

    def _rows_by_texts(self, where: _Where) -> tuple[list[Row], list[int]]:
        """Rows of messages that may match, and UIDs of such that have no texts."""
        sql, values = self._by_kept_texts(where)
        rows = self._core.reader.connection.execute(
            f"SELECT {COLUMNS}, t.body_id IS NULL {sql}", values
        ).fetchall()
        kept: list[Row] = [row[:-1] for row in rows if not row[-1]]
        return kept, [row[0] for row in rows if row[-1]]

    def _uids_by_texts(self, where: _Where) -> tuple[list[int], list[int]]:
        """UIDs of messages that match, and of those that have no texts and may match."""
        sql, values = self._by_kept_texts(where)
        row = self._core.reader.connection.execute(
            "SELECT group_concat(uid) FILTER (WHERE t.body_id IS NOT NULL),"
            f" group_concat(uid) FILTER (WHERE t.body_id IS NULL) {sql}",
            values,
        ).fetchone()
        matches, lacking = map(to_uids, row)
        return matches, lacking

    def _by_kept_texts(self, where: _Where) -> _Where:
        sql, values = where
        return (
            f"FROM message LEFT JOIN field_text t USING (body_id) WHERE mailbox_id = ? AND {sql}"
            f" AND CASE WHEN t.body_id IS NULL THEN {self._condition.sql}"
            f" ELSE {self._on_texts.sql} END",
            (self._id, *values, *self._condition.values, *self._on_texts.values),
        )

    def _by_info(self, rows: Sequence[Row], found: list[int]) -> list[MessageInfo]:
        """Those that their details alone do not decide; matches go to what was found."""
        undecided: list[MessageInfo] = []
        for info in to_infos(rows, self._core.reader.flag_sets):
            answer = self._matcher.by_info(info)
            if answer:
                found.append(info.uid)
            elif answer is None:
                undecided.append(info)
        return undecided

    async def _by_summaries(
        self, infos: Sequence[MessageInfo], found: list[int]
    ) -> list[MessageInfo]:
        """Those that the header fields of their summaries do not decide."""
        undecided: list[MessageInfo] = []
        slices = Slices(self._core)
        for begin in range(0, len(infos), HEADERS):
            some = infos[begin : begin + HEADERS]
            uids = [info.uid for info in some]
            summaries = await self._core.summaries.get(self._id, uids, False)
            headers = {uid: (header, False) for uid, _, _, header in summaries}
            undecided += await self._by_fields(some, headers, found, slices)
        return undecided

    async def _by_fields(
        self,
        infos: Sequence[MessageInfo],
        headers: Mapping[int, tuple[Header | bytes, bool]],
        found: list[int],
        slices: Slices,
    ) -> list[MessageInfo]:
        """Those that header fields do not decide; matches go to what was found.

        :param headers: by UID, and whether they are complete.
        """
        undecided: list[MessageInfo] = []
        for info in infos:
            # One without fields has been removed since.
            if (known := headers.get(info.uid)) is None:
                continue
            if slices.over:
                await slices.pause()
            answer = self._matcher.by_header(info, *known)
            if answer:
                found.append(info.uid)
            elif answer is None:
                undecided.append(info)
        return undecided

    async def _by_message(self, infos: Sequence[MessageInfo]) -> list[int]:
        """Matches among messages that have to be opened, in a thread, a few at a time."""
        found: list[int] = []
        begin = 0
        while begin < len(infos):
            end, octets = begin, 0
            while end < len(infos) and end - begin < SCAN_MESSAGES and octets < SCAN_OCTETS:
                octets += infos[end].size
                end += 1
            chunk = infos[begin:end]
            places, maps = self._places(chunk)
            matches, made = await self._core.in_thread(self._scan, places, maps)
            found.extend(matches)
            if made:
                self._core.keep(SaveTextMaps(made))
            begin = end
        if self._matcher.needs is Need.MESSAGE:
            if len(self._core.searched) >= MAX_SEARCHED:
                self._core.searched.clear()
            self._core.searched.add(self._id)
        return found

    def _places(
        self, infos: Sequence[MessageInfo]
    ) -> tuple[dict[BodyPlace, list[MessageInfo]], dict[int, str]]:
        """Where the bodies of messages are, and what is known of the texts in them, by body id."""
        by_uid = {info.uid: info for info in infos}
        where, values = condition(list(by_uid), False)
        rows = self._core.reader.connection.execute(
            "SELECT b.id, b.segment, b.position, b.start, b.size, m.uid, t.map FROM message m"
            " JOIN body b ON b.id = m.body_id LEFT JOIN text_map t ON t.body_id = b.id"
            f" WHERE m.mailbox_id = ? AND m.{where}",
            (self._id, *values),
        ).fetchall()
        places: dict[BodyPlace, list[MessageInfo]] = {}
        # It goes around the Python function that a NamedTuple has for it.
        new = tuple.__new__
        for row in rows:
            # Copies share a body.
            places.setdefault(new(BodyPlace, row[:5]), []).append(by_uid[row[5]])
        return places, {row[0]: row[6] for row in rows if row[6] is not None}

    def _scan(
        self, places: Mapping[BodyPlace, Sequence[MessageInfo]], maps: Mapping[int, str]
    ) -> tuple[list[int], list[tuple[int, str]]]:
        """UIDs that match, and maps of texts that are new. Runs in a thread."""
        found: list[int] = []
        made: list[tuple[int, str]] = []
        # Those that are looked at together: of what has no map, and gets none.
        together: list[tuple[BodyPlace, bytes]] = []
        octets = 0
        for place, body in read_bodies(self._core.bodies, places):
            if body is None:
                found += [info.uid for info in places[place] if self._matches(info, place)]
            elif place.body_id in maps or (self._again and place.size >= MAPPED_FROM):
                self._match(places[place], place, body, maps.get(place.body_id), found, made)
            else:
                together.append((place, body))
                octets += place.size
                if octets >= SIFTED_OCTETS:
                    self._sift(together, places, found, made)
                    together.clear()
                    octets = 0
        self._sift(together, places, found, made)
        return found, made

    def _sift(
        self,
        bodies: Sequence[tuple[BodyPlace, bytes]],
        places: Mapping[BodyPlace, Sequence[MessageInfo]],
        found: list[int],
        made: list[tuple[int, str]],
    ) -> None:
        """Match those messages among several that one look at all of them does not exclude."""
        for number in sorted(self._matcher.sift([body for _, body in bodies])):
            place, body = bodies[number]
            self._match(places[place], place, body, None, found, made)

    def _match(
        self,
        infos: Sequence[MessageInfo],
        place: BodyPlace,
        body: bytes,
        known: str | None,
        found: list[int],
        made: list[tuple[int, str]],
    ) -> None:
        """Match the messages that share a body.

        :param known: the map of its texts.
        :param found: gets the UIDs that match.
        :param made: gets the map if it is new.
        """
        texts = None if known is None else decode_text_map(known)
        if texts is None and self._again and place.size >= MAPPED_FROM:
            texts = read_text_map(parse_message(body))
        for info in infos:
            matches, texts = self._matcher.by_body(info, body, texts)
            if matches:
                found.append(info.uid)
        new = None if known or texts is None else encode_text_map(texts)
        if new is not None:
            made.append((place.body_id, new))

    def _matches(self, info: MessageInfo, place: BodyPlace) -> bool:
        bodies = self._core.bodies
        try:
            if place.size <= SMALL_BODY:
                return self._matcher.by_message(info, bodies.read(place))
            mapping, start = bodies.map(place)
            with mapping:
                return self._matcher.by_message(info, mapping, start)
        except FileNotFoundError:
            return self._matches_elsewhere(info, place)
        except StoreCorrupt as error:
            self._core.log.error(
                "message body {body_id} cannot be read: {error}", body_id=place.body_id, error=error
            )
            return False

    def _matches_elsewhere(self, info: MessageInfo, old: BodyPlace) -> bool:
        """The compaction has moved the body since the search began."""
        with self._core.borrow() as connection:
            row = connection.execute(
                "SELECT id, segment, position, start, size FROM body WHERE id = ?", (old.body_id,)
            ).fetchone()
        if row is None or BodyPlace(*row) == old:
            return False
        return self._matches(info, BodyPlace(*row))
