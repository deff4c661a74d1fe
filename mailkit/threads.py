"""Threads of messages: which one answers which (RFC 5256 section 3). No I/O.

The algorithms run in steps, between which a caller may let others have their turn.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, MutableSequence, Sequence
from typing import Any

from mailkit.query import SortCriterion, SortKey, ThreadAlgorithm, Threads
from mailkit.sorting import sort_steps

#: Messages that are looked at in one step: a millisecond or so.
STEP = 512
#: Ancestors that are looked at in one run, to see whether a link would make a loop. When there are
#: more, messages that have answers already are no longer put below others.
MAX_WALK = 10_000_000

#: Identifiers of one message that tell to which thread it belongs: its own, the oldest of its
#: ancestors and the latest.
MAX_KEYS = 50

_DATE = (SortCriterion(SortKey.DATE),)
_NONE = -1


class ThreadInput:
    """What threads are made of: columns by message, in mailbox order."""

    __slots__ = ("dates", "ids", "replies", "subjects", "uids")

    def __init__(self) -> None:
        # Arrays take a fifth of the memory, and no time to be given back.
        self.uids: array[int] = array("I")
        #: Sent dates.
        self.dates: array[int] = array("q")
        #: Whether the subject is that of a reply or a forward.
        self.replies: list[bool] = []
        #: Numbers of the own identifier (0 for none) and of those of the ancestors.
        self.ids: list[Sequence[int]] = []
        #: Numbers of the base subjects (0 for an empty one), equal for those that are.
        self.subjects: array[int] = array("q")

    def columns(self) -> list[MutableSequence[Any]]:
        """UIDs, sent dates, replies, subjects, identifiers."""
        return [self.uids, self.dates, self.replies, self.subjects, self.ids]


#: Columns of :class:`ThreadInput` that an algorithm looks at, the UIDs first.
COLUMNS: Mapping[ThreadAlgorithm, Sequence[str]] = {
    ThreadAlgorithm.ORDEREDSUBJECT: ("uids", "dates", "subjects"),
    ThreadAlgorithm.REFERENCES: ("uids", "dates", "subjects", "replies", "ids"),
    ThreadAlgorithm.REFS: ("uids", "dates", "ids"),
}


def thread_keys(subject_id: int, ids: Sequence[int]) -> list[int]:
    """Numbers of which messages of one conversation have one in common (RFC 8621 section 3).

    Two messages belong together that name the same message, as themselves or as an ancestor, and
    have the same base subject.

    :param ids: as in :class:`~mailkit.sorting.SortValues`.
    """
    if len(ids) > MAX_KEYS:
        ids = [*ids[:2], *ids[2 - MAX_KEYS :]]
    return list(dict.fromkeys(identifier ^ subject_id for identifier in ids if identifier))


def thread_steps(algorithm: ThreadAlgorithm, given: ThreadInput) -> Iterator[Threads | None]:
    """Thread messages in steps of a few milliseconds; the last one gives the threads.

    :param given: is used up.
    """
    match algorithm:
        case ThreadAlgorithm.ORDEREDSUBJECT:
            return _by_subject(given)
        case ThreadAlgorithm.REFERENCES:
            return _References(given).run(by_subject=True)
        case ThreadAlgorithm.REFS:
            return _References(given).run(by_subject=False)


def _by_subject(given: ThreadInput) -> Iterator[Threads | None]:
    order: list[int] = []
    for step in sort_steps(range(len(given.uids)), _DATE, [given.dates]):
        order = step or order
        yield None
    # Going by date, threads and their messages come into their order by themselves.
    groups: dict[int, list[int]] = {}
    uids, subjects = given.uids, given.subjects
    for start in range(0, len(order), STEP):
        yield None
        for place in order[start : start + STEP]:
            subject = subjects[place]
            if subject in groups:
                groups[subject].append(uids[place])
            else:
                groups[subject] = [uids[place]]
    threads = Threads(array("I"), array("I"))
    # Those of some threads: lists are added to in a fraction of the time that arrays take.
    some: list[int] = []
    depths: list[int] = []
    for subject in list(groups):
        # Given up one by one, as to free all of them together takes long.
        group = groups.pop(subject)
        some += group
        depths.append(0)
        if len(group) > 1:
            depths += [1] * (len(group) - 1)
        if len(some) > STEP:
            threads.uids.fromlist(some)
            threads.depths.fromlist(depths)
            some.clear()
            depths.clear()
            yield None
    threads.uids.fromlist(some)
    threads.depths.fromlist(depths)
    yield threads


class _References:
    """The algorithm REFERENCES. Nodes are numbers: places of messages, then dummies."""

    def __init__(self, given: ThreadInput) -> None:
        self.given = given
        self.count = len(given.uids)
        self.parent = [_NONE] * self.count
        #: How many children a node has.
        self.answers = [0] * self.count
        self.walked = 0
        #: Place of each message by date.
        self.rank: list[int] = []
        #: By date.
        self.children: dict[int, list[int]] = {}
        self.roots: list[int] = []

    def run(self, by_subject: bool) -> Iterator[Threads | None]:
        """All steps."""
        yield from self._link()
        order: list[int] = []
        for step in sort_steps(range(self.count), _DATE, [self.given.dates]):
            order = step or order
            yield None
        self.rank = [0] * self.count
        for rank, place in enumerate(order):
            if not rank % STEP:
                yield None
            self.rank[place] = rank
        yield from self._prune(order)
        if by_subject:
            yield from self._gather()
            yield from self._sort_roots()
        else:
            yield from self._sort_by_latest(order)
        yield from self._flatten()

    def _link(self) -> Iterator[None]:
        """Step (1)."""
        nodes: dict[int, int] = {}
        for place, ids in enumerate(self.given.ids):
            # A second message of that identifier counts as one that has none.
            if ids[0]:
                nodes.setdefault(ids[0], place)
            if not place % STEP:
                yield None
        yield None
        parent, answers, column = self.parent, self.answers, self.given.ids
        for place, ids in enumerate(column):
            if not place % STEP:
                yield None
            # Nobody needs them any more, and to give back all at once takes long.
            column[place] = ()
            last = _NONE
            for identifier in ids[1:]:
                node = nodes.get(identifier, _NONE)
                if node < 0:
                    node = nodes[identifier] = len(parent)
                    parent.append(_NONE)
                    answers.append(0)
                # (A)
                if last >= 0 and parent[node] < 0 and not self._is_loop(last, node):
                    parent[node] = last
                    answers[last] += 1
                last = node
            # (B)
            if parent[place] >= 0:
                answers[parent[place]] -= 1
                parent[place] = _NONE
            if last >= 0 and not self._is_loop(last, place):
                parent[place] = last
                answers[last] += 1

    def _is_loop(self, above: int, below: int) -> bool:
        """Whether one node is, or descends from, the other that is to be put below it."""
        if above == below:
            return True
        if not self.answers[below]:
            return False
        parent = self.parent
        while above >= 0:
            self.walked += 1
            if above == below or self.walked > MAX_WALK:
                return True
            above = parent[above]
        return False

    def _prune(self, order: Iterable[int]) -> Iterator[None]:
        """Steps (2), (3) and (4): only dummies at the top remain, those with several children.

        Going by date, children and roots come into their order by themselves.
        """
        count, parent, children, roots = self.count, self.parent, self.children, self.roots
        for number, place in enumerate(order):
            if not number % STEP:
                yield None
            node = parent[place]
            passed = []
            while node >= count and parent[node] >= 0:
                passed.append(node)
                node = parent[node]
            # The way is shorter for those that come after.
            for dummy in passed:
                parent[dummy] = node
            if node < 0:
                roots.append(place)
            elif node in children:
                children[node].append(place)
            else:
                children[node] = [place]
                if node >= count:
                    roots.append(node)
        for number, node in enumerate(roots):
            if not number % STEP:
                yield None
            if node >= count and len(children[node]) == 1:
                (roots[number],) = children.pop(node)

    def _sort_roots(self) -> Iterator[None]:
        count, rank, children = self.count, self.rank, self.children
        # Pairs of rank and node as one number each, which compare in less time.
        ranked: list[int] = []
        for start in range(0, len(self.roots), STEP):
            some = self.roots[start : start + STEP]
            ranked += [rank[n if n < count else children[n][0]] << 32 | n for n in some]
            yield None
        # Nearly in order, as they were made going by date.
        ranked.sort()
        for start in range(0, len(ranked), STEP):
            some = ranked[start : start + STEP]
            self.roots[start : start + STEP] = [pair & 0xFFFFFFFF for pair in some]
            yield None

    def _gather(self) -> Iterator[None]:
        """Step (5)."""
        count, children, replies = self.count, self.children, self.given.replies
        # (A), (B)
        table: dict[int, int] = {}
        for number, node in enumerate(self.roots):
            if not number % STEP:
                yield None
            subject = self._subject(node)
            if not subject:
                continue
            known = table.get(subject)
            if known is None or (
                known < count and (node >= count or (replies[known] and not replies[node]))
            ):
                table[subject] = node
        # (C)
        kept = []
        changed: set[int] = set()
        dummies = len(self.parent)
        for number, node in enumerate(self.roots):
            if not number % STEP:
                yield None
            subject = self._subject(node)
            known = table.get(subject, node)
            if known == node:
                kept.append(node)
            elif node >= count:
                children[known].extend(children.pop(node))
                changed.add(known)
            elif known >= count or (replies[node] and not replies[known]):
                children.setdefault(known, []).append(node)
                changed.add(known)
            else:
                dummy = table[subject] = dummies
                dummies += 1
                children[dummy] = [known, node]
                kept.append(dummy)
                changed.add(dummy)
        replaced: set[int] = set()
        for number, node in enumerate(kept):
            if not number % STEP:
                yield None
            answers = children[node] if node >= count else ()
            for start in range(0, len(answers), STEP):
                replaced.update(answers[start : start + STEP])
                yield None
        self.roots = []
        for start in range(0, len(kept), STEP):
            self.roots += [node for node in kept[start : start + STEP] if node not in replaced]
            yield None
        # Step (6), for those that have changed; there are no dummies below the top.
        for number, node in enumerate(changed):
            if not number % STEP:
                yield None
            ranks = list(map(self.rank.__getitem__, children[node]))
            for step in sort_steps(children[node], _DATE, [ranks]):
                yield None
                children[node] = step or children[node]

    def _subject(self, node: int) -> int:
        """The thread subject."""
        return self.given.subjects[node if node < self.count else self.children[node][0]]

    def _sort_by_latest(self, order: Sequence[int]) -> Iterator[None]:
        """What REFS has in place of steps (4) to (6): threads by their latest message."""
        top: dict[int, int] = {}
        for root in self.roots:
            stack = [iter((root,))]
            while stack:
                node = next(stack[-1], _NONE)
                if node < 0:
                    stack.pop()
                    continue
                top[node] = root
                if not len(top) % STEP:
                    yield None
                if node in self.children:
                    stack.append(iter(self.children[node]))
        latest: dict[int, int] = {}
        for rank, place in enumerate(order):
            if not rank % STEP:
                yield None
            latest[top[place]] = rank
        ranks: list[int] = []
        for start in range(0, len(self.roots), STEP):
            ranks += map(latest.__getitem__, self.roots[start : start + STEP])
            yield None
        for step in sort_steps(self.roots, _DATE, [ranks]):
            yield None
            self.roots = step or self.roots

    def _flatten(self) -> Iterator[Threads | None]:
        uids, depths = array("I"), array("I")
        given, count, children = self.given.uids, self.count, self.children
        # Of each level, those that are still to come.
        stack = [iter(self.roots)]
        while stack:
            node = next(stack[-1], _NONE)
            if node < 0:
                stack.pop()
                continue
            uids.append(given[node] if node < count else 0)
            depths.append(len(stack) - 1)
            if node in children:
                stack.append(iter(children.pop(node)))
            if not len(uids) % STEP:
                yield None
        yield Threads(uids, depths)
