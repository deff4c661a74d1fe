"""Sequence numbers, and what waits to be told."""

from __future__ import annotations

import random
from array import array

from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap import state
from mailkit.imap.grammar import SAVED, STAR
from mailkit.imap.spans import merge, runs
from mailkit.imap.state import NoSuchNumber, SelectedState
from mailkit.model import Changes, MessageInfo


def changes(
    modseq: int,
    added: tuple[int, ...] = (),
    changed: tuple[int, ...] = (),
    gone: tuple[int, ...] = (),
) -> Changes:
    return Changes(modseq, added, changed, gone)


class NumberTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = SelectedState(array("I", [3, 5, 9, 10, 20]), 7)

    def uids(self, *ranges: tuple[int, int]) -> list[int]:
        return list(self.state.uids_of(self.state.resolve_numbers(ranges)))

    def test_number_of_a_uid(self) -> None:
        self.assertEqual([self.state.number_of(uid) for uid in (3, 20, 4, 21)], [1, 5, None, None])

    def test_numbers_of_many_uids(self) -> None:
        self.assertEqual(list(self.state.numbers_of([4, 5, 20])), [2, 5])
        self.assertEqual(list(self.state.numbers_of(self.state.uids)), [1, 2, 3, 4, 5])
        self.state.uids = array("I", range(1, 1001))
        self.assertEqual(list(self.state.numbers_of([7, 1000, 2000])), [7, 1000])
        self.assertEqual(list(self.state.in_view([7, 1000, 2000])), [7, 1000])

    def test_sequence_sets(self) -> None:
        self.assertEqual(self.uids((2, 3)), [5, 9])
        self.assertEqual(self.uids((3, 2)), [5, 9])
        self.assertEqual(self.uids((4, STAR)), [10, 20])
        self.assertEqual(self.uids((STAR, 4)), [10, 20])
        self.assertEqual(self.uids((STAR, STAR)), [20])
        # Each message once, in order, however the set is written.
        self.assertEqual(self.uids((4, 5), (1, 2), (2, 4)), [3, 5, 9, 10, 20])

    def test_numbers_beyond_the_end(self) -> None:
        for ranges in (((6, 6),), ((1, 6),), ((6, STAR),)):
            self.assertRaises(NoSuchNumber, self.state.resolve_numbers, ranges)

    def test_star_in_an_empty_mailbox(self) -> None:
        state = SelectedState((), 0)
        self.assertRaises(NoSuchNumber, state.resolve_numbers, ((STAR, STAR),))
        self.assertRaises(NoSuchNumber, state.resolve_numbers, ((1, STAR),))
        self.assertEqual(state.resolve_uids(((1, STAR),)), [])

    def test_uid_sets(self) -> None:
        def uids(*ranges: tuple[int, int]) -> list[int]:
            return list(self.state.uids_of(self.state.resolve_uids(ranges)))

        self.assertEqual(uids((4, 9), (100, 200)), [5, 9])
        # RFC 3501 section 6.4.8: the last message is in n:* whatever n is.
        self.assertEqual(uids((100, STAR)), [20])
        self.assertEqual(uids((1, 4294967295)), [3, 5, 9, 10, 20])
        self.assertEqual(uids((6, 8)), [])

    def test_search_forgives_numbers_beyond_the_end(self) -> None:
        self.assertEqual(self.state.clamp_numbers(((4, 100), (7, 9))), [(3, 5)])

    def test_batches(self) -> None:
        state = SelectedState(array("I", range(10, 30)), 0)
        batches = list(state.batches([(0, 1), (2, 4), (5, 14), (15, 16)], 4))
        self.assertEqual([len(batch.uids) for batch in batches], [4, 4, 4, 1])
        numbers = [number for batch in batches for number in batch.numbers]
        self.assertEqual(numbers, [1, 3, 4, *range(6, 15), 16])
        self.assertEqual(
            [uid for batch in batches for uid in batch.uids], [number + 9 for number in numbers]
        )

    def test_lookups_in_views_with_and_without_gaps(self) -> None:
        views = (
            range(3, 10),
            array("I", range(1, 8)),
            array("I", [3, 4, 6, 9]),
            array("I", [5]),
            array("I"),
        )
        among = [(0, 2), (3, 5)]
        for view in views:
            state = SelectedState(view, 7)
            for chosen in range(2**9):
                uids = [uid for uid in range(2, 11) if chosen & 1 << uid - 2]
                known = [uid for uid in uids if uid in view]
                numbers = [list(view).index(uid) + 1 for uid in known]
                self.assertEqual(list(state.in_view(uids)), known)
                self.assertEqual(list(state.numbers_of(array("I", uids))), numbers)
                self.assertEqual(state.numbers_or_zero([0, *known, 0]), [0, *numbers, 0])
                spans = state.spans_of(uids, among)
                wanted = [uid for uid in known if list(view).index(uid) in (0, 1, 3, 4)]
                self.assertEqual(list(state.uids_of(spans)), wanted)
                self.assertEqual(merge(list(spans)), spans)

    def test_numbers_of_uids_in_any_order(self) -> None:
        self.patch(state, "PIECE", 3)
        dice = random.Random(5)
        for view in (range(1, 9), range(4, 12), array("I", [2, 3, 7, 8, 9, 20, 21]), array("I")):
            for _ in range(20):
                uids = dice.sample(list(view), dice.randrange(len(view) + 1))
                pieces = list(SelectedState(view, 1).numbers_in_order(array("I", uids)))
                numbers = [number for piece in pieces for number in piece]
                self.assertEqual(numbers, [list(view).index(uid) + 1 for uid in uids])
                self.assertLessEqual(max(map(len, pieces), default=0), 3)

    def test_many_uids_in_view(self) -> None:
        self.patch(state, "RUN", 4)
        dice = random.Random(9)
        for _ in range(300):
            view = array("I", sorted(dice.sample(range(1, 40), dice.randrange(1, 30))))
            gone = set(dice.sample(range(1, 45), dice.randrange(8)))
            uids = array("I", [uid for uid in range(1, 45) if uid not in gone])
            found = SelectedState(view, 1).in_view(uids)
            self.assertEqual(list(found), [uid for uid in view if uid not in gone])

    def test_positions_of_what_a_search_has_saved(self) -> None:
        self.patch(state, "PIECE", 3)
        dice = random.Random(4)
        views = [array("I", [uid for uid in range(1, 60) if uid % 7]), range(5, 40), array("I")]
        for view in views:
            selected = SelectedState(view, 1)
            for share in (0.0, 0.2, 0.8, 1.0):
                selected.saved = array("I", [u for u in range(1, 65) if dice.random() < share])
                there = [uid for uid in view if uid in set(selected.saved)]
                spans = selected.resolve_uids(SAVED)
                self.assertEqual(list(selected.uids_of(spans)), there)
                self.assertEqual(spans, merge(spans[::-1]))
                self.assertEqual(spans, runs([view.index(uid) for uid in there]))

    def test_runs(self) -> None:
        self.assertEqual(runs([]), [])
        self.assertEqual(runs([4]), [(4, 5)])
        self.assertEqual(runs([0, 1, 2]), [(0, 3)])
        self.assertEqual(runs([0, 2, 3, 7]), [(0, 1), (2, 4), (7, 8)])

    def test_merge(self) -> None:
        self.assertEqual(merge([(5, 7), (1, 2), (2, 3), (6, 6)]), [(1, 3), (5, 7)])


