"""What twistd's commands say of themselves, and what they say when an option is wrong."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.python.usage import UsageError

from mailkit.tap import mail, mta_sts, no_mail
from tests.tap.test_options import COMMANDS, OptionsTestCase


class HelpTests(OptionsTestCase):
    def test_help_can_be_followed(self) -> None:
        for module in (mail, *COMMANDS):
            with mock.patch.dict("os.environ", {"COLUMNS": "100"}):
                text = str(module.Options())
            for part in ("--store=", "--auth=", "--tls=", "--hostname=", "Examples:", "twistd"):
                self.assertIn(part, text)
            self.assertNotIn("None", text)
            self.assertLess(max(map(len, text.splitlines())), 101)
            # Of the docstrings' indentation nothing is left.
            self.assertNotRegex(text, r"(?m)^ {20,}.*[^\s.] {2,}\S")

    def test_an_error_does_not_drown_in_help(self) -> None:
        # twistd prints the command's usage above an error.
        for module in (mail, mta_sts, no_mail, *COMMANDS):
            options: Any = module.Options()  # type: ignore[attr-defined]
            self.assertRaises(UsageError, options.parseOptions, ["--listen", "143", "--smtp", "25"])
            self.assertEqual(options.getUsage(80), "With --help it tells what the options are.")

    def test_why_a_text_is_no_endpoint(self) -> None:
        for text, reason in (
            ("tcp:imap", "('imap' is no number)"),
            ("tcp:1:colour=red", "(it has no 'colour')"),
            ("tcp", "(something is missing, or too much)"),
            ("systemd:domain=INET:index=0", "(no such socket was passed on)"),
            ("carrier-pigeon:1", "(Unknown endpoint type: 'carrier-pigeon')"),
        ):
            self.check(["--imap", text], f"--imap: '{text}' is no endpoint", reason)
