"""Character classes, each for all 256 octets."""

import re

from twisted.trial.unittest import SynchronousTestCase

from mailkit.wire import chars


class CharacterClassTests(SynchronousTestCase):
    def check(self, found: frozenset[int], allowed: bytes) -> None:
        """The class has exactly the octets that the ABNF lists, given here by hand."""
        self.assertEqual(bytes(sorted(found)), bytes(sorted(allowed)))

    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    digits = b"0123456789"

    def test_core_rules(self) -> None:
        self.check(chars.ALPHA, self.letters)
        self.check(chars.DIGIT, self.digits)
        self.check(chars.CTL, bytes(range(32)) + b"\x7f")
        self.check(chars.VCHAR, bytes(range(33, 127)))
        self.check(chars.CHAR, bytes(range(1, 128)))

    def test_atext(self) -> None:
        self.check(chars.ATEXT, self.letters + self.digits + b"!#$%&'*+-/=?^_`{|}~")

    def test_qtext_smtp(self) -> None:
        # %d32-33 / %d35-91 / %d93-126
        self.check(chars.QTEXT_SMTP, bytes([32, 33, *range(35, 92), *range(93, 127)]))

    def test_imap_atoms(self) -> None:
        # RFC 3501 section 9
        specials = b'(){ %*"\\]'
        atom = bytes(octet for octet in range(33, 127) if octet not in specials)
        self.check(chars.ATOM_CHAR, atom)
        self.check(chars.ASTRING_CHAR, atom + b"]")
        self.check(chars.TAG_CHAR, (atom + b"]").replace(b"+", b""))
        self.check(chars.LIST_CHAR, atom + b"]%*")
        self.check(chars.ATOM_SPECIALS, specials + bytes(range(32)) + b"\x7f")

    def test_del_is_no_atom_character(self) -> None:
        self.assertNotIn(0x7F, chars.ATOM_CHAR)


class OctetClassTests(SynchronousTestCase):
    def test_pattern_matches_just_the_octets(self) -> None:
        for octets in (
            chars.ATOM_CHAR,
            chars.QTEXT_SMTP,
            chars.CTL,
            chars.CHAR,
            frozenset(b"^-]\\["),
            frozenset(range(256)),
        ):
            pattern = re.compile(b"[" + chars.octet_class(octets) + b"]", re.DOTALL)
            for octet in range(256):
                found = pattern.fullmatch(bytes([octet])) is not None
                self.assertEqual(found, octet in octets, octet)
