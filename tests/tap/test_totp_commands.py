"""``mailkit account totp``, over a store in SQLite."""

from __future__ import annotations

import re
import sys
from typing import Any
from unittest import mock

import pyotp

from mailkit.coroutines import run
from mailkit.identity import SecondFactor
from mailkit.store.sqlite import SQLiteDirectory
from tests.tap.test_command import ANN, CommandTestCase


class TOTPTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.add()

    def kept(self) -> SecondFactor:
        directory = SQLiteDirectory(self.path)
        self.addCleanup(directory.close)
        found: Any = self.successResultOf(run(directory.get_second_factor(account=ANN)))
        assert found is not None
        return found  # type: ignore[no-any-return]

    def test_enable_show_disable(self) -> None:
        uri, *codes = self.succeed("account", "totp", "enable", ANN).splitlines()
        device: Any = pyotp.parse_uri(uri)
        self.assertEqual((device.name, device.issuer), (ANN, "example.org"))
        self.assertEqual(
            (device.secret, device.digits, device.interval), (self.kept().secret, 6, 30)
        )
        self.assertEqual(len(codes), 10)
        for code in codes:
            self.assertTrue(re.fullmatch("[a-z2-9]{4}(-[a-z2-9]{4}){3}", code), code)
        shown = self.succeed("account", "totp", "show", ANN)
        self.assertEqual(shown, f"{uri}\nwindow: 1\nrecovery codes left: 10\n")
        self.refuse("account", "totp", "enable", ANN, wanted="has a device already")
        self.succeed("account", "totp", "disable", ANN)
        self.assertIn("needs no codes", self.succeed("account", "totp", "show", ANN))
        # Another secret.
        again, *_ = self.succeed("account", "totp", "enable", ANN).splitlines()
        self.assertNotEqual(again, uri)

    def test_wrong_codes_are_told(self) -> None:
        self.succeed("account", "totp", "enable", ANN)
        directory = SQLiteDirectory(self.path)
        self.addCleanup(directory.close)
        factor = self.kept()
        for forgotten, told in ((4_000_000_000, True), (1000, False)):
            setting = directory.set_second_factor(ANN, factor._replace(forgotten=forgotten))
            self.successResultOf(run(setting))
            shown = self.succeed("account", "totp", "show", ANN)
            self.assertEqual("count until: 2096-10-0" in shown, told, shown)

    def test_settings(self) -> None:
        uri, *_ = self.succeed(
            *("account", "totp", "enable", ANN, "--window", "3", "--issuer", "Our mail")
        ).splitlines()
        self.assertEqual(pyotp.parse_uri(uri).issuer, "Our mail")
        self.assertEqual(self.kept().window, 3)

    def test_slips(self) -> None:
        for window in ("-1", "11", "x"):
            self.refuse(
                "account", "totp", "enable", ANN, "--window", window, wanted="--window", code=2
            )
        for command in ("enable", "show", "disable"):
            self.refuse("account", "totp", command, "eve@example.org", wanted="no such account")

    def test_a_missing_library_is_named(self) -> None:
        with mock.patch.dict(sys.modules, {"pyotp": None}):
            self.refuse("account", "totp", "enable", ANN, wanted="twisted-mailkit[totp]")
        self.assertIn("needs no codes", self.succeed("account", "totp", "show", ANN))
