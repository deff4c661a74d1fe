"""Value objects: what of them is more than fields."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit import errors
from mailkit.errors import MailError, TemporaryFailure
from mailkit.model import (
    INBOX,
    NEW_ACCOUNT_MAILBOXES,
    SUMMARY_FIELDS,
    SYSTEM_FLAGS,
    ConnectionInfo,
    Envelope,
    Path,
    Recipient,
)


class PathTests(SynchronousTestCase):
    def test_written(self) -> None:
        # RFC 5321 section 4.1.2
        for path, text in (
            (Path("ann", "example.org"), "ann@example.org"),
            (Path("a.b+c", "example.org"), "a.b+c@example.org"),
            (Path("Postmaster", ""), "Postmaster"),
            (Path("ann", "[127.0.0.1]"), "ann@[127.0.0.1]"),
            (Path("jürgen", "bücher.example"), "jürgen@bücher.example"),
            (Path("a b", "example.org"), '"a b"@example.org'),
            (Path("a@b", "example.org"), '"a@b"@example.org'),
            (Path('a"b\\c', "example.org"), '"a\\"b\\\\c"@example.org'),
            (Path(".a", "example.org"), '".a"@example.org'),
            (Path("a.", "example.org"), '"a."@example.org'),
            (Path("a..b", "example.org"), '"a..b"@example.org'),
            (Path("a,b", "example.org"), '"a,b"@example.org'),
            (Path("", "example.org"), '""@example.org'),
            (Path("a\n", "example.org"), '"a\n"@example.org'),
            (Path("", ""), ""),
        ):
            self.assertEqual(str(path), text)

    def test_all_of_atext_needs_no_quotes(self) -> None:
        for code in range(33, 127):
            character = chr(code)
            quoted = str(Path(character, "x")).startswith('"')
            self.assertEqual(quoted, character in '"(),.:;<>@[\\]', character)

    def test_null_path(self) -> None:
        self.assertTrue(Path("", "").is_null)
        self.assertFalse(Path("Postmaster", "").is_null)
        self.assertFalse(Path("", "example.org").is_null)

    def test_ascii(self) -> None:
        self.assertTrue(Path("ann", "example.org").is_ascii)
        self.assertFalse(Path("jürgen", "example.org").is_ascii)
        self.assertFalse(Path("ann", "bücher.example").is_ascii)


class ConstantTests(SynchronousTestCase):
    def test_summary_fields_are_in_lower_case(self) -> None:
        self.assertTrue(all(name == name.lower() for name in SUMMARY_FIELDS))
        self.assertTrue({b"from", b"subject", b"date", b"references"} <= SUMMARY_FIELDS)

    def test_recent_is_no_flag_to_be_set(self) -> None:
        self.assertNotIn("\\Recent", SYSTEM_FLAGS)

    def test_new_accounts_have_what_mail_programs_look_for(self) -> None:
        self.assertEqual(next(iter(NEW_ACCOUNT_MAILBOXES)), INBOX)
        uses = {use for use in NEW_ACCOUNT_MAILBOXES.values() if use}
        self.assertEqual(uses, {"\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash"})


class EnvelopeTests(SynchronousTestCase):
    def test_each_has_recipients_of_its_own(self) -> None:
        one, other = (
            Envelope(ConnectionInfo("smtp"), "client.example", Path("", "")) for _ in range(2)
        )
        one.recipients.append(Recipient(Path("ann", "example.org")))
        self.assertEqual(other.recipients, [])


class ErrorTests(SynchronousTestCase):
    def test_each_error_has_a_text_for_people(self) -> None:
        classes = [
            value
            for value in vars(errors).values()
            if isinstance(value, type) and issubclass(value, MailError)
        ]
        self.assertGreater(len(classes), 20)
        for error in classes:
            text = error().text
            self.assertEqual(str(error()), text)
            self.assertTrue(text and text.isascii() and "\n" not in text)
            self.assertEqual(error("other").text, "other")

    def test_temporary(self) -> None:
        self.assertTrue(TemporaryFailure().temporary)
        self.assertFalse(MailError().temporary)
