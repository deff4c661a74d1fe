"""The journal's end: what of it counts after a crash, a rollback, a write that was cut short."""

from __future__ import annotations

import os
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from mailkit.store.sqlite.journal import Journal, Note, journal_name, read_notes

FIRST: Note = ["account", "ann@example.org"]
SECOND: Note = ["account", "bob@example.org"]
THIRD: Note = ["no-account", "bob@example.org"]


class JournalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.journal = Journal(self.directory)
        self.addCleanup(self.journal.close)
        self.journal.open(1, 0)

    @property
    def path(self) -> str:
        return os.path.join(self.directory, journal_name(1))

    def notes(self) -> list[Note]:
        return [note for _, note in read_notes(self.path)]

    def commit(self, note: Note, lsn: int) -> int:
        """Append a batch that the index takes; gives where it ends."""
        self.journal.append([note], lsn, lsn)
        self.journal.finish()
        return self.journal.size

    def test_a_batch_that_is_rolled_back_leaves_nothing(self) -> None:
        end = self.commit(FIRST, 1)
        self.journal.append([SECOND], 2, 2)
        self.journal.rollback()
        self.assertEqual((self.notes(), self.journal.size), ([FIRST], end))
        self.assertEqual(os.path.getsize(self.path), end)
        self.commit(THIRD, 2)
        self.assertEqual(self.notes(), [FIRST, THIRD])

    def test_what_the_index_did_not_take_is_cut_off(self) -> None:
        end = self.commit(FIRST, 1)
        self.journal.append([SECOND], 2, 2)
        self.journal.open(1, end)
        self.assertEqual(self.notes(), [FIRST])
        self.assertEqual(os.path.getsize(self.path), end)

    def test_it_goes_on_behind_what_a_loss_of_power_left(self) -> None:
        # It is never flushed on its own, so the index may have taken more than is there.
        end = self.commit(FIRST, 1)
        behind = self.commit(SECOND, 2)
        os.truncate(self.path, end)
        self.journal.open(1, behind)
        self.assertEqual(self.journal.size, end)
        self.commit(THIRD, 3)
        self.assertEqual(self.notes(), [FIRST, THIRD])
        self.journal.rollback()
        self.assertEqual(self.notes(), [FIRST, THIRD])

    def test_a_short_write_is_finished(self) -> None:
        write = os.pwrite

        def write_little(descriptor: int, data: bytes, position: int) -> int:
            return write(descriptor, data[:7], position)

        with mock.patch("os.pwrite", write_little):
            self.journal.append([FIRST, SECOND], 1, 1)
        self.assertEqual(self.notes(), [FIRST, SECOND])
        self.assertEqual(self.journal.size, os.path.getsize(self.path))
