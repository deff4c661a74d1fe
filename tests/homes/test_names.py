"""Names of mailboxes and messages as those of files."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.homes.names import (
    MAX_NAME,
    can_be_named,
    level_name,
    message_name,
    read_level_name,
    read_message_name,
    read_subject,
)

LEVELS = (
    *("INBOX", "Grüße", "", ".", "..", "%", "%2E", "%00", "\0", "a/b", "a\r\nb", "\x7f", "\x85"),
    *("5-x.eml", "5-x%2Eeml", "7.eml", "x.eml", "\u2028", "\ud800", "..x", " ", "~", "%~", "."),
)


class LevelTests(SynchronousTestCase):
    def test_every_level_has_a_safe_name_of_its_own(self) -> None:
        levels = [*LEVELS, *map(chr, range(256)), "x" * 300, "x" * 301, "\u20ac" * 100, "\n" * 90]
        names = {level_name(level) for level in levels}
        self.assertEqual(len(names), len(set(levels)))
        for name in names:
            self.assertTrue(can_be_named(name), name)
            self.assertNotIn("/", name)
            self.assertNotIn(name, ("", ".", ".."))
            self.assertIsNone(read_message_name(name))
            self.assertLessEqual(len(name.encode()), MAX_NAME)

    def test_names_lead_back(self) -> None:
        for level in LEVELS:
            if level != "\ud800":
                self.assertEqual(read_level_name(level_name(level)), level)
        self.assertIsNone(read_level_name(level_name("x" * 300)))

    def test_one_level_has_one_name(self) -> None:
        for name in ("%49NBOX", "a%2fb", "%2E%2E%2E", "a%", "%zz", "%FF"):
            self.assertIsNone(read_level_name(name), name)


class MessageTests(SynchronousTestCase):
    def test_names(self) -> None:
        for subject, name in (
            ("Hello", "7-Hello.eml"),
            ("", "7.eml"),
            ("../../etc/passwd", "7-etc passwd.eml"),
            ("a\r\nb\0c\x1b[2Jd", "7-a b c [2Jd.eml"),
            (" . ", "7.eml"),
            ('Re: "x" <y>|*?\\', "7-Re x y.eml"),
            ("\u202egnp.exe", "7-gnp.exe.eml"),
            ("Gru\u0308\u00dfe", "7-Gr\u00fc\u00dfe.eml"),
            ("\ud800", "7.eml"),
        ):
            self.assertEqual(message_name(7, subject), name)
            self.assertEqual(read_message_name(name), 7)
        for subject in ("x" * 1000, "\U0001f600" * 1000):
            name = message_name(4294967295, subject)
            self.assertLessEqual(len(name.encode()), MAX_NAME)
            self.assertEqual(read_message_name(name), 4294967295)

    def test_what_is_no_message(self) -> None:
        for name in (
            "",
            "x.eml",
            "-1.eml",
            "7",
            "7.EML",
            "7x.eml",
            "\u0667.eml",
            "1" * 11 + ".eml",
        ):
            self.assertIsNone(read_message_name(name), name)

    def test_subjects(self) -> None:
        self.assertEqual(
            read_subject(b"From: x\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n"), "Grüße"
        )
        self.assertEqual(read_subject(b"From: x\r\n\r\nSubject: no\r\n"), "")
