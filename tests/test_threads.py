"""Threads: the examples of the standard, and a second reading of it that takes it word for word."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit import threads
from mailkit.imap.thread import render_threads
from mailkit.query import ThreadAlgorithm, Threads
from mailkit.threads import ThreadInput, thread_steps

ORDEREDSUBJECT = ThreadAlgorithm.ORDEREDSUBJECT
REFERENCES = ThreadAlgorithm.REFERENCES
REFS = ThreadAlgorithm.REFS

#: Own identifier, ancestors, date, subject (0 for none), whether it is a reply.
Row = tuple[int, Sequence[int], int, int, bool]


def thread(algorithm: ThreadAlgorithm, rows: Sequence[Row]) -> Threads:
    """Threads of messages with the UIDs 1, 2, ..."""
    columns = ThreadInput()
    for uid, (own, ancestors, date, subject, reply) in enumerate(rows, 1):
        values = (uid, date, reply, subject, (own, *ancestors))
        for column, value in zip(columns.columns(), values, strict=True):
            column.append(value)
    *_, found = thread_steps(algorithm, columns)
    assert found is not None
    return found


def render(found: Threads) -> str:
    return b"".join(render_threads(found.uids, found.depths)).decode()


class RenderTests(SynchronousTestCase):
    """RFC 5256 section 4"""

    def check(self, numbers: list[int], depths: list[int], expected: str) -> None:
        self.assertEqual(b"".join(render_threads(numbers, depths)).decode(), expected)

    def test_examples(self) -> None:
        self.check(
            [2, 3, 6, 4, 23, 44, 7, 96], [0, 0, 1, 2, 3, 2, 3, 4], "(2)(3 6 (4 23)(44 7 96))"
        )
        self.check([0, 3, 5], [0, 1, 1], "((3)(5))")
        self.check([], [], "")

    def test_more(self) -> None:
        self.check([1, 2, 3, 4], [0, 1, 1, 0], "(1 (2)(3))(4)")
        self.check([0, 1, 2, 3, 4, 5], [0, 1, 2, 2, 1, 0], "((1 (2)(3))(4))(5)")
        self.check([1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 2, 1], "(1 (2 (3 4)(5))(6))")

    def test_in_pieces(self) -> None:
        for count in (4999, 5000, 5001, 15_000):
            pieces = list(render_threads(range(1, count + 1), range(count)))
            self.assertEqual(
                b"".join(pieces), b"(%b)" % b" ".join(b"%d" % n for n in range(1, count + 1))
            )
            pieces = list(render_threads(range(1, count + 1), [0] * count))
            self.assertEqual(b"".join(pieces), b"".join(b"(%d)" % n for n in range(1, count + 1)))


class ReferencesTests(SynchronousTestCase):
    """RFC 5256 section 3, step by step; and the cases of https://www.jwz.org/doc/threading.html"""

    def check(self, rows: Sequence[Row], expected: str) -> None:
        self.assertEqual(render(thread(REFERENCES, rows)), expected)

    def test_replies(self) -> None:
        self.check(
            [(1, (), 1, 0, False), (2, (1,), 2, 0, True), (3, (1, 2), 3, 0, True)], "(1 2 3)"
        )
        self.check(
            [(1, (), 1, 0, False), (2, (1,), 2, 0, True), (3, (1,), 3, 0, True)], "(1 (2)(3))"
        )

    def test_arrived_backwards(self) -> None:
        self.check(
            [(3, (1, 2), 3, 0, True), (2, (1,), 2, 0, True), (1, (), 1, 0, False)], "(3 2 1)"
        )

    def test_nothing_is_known_of_anything(self) -> None:
        self.check([(0, (), 2, 0, False), (0, (), 1, 0, False), (0, (), 2, 0, False)], "(2)(1)(3)")

    def test_a_missing_parent_with_one_answer(self) -> None:
        self.check([(2, (1,), 2, 0, True)], "(1)")
        self.check([(2, (9, 8, 1), 2, 0, True), (3, (2,), 3, 0, True)], "(1 2)")

    def test_a_missing_parent_with_several(self) -> None:
        self.check([(2, (1,), 2, 0, True), (3, (1,), 1, 0, True)], "((2)(1))")

    def test_a_missing_one_in_between(self) -> None:
        # Its answers go up, below what is there.
        self.check(
            [(1, (), 1, 0, False), (3, (1, 2), 3, 0, True), (4, (1, 2), 2, 0, True)], "(1 (3)(2))"
        )

    def test_missing_ones_below_a_missing_root(self) -> None:
        self.check([(3, (1, 2), 3, 0, True), (4, (1, 2), 4, 0, True)], "((1)(2))")

    def test_the_same_identifier_twice(self) -> None:
        self.check([(1, (), 1, 0, False), (1, (), 2, 0, False), (2, (1,), 3, 0, True)], "(1 3)(2)")

    def test_loops(self) -> None:
        self.check([(1, (1,), 1, 0, False)], "(1)")
        self.check([(1, (2,), 1, 0, False), (2, (1,), 2, 0, False)], "(2 1)")
        self.check(
            [(1, (3,), 1, 0, False), (2, (1,), 2, 0, False), (3, (2,), 3, 0, False)], "(3 1 2)"
        )
        self.check([(1, (2, 1, 2), 1, 0, False)], "(1)")

    def test_truncated_references(self) -> None:
        # The link that another message has made is broken by the message's own.
        self.check(
            [(3, (1, 2), 3, 0, True), (2, (), 2, 0, False), (1, (), 1, 0, False)], "(3)(2 1)"
        )

    def test_same_subject(self) -> None:
        # A reply goes below what is none,
        self.check([(1, (), 1, 7, False), (2, (), 2, 7, True), (3, (), 3, 8, True)], "(1 2)(3)")
        # even where it came first;
        self.check([(1, (), 2, 7, False), (2, (), 1, 7, True)], "(1 2)")
        # two of a kind become siblings.
        self.check([(1, (), 1, 7, False), (2, (), 2, 7, False)], "((1)(2))")
        self.check([(1, (), 1, 7, True), (2, (), 2, 7, True), (3, (), 3, 7, True)], "((1)(2)(3))")
        # Without a subject nothing is joined.
        self.check([(1, (), 1, 0, False), (2, (), 2, 0, True)], "(1)(2)")

    def test_same_subject_below_a_missing_root(self) -> None:
        rows = [(2, (1,), 2, 7, True), (3, (1,), 3, 7, True)]
        self.check([*rows, (4, (), 1, 7, False)], "((3)(1)(2))")
        self.check([*rows, (5, (4,), 1, 7, True), (6, (4,), 4, 7, True)], "((3)(1)(2)(4))")

    def test_dates_of_a_missing_root(self) -> None:
        # By its first child.
        self.check(
            [(1, (), 2, 0, False), (3, (2,), 3, 0, True), (4, (2,), 1, 0, True)], "((3)(2))(1)"
        )

    def test_many_ancestors(self) -> None:
        self.check(
            [(1, range(10, 5000), 1, 0, True), (2, (1, *range(20, 900)), 2, 0, True)], "((1)(2))"
        )

    def test_a_long_chain(self) -> None:
        count = 20_000
        rows = [(n, (n - 1,) if n > 1 else (), n, 7, n > 1) for n in range(1, count + 1)]
        self.check(rows, f"({' '.join(map(str, range(1, count + 1)))})")
        numbers = " ".join(map(str, range(count, 0, -1)))
        self.check(rows[::-1], f"({' '.join(map(str, range(count, 0, -1)))})")
        self.assertEqual(len(numbers.split()), count)

    def test_no_endless_walks(self) -> None:
        # Each message tries again and again to put the first one below the last.
        count = 300
        chain: list[Row] = [
            (n, (n - 1,) if n > 1 else (), n, 0, False) for n in range(1, count + 1)
        ]
        more: list[Row] = [(0, (count, 1) * 100, n, 0, False) for n in range(count)]
        self.patch(threads, "MAX_WALK", 1000)
        found = thread(REFERENCES, [*chain, *more])
        self.assertEqual(sorted(found.uids), list(range(1, 2 * count + 1)))


