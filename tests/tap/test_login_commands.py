"""``mailkit account app-password`` and ``main-password``, over a store in SQLite."""

from __future__ import annotations

import re
from typing import Any

from mailkit.auth.app_passwords import NOTE_SECONDS
from mailkit.coroutines import run
from mailkit.identity import MAX_APP_PASSWORDS
from mailkit.store.sqlite import SQLiteDirectory
from tests.tap.test_command import ANN, CommandTestCase


class AppPasswordTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.add()

    def directory(self) -> Any:
        directory = SQLiteDirectory(self.path)
        self.addCleanup(directory.close)
        return directory

    def new(self, *options: str) -> str:
        output = self.succeed("account", "app-password", "add", ANN, *options)
        shown = re.search(r"^[a-z2-9]{4}(?:-[a-z2-9]{4}){5}$", output, re.MULTILINE)
        assert shown is not None, output
        return shown[0]

    def test_life_of_one(self) -> None:
        shown = self.new("--label", "Ann's phone", "--scopes", "smtp, imap", "--expires", "30")
        listed = self.succeed("account", "app-password", "list", ANN)
        self.assertRegex(
            listed,
            rf"\A{shown[:4]}; imap,smtp; made \d{{4}}-\d\d-\d\d; until \d{{4}}-\d\d-\d\d;"
            r" never used; Ann's phone\n\Z",
        )
        # It is shown once, and nothing keeps it.
        self.assertNotIn(shown, listed)
        self.assertNotIn(shown.replace("-", ""), listed)
        use = {"used": int(NOTE_SECONDS), "address": "192.0.2.1", "protocol": "imap"}
        directory = self.directory()
        noting = directory.note_app_password_use(account=ANN, prefix=shown[:4], **use)
        self.successResultOf(run(noting))
        listed = self.succeed("account", "app-password", "list", ANN)
        self.assertIn("last used 1970-01-02 from 192.0.2.1 by imap", listed)
        removed = self.succeed("account", "app-password", "remove", ANN, shown[:4])
        self.assertIn(f"Removed {shown[:4]} of {ANN}.", removed)
        self.assertEqual(self.succeed("account", "app-password", "list", ANN), "")

    def test_until_a_date(self) -> None:
        self.new("--expires", "2090-01-31")
        self.assertIn("until 2090-01-31", self.succeed("account", "app-password", "list", ANN))
        # Good on all of that day.
        (found,) = self.successResultOf(run(self.directory().list_app_passwords(account=ANN)))
        self.assertEqual(found.expires, 3789590400)

    def test_expired_ones_are_told(self) -> None:
        shown = self.new("--expires", "1")
        directory = self.directory()
        (found,) = self.successResultOf(run(directory.list_app_passwords(account=ANN)))
        self.successResultOf(run(directory.remove_app_password(account=ANN, prefix=shown[:4])))
        old = found._replace(expires=86_400)
        self.successResultOf(run(directory.add_app_password(account=ANN, password=old)))
        self.assertIn("expired 1970-01-01", self.succeed("account", "app-password", "list", ANN))

    def test_slips(self) -> None:
        command = ("account", "app-password")
        for options, wanted in (
            (("--scopes", "imap,mail"), "'mail' is none of imap"),
            (("--scopes", ","), "good for nothing"),
            (("--expires", "soon"), "neither a number of days nor a date"),
            (("--expires", "2001-01-31"), "is past"),
            (("--expires", "0"), "is past"),
            (("--expires", "9" * 30), "too far away"),
            (("--expires", "9999-12-31"), "neither a number"),
            (("--label", "a\nb"), "one line"),
            (("--label", "a" * 200), "one line"),
        ):
            self.refuse(*command, "add", ANN, *options, wanted=wanted, code=2)
        self.refuse(*command, "add", "eve@example.org", wanted="no such account")
        self.refuse(*command, "list", "eve@example.org", wanted="no such account")
        self.refuse(*command, "remove", ANN, "zzzz", wanted="No such app password")

    def test_there_is_an_end(self) -> None:
        for _ in range(MAX_APP_PASSWORDS):
            self.new()
        self.refuse("account", "app-password", "add", ANN, wanted="at most 50 app passwords")

    def test_a_store_without_them(self) -> None:
        self.store = "mailkit.testing.sample_message"
        self.refuse("account", "app-password", "list", ANN, wanted="IMailStore", code=2)


class MainPasswordTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.add()

    def test_setting(self) -> None:
        command = ("account", "main-password", ANN)
        self.assertEqual(self.succeed(*command), "taken for: everything\n")
        self.assertEqual(self.succeed(*command, "--only-for", "web"), "taken for: web\n")
        self.assertEqual(self.succeed(*command), "taken for: web\n")
        self.assertEqual(self.succeed(*command, "--only-for", "none"), "taken for: nothing\n")
        self.assertEqual(self.succeed(*command, "--everywhere"), "taken for: everything\n")

    def test_slips(self) -> None:
        command = ("account", "main-password", ANN)
        self.refuse(*command, "--only-for", "post", wanted="'post' is none of", code=2)
        self.refuse(*command, "--only-for", "web", "--everywhere", wanted="not both", code=2)
        self.refuse("account", "main-password", "eve@example.org", wanted="no such account")
