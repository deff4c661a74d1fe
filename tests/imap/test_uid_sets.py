"""UIDs as sets: the shortest ones that keep their order."""

from __future__ import annotations

import random
from array import array
from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap.render import uid_set


class UIDSetTests(SynchronousTestCase):
    def test_sets(self) -> None:
        for uids, wanted in (
            ([], b""),
            ([7], b"7"),
            ([3, 4, 5], b"3:5"),
            ([1, 2, 4, 6, 7], b"1:2,4,6:7"),
            # RFC 4315 section 3: the order tells which copy is which.
            ([5, 4, 3], b"5,4,3"),
            ([9, 1, 2, 2, 3], b"9,1:2,2:3"),
            (range(10, 14), b"10:13"),
            (range(10, 14, 2), b"10,12"),
            (range(0), b""),
            (iter([1, 2]), b"1:2"),
        ):
            self.assertEqual(uid_set(uids), wanted)

    def test_they_name_what_they_are_made_of(self) -> None:
        dice = random.Random(7)
        for _ in range(200):
            uids = [dice.randrange(1, 30) for _ in range(dice.randrange(1, 40))]
            if dice.random() < 0.5:
                uids.sort()
            named: list[int] = []
            parts = uid_set(array("I", uids)).split(b",")
            for part in parts:
                first, _, last = part.partition(b":")
                named.extend(range(int(first), int(last or first) + 1))
            self.assertEqual(named, uids)
            breaks = sum(b != a + 1 for a, b in pairwise(uids))
            self.assertEqual(len(parts), breaks + 1)