class SubjectTests(SynchronousTestCase):
    def test_ordered_subject(self) -> None:
        rows: list[Row] = [
            (0, (), 5, 7, False), (0, (), 3, 8, True), (0, (), 4, 7, True),
            (0, (), 4, 8, False), (0, (), 1, 0, False), (0, (), 9, 0, False), (0, (), 6, 8, False),
        ]  # fmt: skip
        found = render(thread(ORDEREDSUBJECT, rows))
        self.assertEqual(found, "(5 6)(2 (4)(7))(3 1)")


class RefsTests(SynchronousTestCase):
    def test_no_subjects_and_the_latest_last(self) -> None:
        rows: list[Row] = [
            (1, (), 1, 7, False), (2, (), 2, 7, False), (3, (1,), 5, 7, True), (4, (), 4, 7, True),
        ]  # fmt: skip
        self.assertEqual(render(thread(REFS, rows)), "(2)(4)(1 3)")


class Node:
    """A message or a dummy."""

    def __init__(self, uid: int = 0) -> None:
        self.uid = uid
        self.parent: Node | None = None
        self.children: list[Node] = []

    def put_below(self, parent: Node | None) -> None:
        if self.parent is not None:
            self.parent.children.remove(self)
        self.parent = parent
        if parent is not None:
            parent.children.append(self)

    def is_below(self, other: Node) -> bool:
        node: Node | None = self
        while node is not None:
            if node is other:
                return True
            node = node.parent
        return False


