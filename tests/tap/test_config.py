"""The TOML file of ``--config``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.tap.config import read_config
from mailkit.tap.errors import SettingError


class ConfigTests(SynchronousTestCase):
    """Kinds of values, and what is said of wrong ones."""

    def read(self, text: str | bytes) -> dict[str, Any]:
        self.path = self.mktemp()
        Path(self.path).write_bytes(text.encode() if isinstance(text, str) else text)
        return read_config(self.path, ("imap",), ("store", "tls", "max"), ("plain",))

    def check(self, text: str | bytes, *wanted: str) -> None:
        error = str(self.assertRaises(SettingError, self.read, text))
        for part in (self.path, *wanted):
            self.assertIn(part, error)

    def test_every_kind(self) -> None:
        text = 'imap = "tcp:1"\nstore = "memory:"\nmax = 3\nplain = true\ntls = ["a", "b"]\n'
        self.assertEqual(
            self.read(text),
            {"imap": ["tcp:1"], "store": "memory:", "max": "3", "plain": True, "tls": "a,b"},
        )

    def test_several(self) -> None:
        self.assertEqual(self.read('imap = ["tcp:1", "tcp:2"]')["imap"], ["tcp:1", "tcp:2"])

    def test_empty_file(self) -> None:
        self.assertEqual(self.read(""), {})

    def test_unknown_key(self) -> None:
        known = "known are imap, max, plain, store, tls"
        self.check('impa = "tcp:1"', f"unknown key 'impa'; did you mean imap? {known}")
        self.check("[server]\nimap = 1", f"unknown key 'server'; {known}")

    def test_wrong_kinds(self) -> None:
        self.check("imap = 143", "imap must be a string or an array of strings")
        self.check('imap = ["tcp:1", 2]', "imap must be a string or an array of strings")
        self.check("store = true", "store must be a string or a whole number")
        self.check("[store]\na = 1", "store must be a string or a whole number")
        self.check('plain = "yes"', "plain must be true or false")

    def test_what_no_setting_is(self) -> None:
        for number in ("inf", "-inf", "nan"):
            self.check(f"[queue]\nrate = {number}", "queue.rate must be a finite number")
        self.check("max = inf", "max must be a finite number")
        for number in ("1e20", "-1e11", "1" + 20 * "0"):
            self.check(f"[queue]\nrate = {number}", "queue.rate is out of all measure")
        self.check("[queue]\nintervals = [60, inf]", "queue.intervals must be a finite number")
        for value in (r'"a\u0000"', r'["a", "b\u0000"]', r'[{ a = "b\u0000" }]'):
            self.check(f"tls = {value}", "must not have a NUL character")
        self.check(r"[routes]" + "\n" + r'"a\u0000b" = "c"', "routes must not have a NUL character")

    def test_not_toml(self) -> None:
        self.check("imap: tcp", "is not TOML", "line 1")
        self.check(b"store = '\xff'", "is not TOML")

    def test_missing_file(self) -> None:
        error = self.assertRaises(SettingError, read_config, "no.toml", (), (), ())
        self.assertEqual(str(error), "cannot read no.toml: No such file or directory")
