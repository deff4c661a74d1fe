"""The form in which names of mailboxes are kept (RFC 5198)."""

from __future__ import annotations

import unicodedata
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import InvalidMailboxName
from mailkit.store.naming import MAX_NAME_LENGTH, canonical_name, validate_name
from mailkit.wire.netunicode import MAX_TEXT, net_unicode


class NetUnicodeTests(SynchronousTestCase):
    def test_one_way_to_write_a_letter(self) -> None:
        self.assertEqual(net_unicode("A\u0308pfel"), "\xc4pfel")
        self.assertEqual(net_unicode("Apfel"), "Apfel")

    def test_no_work_for_what_is_too_long(self) -> None:
        # Normal forms sort marks in quadratic time.
        marks = "a" + "\u0301\u0316" * MAX_TEXT
        with patch.object(unicodedata, "normalize", side_effect=AssertionError):
            self.assertEqual(net_unicode(marks), marks)
            self.assertEqual(canonical_name(marks), marks)
            self.assertRaises(InvalidMailboxName, validate_name, marks)

    def test_longest_name_in_its_longest_form(self) -> None:
        name = "\u0390" * (MAX_NAME_LENGTH // 2)
        apart = unicodedata.normalize("NFD", name)
        self.assertEqual(len(apart), 3 * len(name))
        self.assertEqual(validate_name(apart), name)