class WordForWord:
    """REFERENCES as the standard has it, without a thought for speed."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.root = Node()
        known: dict[int, Node] = {}
        messages = []
        for uid, (own, _, _, _, _) in enumerate(rows, 1):
            node = Node(uid)
            messages.append(node)
            if own:
                known.setdefault(own, node)
        for node, (_, ancestors, _, _, _) in zip(messages, rows, strict=True):
            chain = [known.setdefault(ancestor, Node()) for ancestor in ancestors]
            for above, below in pairwise(chain):
                if below.parent is None and not above.is_below(below):
                    below.put_below(above)
            node.put_below(None)
            if chain and not chain[-1].is_below(node):
                node.put_below(chain[-1])
        for node in (*messages, *known.values()):
            if node.parent is None:
                node.put_below(self.root)
        self.prune(self.root)
        self.sort(self.root.children)
        self.gather()
        self.sort_all(self.root)

    def prune(self, node: Node) -> None:
        for child in list(node.children):
            self.prune(child)
            if child.uid:
                continue
            if node is self.root and len(child.children) > 1:
                continue
            for grandchild in list(child.children):
                grandchild.put_below(node)
            child.put_below(None)

    def date(self, node: Node) -> tuple[int, int]:
        if node.uid:
            return self.rows[node.uid - 1][2], node.uid
        return min(map(self.date, node.children))

    def sort(self, nodes: list[Node]) -> None:
        nodes.sort(key=self.date)

    def first(self, node: Node) -> int:
        return node.uid or min(node.children, key=self.date).uid

    def is_reply(self, node: Node) -> bool:
        return bool(node.uid) and self.rows[node.uid - 1][4]

    def gather(self) -> None:
        table: dict[int, Node] = {}
        roots = list(self.root.children)
        subjects = {id(node): self.rows[self.first(node) - 1][3] for node in roots}
        for node in roots:
            subject = subjects[id(node)]
            if not subject:
                continue
            other = table.setdefault(subject, node)
            if other.uid and (not node.uid or (self.is_reply(other) and not self.is_reply(node))):
                table[subject] = node
        for node in roots:
            other = table.get(subjects[id(node)], node)
            if other is node:
                continue
            if not node.uid and not other.uid:
                for child in list(node.children):
                    child.put_below(other)
                node.put_below(None)
            elif not other.uid or (self.is_reply(node) and not self.is_reply(other)):
                node.put_below(other)
            else:
                dummy = Node()
                dummy.put_below(self.root)
                node.put_below(dummy)
                other.put_below(dummy)
                table[subjects[id(node)]] = dummy

    def sort_all(self, node: Node) -> None:
        for child in node.children:
            self.sort_all(child)
        self.sort(node.children)

    def flat(self, node: Node | None = None, depth: int = -1) -> list[tuple[int, int]]:
        node = node or self.root
        below = [pair for child in node.children for pair in self.flat(child, depth + 1)]
        return below if depth < 0 else [(node.uid, depth), *below]


ROWS = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.lists(st.integers(1, 14), max_size=5),
        st.integers(1, 6),
        st.integers(0, 3),
        st.booleans(),
    ),
    max_size=16,
)


class PropertyTests(SynchronousTestCase):
    @given(ROWS)
    @example([(1, [], 1, 1, False), (2, [], 1, 1, False), (3, [], 1, 1, True)])
    @settings(max_examples=300, deadline=None)
    def test_as_the_standard_has_it(self, rows: list[Row]) -> None:
        found = thread(REFERENCES, rows)
        expected = WordForWord(rows).flat()
        self.assertEqual(list(zip(found.uids, found.depths, strict=True)), expected)

    @given(ROWS, st.sampled_from(list(ThreadAlgorithm)))
    @settings(max_examples=150, deadline=None)
    def test_each_message_once(self, rows: list[Row], algorithm: ThreadAlgorithm) -> None:
        kept, threads.STEP = threads.STEP, 3
        try:
            found = thread(algorithm, rows)
        finally:
            threads.STEP = kept
        self.assertEqual(sorted(uid for uid in found.uids if uid), list(range(1, len(rows) + 1)))
        before = -1
        for uid, depth in zip(found.uids, found.depths, strict=True):
            self.assertLessEqual(depth, before + 1)
            # Only at the top there may be somebody who is not there.
            self.assertTrue(uid or not depth)
            before = depth
