"""``mailkit acl``, over a store in SQLite."""

from __future__ import annotations

from mailkit.rights import ALL_RIGHTS
from tests.tap.test_command import ANN, CommandTestCase

BOB = "bob@example.org"


class AccessCommandTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.add()
        self.add(BOB)

    def test_entries(self) -> None:
        for arguments, entries in (
            (("set", ANN, "INBOX", "Bob@example.org", "lrd"), f"{BOB} lrte\n"),
            (("set", ANN, "inbox", BOB, "+s"), f"{BOB} lrste\n"),
            (("set", ANN, "INBOX", BOB, "-d"), f"{BOB} lrs\n"),
            (("set", ANN, "INBOX", "-" + BOB, "s"), f"{BOB} lrs\n-{BOB} s\n"),
            (("set", ANN, "INBOX", "anyone", "l"), f"anyone l\n{BOB} lrs\n-{BOB} s\n"),
            (("remove", ANN, "INBOX", "-" + BOB), f"anyone l\n{BOB} lrs\n"),
            (("set", ANN, "INBOX", "anyone", ""), f"{BOB} lrs\n"),
            (("remove", ANN, "INBOX", BOB), ""),
        ):
            self.succeed("acl", *arguments)
            self.assertEqual(self.succeed("acl", "list", ANN, "INBOX"), entries, arguments)

    def test_refusals(self) -> None:
        for arguments, wanted, code in (
            (("set", ANN, "INBOX", BOB, "lz"), "There is no right 'z'", 2),
            (("set", ANN, "INBOX", BOB), "Missing argument", 2),
            (("set", ANN, "INBOX", "eve@example.org", "l"), "There is no user", 1),
            (("set", ANN, "Nothing", BOB, "l"), f"{ANN}, Nothing: No such mailbox", 1),
            (("set", "eve@example.org", "INBOX", BOB, "l"), "No such account", 1),
            (("list", ANN, "Nothing"), "No such mailbox", 1),
            (("public", "eve@example.org"), "No such account", 1),
            (("public", "--off"), "--off needs an ACCOUNT", 2),
        ):
            self.refuse("acl", *arguments, wanted=wanted, code=code)

    def test_public_accounts(self) -> None:
        self.assertEqual(self.succeed("acl", "public"), "")
        self.succeed("acl", "public", "Ann@Example.org")
        self.assertEqual(self.succeed("acl", "public"), f"{ANN}\n")
        self.succeed("acl", "public", ANN, "--off")
        self.assertEqual(self.succeed("acl", "public"), "")

    def test_help(self) -> None:
        text = self.succeed("acl", "--help")
        self.assertIn("mailkit acl set ann@example.org Plans", text)
        for letter in ALL_RIGHTS:
            self.assertRegex(text, rf"\s{letter} [a-z]+\b")
        self.assertNotIn("no effect", text)
