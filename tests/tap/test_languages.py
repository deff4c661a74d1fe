"""``[queue.languages]``: whose reports are written in which language."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.tap.errors import SettingError
from mailkit.tap.languages import take_languages


class LanguageTests(SynchronousTestCase):
    def test_accounts_and_domains(self) -> None:
        find = take_languages(
            {"Ann@example.org": "DE", "example.org": "ru", ".example.org": "de", ".org": "ru"}
        )
        assert find is not None
        for account, language in (
            ("ann@example.org", "de"),
            ("bob@example.org", "ru"),
            ("bob@a.b.example.org", "de"),
            ("bob@other.org", "ru"),
            ("bob@example.net", None),
            ("bob", None),
        ):
            self.assertEqual(find(account), language, account)

    def test_nothing_set(self) -> None:
        self.assertIsNone(take_languages(None))

    def test_bad_settings(self) -> None:
        tables: list[Any] = ["de", {"ann@example.org": "tlh"}, {"a b": "de"}, {"example.org": 1}]
        for table in tables:
            self.assertRaises(SettingError, take_languages, table)
