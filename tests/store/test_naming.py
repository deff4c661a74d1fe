"""Mailbox names: canonical form, validity, order."""

from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import InvalidMailboxName
from mailkit.store.naming import (
    MAX_DEPTH,
    MAX_NAME_LENGTH,
    canonical_name,
    is_child,
    moved_name,
    parents,
    sort_key,
    validate_name,
)


class CanonicalNameTests(SynchronousTestCase):
    def test_inbox_in_any_case(self) -> None:
        for name in ("INBOX", "inbox", "Inbox", "iNbOx"):
            self.assertEqual(canonical_name(name), "INBOX")

    def test_level_above_children_of_inbox(self) -> None:
        self.assertEqual(canonical_name("inbox/Work"), "INBOX/Work")
        self.assertEqual(canonical_name("Inbox/inbox"), "INBOX/inbox")

    def test_other_names_stay(self) -> None:
        for name in ("Inboxes", "work/inbox", "", "\u0131nbox", "Sent"):
            self.assertEqual(canonical_name(name), name)


class ValidateNameTests(SynchronousTestCase):
    def test_good_names_come_back_in_canonical_form(self) -> None:
        self.assertEqual(validate_name("inbox/a b"), "INBOX/a b")
        for name in ("Entwürfe", "台北/日本語", "50% off*", "..", "a.b", "#news", 'qu"ote\\', "🙂"):
            self.assertEqual(validate_name(name), name)

    def test_empty_levels(self) -> None:
        for name in ("", "/", "/a", "a/", "a//b"):
            self.assertRaises(InvalidMailboxName, validate_name, name)

    def test_control_characters(self) -> None:
        for bad in ("\0", "\r", "\n", "\t", "\x1f", "\x7f", "\x85", "\u2028", "\ud800"):
            self.assertRaises(InvalidMailboxName, validate_name, "a" + bad + "b")

    def test_length_counts_octets(self) -> None:
        self.assertEqual(len(validate_name("a" * MAX_NAME_LENGTH)), MAX_NAME_LENGTH)
        self.assertRaises(InvalidMailboxName, validate_name, "a" * (MAX_NAME_LENGTH + 1))
        self.assertRaises(InvalidMailboxName, validate_name, "ü" * (MAX_NAME_LENGTH // 2 + 1))

    def test_depth(self) -> None:
        validate_name("/".join("a" * MAX_DEPTH))
        self.assertRaises(InvalidMailboxName, validate_name, "/".join("a" * (MAX_DEPTH + 1)))


class HierarchyTests(SynchronousTestCase):
    def test_parents_topmost_first(self) -> None:
        self.assertEqual(parents("a/b/c"), ["a", "a/b"])
        self.assertEqual(parents("a"), [])

    def test_is_child_at_any_depth(self) -> None:
        self.assertTrue(is_child("a/b/c", "a"))
        self.assertTrue(is_child("a/b", "a"))
        self.assertFalse(is_child("a", "a"))
        self.assertFalse(is_child("ab/c", "a"))

    def test_moved_name(self) -> None:
        self.assertEqual(moved_name("a/b/c", "a/b", "x"), "x/c")
        self.assertEqual(moved_name("a/b", "a/b", "x/y"), "x/y")

    def test_order(self) -> None:
        expected = ["INBOX", "INBOX/z", "Archive", "Archive/1", "archive", "Archive-old", "sent"]
        self.assertEqual(sorted(set(expected), key=sort_key), expected)
