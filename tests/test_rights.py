"""Rights and lists of them (RFC 4314 section 2)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.model import DELETED, FLAGGED, SEEN
from mailkit.rights import (
    ALL_RIGHTS,
    Grant,
    RightsOp,
    UnknownRight,
    changeable,
    changed_within,
    effective_rights,
    format_rights,
    identifiers_of,
    parse_rights,
    right_for,
)

ANN = "ann@example.org"


class TextTests(SynchronousTestCase):
    def test_parse(self) -> None:
        for text, rights in (
            ("", ""),
            ("lr", "lr"),
            ("rlrl", "lr"),
            ("c", "kx"),
            ("d", "te"),
            ("lrswipcdan", "lrswipkxtean"),
        ):
            self.assertEqual(parse_rights(text), frozenset(rights), text)

    def test_every_other_octet_is_refused(self) -> None:
        for octet in range(256):
            if chr(octet) not in "lrswipkxteacdn":
                with self.assertRaises(UnknownRight, msg=octet):
                    parse_rights("l" + chr(octet))

    def test_format(self) -> None:
        self.assertEqual(format_rights(ALL_RIGHTS), "lrswipkxtean")
        for rights, text in (
            ("", ""),
            ("lrswipkxtean", "lrswipkxtecdan"),
            ("k", "kc"),
            ("x", "xc"),
            ("t", "td"),
            ("ae", "eda"),
            ("rn", "rn"),
            ("tan", "tdan"),
        ):
            self.assertEqual(format_rights(frozenset(rights), obsolete=True), text)
            self.assertEqual(parse_rights(format_rights(frozenset(rights))), frozenset(rights))

    def test_operations(self) -> None:
        old, given = frozenset("lr"), frozenset("rs")
        self.assertEqual(RightsOp.ADD.apply(old, given), frozenset("lrs"))
        self.assertEqual(RightsOp.REMOVE.apply(old, given), frozenset("l"))
        self.assertEqual(RightsOp.REPLACE.apply(old, given), given)


class EffectTests(SynchronousTestCase):
    def test_all_that_is_granted_less_what_is_taken_away(self) -> None:
        entries = [
            Grant(ANN, frozenset("lrw")),
            Grant("anyone", frozenset("l")),
            Grant("@example.org", frozenset("si")),
            Grant("@example.net", frozenset("x")),
            Grant("bob@example.org", frozenset("k")),
            Grant("-" + ANN, frozenset("w")),
            Grant("-@example.org", frozenset("i")),
            Grant("-bob@example.org", frozenset("l")),
        ]
        self.assertEqual(effective_rights(entries, identifiers_of(ANN)), frozenset("lrs"))
        self.assertEqual(effective_rights([], identifiers_of(ANN)), frozenset())

    def test_flags(self) -> None:
        for flag, right in (("\\Seen", "s"), ("\\seen", "s"), ("\\DELETED", "t"),
                            ("\\Flagged", "w"), ("Seen", "w"), ("$Junk", "w")):  # fmt: skip
            self.assertEqual(right_for(flag), right)
        flags = frozenset({SEEN, DELETED, FLAGGED, "x"})
        self.assertEqual(changeable(flags, frozenset("w")), {FLAGGED, "x"})
        self.assertEqual(changed_within(flags, frozenset({"y"}), frozenset("sw")), {DELETED, "y"})
