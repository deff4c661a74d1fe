"""RFC 7505 section 3."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.wire.nullmx import is_null_mx


class NullMXTests(SynchronousTestCase):
    def test_one_record_of_the_root(self) -> None:
        self.assertTrue(is_null_mx([(0, ".")]))
        self.assertTrue(is_null_mx([(0, b"")]))
        self.assertTrue(is_null_mx([(10, "")]))

    def test_others(self) -> None:
        for records in ([], [(0, "mx.example.org")], [(0, "."), (5, "mx.example")]):
            self.assertFalse(is_null_mx(records), records)
