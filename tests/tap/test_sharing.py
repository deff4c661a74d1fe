"""``--other-users``, ``--shared``, ``--share-with-anyone``."""

from __future__ import annotations

from typing import Any

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from mailkit.store.memory import MemoryStore
from mailkit.store.sharing.names import SharingSettings
from mailkit.tap import imap, mail
from mailkit.tap.errors import SettingError
from mailkit.tap.sharing import parse_sharing
from mailkit.tap.stores import parse_store


class SharingOptionTests(SynchronousTestCase):
    def parse(self, *arguments: str) -> Any:
        options = imap.Options()
        options.parseOptions(["--listen", "tcp:0", "--store", "memory:", *arguments])
        return options

    def test_nothing_said(self) -> None:
        self.assertIsNone(parse_sharing(self.parse()))
        self.assertEqual(parse_store("memory:")().sharing, SharingSettings())

    def test_settings_reach_the_store(self) -> None:
        options = self.parse("--other-users", "Team", "--shared", "All", "--share-with-anyone")
        settings = SharingSettings("Team", "All", anyone=True)
        self.assertEqual(parse_sharing(options), settings)
        for spec in ("memory:", f"sqlite:{self.mktemp()}"):
            opener = parse_store(spec, settings)
            if spec == "memory:":
                self.assertEqual(opener().sharing, settings)

    def test_wrong_names(self) -> None:
        for wrong in (("--other-users", "a/b"), ("--shared", "INBOX"), ("--shared", "")):
            with self.assertRaises(UsageError, msg=str(wrong)):
                self.parse(*wrong)

    def test_other_stores_have_names_of_their_own(self) -> None:
        name = f"{MemoryStore.__module__}.MemoryStore"
        with self.assertRaises(SettingError):
            parse_store(name, SharingSettings(anyone=True))

    def test_in_a_settings_file(self) -> None:
        path = self.mktemp()
        with open(path, "w") as file:
            file.write('store = "memory:"\nimap = ["tcp:0"]\nother-users = "Team"\n')
            file.write("share-with-anyone = true\n")
        options = mail.Options()
        options.parseOptions(["--config", path])
        self.assertEqual(parse_sharing(options), SharingSettings("Team", anyone=True))