class RecentTests(SynchronousTestCase):
    def test_ranges(self) -> None:
        state = SelectedState([1, 2, 5, 6, 9], 0)
        state.add_recent(5, 6)
        state.add_recent(7, 9)
        state.add_recent(20, 19)
        self.assertEqual(state.recent, ((5, 9),))
        self.assertEqual(state.recent_count(), 3)
        self.assertEqual([state.is_recent(uid) for uid in (2, 5, 9)], [False, True, True])
        self.assertFalse(state.any_recent([1, 2]))
        state.add_recent(11, 12)
        self.assertEqual(state.recent, ((5, 9), (11, 12)))


def remove(session: SelectedState, size: int = 100) -> tuple[list[int], list[int]]:
    """Take what is gone out of the view; gives its numbers as they are told, and its UIDs."""
    numbers: list[int] = []
    uids: list[int] = []
    for piece in session.remove_gone(size):
        numbers += piece.expunged
        uids[:0] = piece.vanished
    return numbers, uids


class ChangeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.shared = array("I", [1, 2, 3, 4, 5])
        self.state = SelectedState(self.shared, 10)

    def test_vanished_messages_stay_in_view_until_told(self) -> None:
        self.state.absorb(changes(11, gone=(2, 4)))
        self.assertEqual(self.state.announce(), (None, None))
        self.assertEqual(list(self.state.uids), [1, 2, 3, 4, 5])
        self.assertTrue(self.state.pending)
        # Descending, so each number is right when it is sent.
        self.assertEqual(remove(self.state), ([4, 2], [2, 4]))
        self.assertEqual(list(self.state.uids), [1, 3, 5])
        self.assertFalse(self.state.pending)

    def test_many_vanished_messages(self) -> None:
        state = SelectedState(array("I", range(1, 1001)), 0)
        state.absorb(changes(1, gone=tuple(range(1, 1001, 2))))
        self.assertEqual(remove(state)[0], list(range(999, 0, -2)))
        self.assertEqual(list(state.uids), list(range(2, 1001, 2)))

    def test_any_number_of_vanished_messages(self) -> None:
        self.patch(state, "FEW", 4)
        dice = random.Random(3)
        for _ in range(200):
            view = sorted(dice.sample(range(1, 40), dice.randrange(1, 30)))
            if dice.random() < 0.5:
                view = list(range(view[0], view[-1] + 1))
            session = SelectedState(array("I", view), 0)
            left = view
            for modseq in (1, 2):
                gone = sorted(dice.sample(view, dice.randrange(len(view) + 1)))
                session.absorb(changes(modseq, gone=tuple(gone)))
                left = [uid for uid in left if uid not in gone]
            missing = [uid for uid in view if uid not in left]
            self.assertEqual(set(session.gone_among(view[:5])), set(missing).intersection(view[:5]))
            self.assertFalse(session.gone_among(left))
            numbers = [view.index(uid) + 1 for uid in missing]
            size = dice.choice((1, 2, 3, 7, 50))
            self.assertEqual(remove(session, size), (numbers[::-1], missing))
            self.assertEqual(list(session.uids), left)
            self.assertFalse(session.pending)

    def test_the_shared_sequence_is_never_changed(self) -> None:
        self.state.absorb(changes(11, added=(6,), gone=(1,)))
        remove(self.state)
        self.assertEqual(list(self.shared), [1, 2, 3, 4, 5])
        self.assertEqual(list(self.state.uids), [2, 3, 4, 5, 6])

    def test_a_session_in_step_shares_again(self) -> None:
        self.state.absorb(changes(11, added=(6,)))
        self.state.announce()
        same = array("I", [1, 2, 3, 4, 5, 6])
        self.state.adopt(same)
        self.assertIs(self.state.uids, same)
        for other in ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 7], [2, 3, 4, 5, 6]):
            self.state.adopt(array("I", other))
            self.assertIs(self.state.uids, same)

    def test_messages_of_which_none_is_missing_are_a_range(self) -> None:
        self.state.absorb(changes(11, added=(6, 7)))
        self.assertEqual(self.state.uids, range(1, 8))
        self.state.absorb(changes(12, added=(9,)))
        self.assertEqual(list(self.state.uids), [1, 2, 3, 4, 5, 6, 7, 9])
        self.assertEqual(self.state.uids_of([(1, 4)]), range(2, 5))
        self.assertEqual(list(self.state.uids_of([(5, 8)])), [6, 7, 9])
        self.assertEqual(list(self.state.uids_of([(0, 2), (6, 8)])), [1, 2, 7, 9])
        # An array of them, too.
        self.state.absorb(changes(13, added=(11,)))
        self.assertEqual(self.state.uids_of([(0, 7)]), range(1, 8))

    def test_messages_that_are_in_view_already_are_not_new(self) -> None:
        # Their flags may have changed since they were listed.
        self.assertEqual(list(self.state.absorb(changes(11, added=(5,)))), [5])
        self.assertIsNone(self.state.announce().exists)

    def test_new_messages(self) -> None:
        self.state.absorb(changes(11, added=(8, 9)))
        self.state.add_recent(9, 9)
        news = self.state.announce()
        self.assertEqual((news.exists, news.recent), (7, 1))
        self.assertIsNone(self.state.announce().exists)

    def test_unknown_vanished_messages_are_not_told(self) -> None:
        self.state.absorb(changes(11, gone=(7, 100)))
        self.assertFalse(self.state.pending)

    def test_changed_messages_out_of_view_are_left_out(self) -> None:
        self.assertEqual(list(self.state.absorb(changes(12, changed=(2, 5, 7)))), [2, 5])
        self.assertEqual(self.state.modseq, 12)

    def test_own_changes_are_no_news_but_later_ones_are(self) -> None:
        mine = MessageInfo(2, frozenset(), 0, 0, 11)
        self.state.note_own([mine])
        self.assertFalse(self.state.is_news(mine))
        self.assertTrue(self.state.is_news(mine._replace(modseq=12)))
        self.state.forget_own()
        self.assertTrue(self.state.is_news(mine))

    def test_others_changes(self) -> None:
        self.assertEqual(self.state.others_changes([2, 3], 12), [2, 3])
        self.state.note_own(MessageInfo(uid, frozenset(), 0, 0, 11) for uid in (1, 2))
        self.state.note_own([MessageInfo(3, frozenset(), 0, 0, 12)])
        # Between both, somebody else may have changed what this session had changed before.
        self.assertEqual(self.state.others_changes([1, 2, 3, 4], 12), [1, 2, 4])
        self.assertEqual(self.state.others_changes([2, 3], 13), [2, 3])

    def test_keywords_are_told_once(self) -> None:
        self.assertEqual(self.state.new_keywords(["\\Seen", "junk"], ["Junk"]), [])
        self.assertEqual(self.state.new_keywords(["b"], ["Junk"]), ["b"])
        self.assertEqual(self.state.new_keywords(["B"], ["Junk"]), [])
        self.assertEqual(self.state.new_keywords(["a"], ["Junk"]), ["a", "b"])
