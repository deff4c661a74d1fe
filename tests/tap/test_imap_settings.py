"""``--imap-language``, ``--imap-message-limit``, ``--imap-gmail``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap.protocol import IMAPFactory
from mailkit.tap import imap, mail
from mailkit.tap.imap_settings import parse_imap_settings
from mailkit.tap.twistd import TwistdService


class IMAPSettingTests(SynchronousTestCase):
    def parse(self, *arguments: str) -> Any:
        options = imap.Options()
        options.parseOptions(["--listen", "tcp:0", "--store", "memory:", *arguments])
        return options

    def factory(self, options: Any) -> IMAPFactory:
        service = TwistdService(options)
        service.add_port("imap", "tcp:0:interface=127.0.0.1")
        return cast(IMAPFactory, service._factories["imap"])

    def test_nothing_said(self) -> None:
        options = self.parse()
        self.assertEqual(parse_imap_settings(options), {})
        factory = self.factory(options)
        self.assertEqual((factory.language, factory.message_limit), ("en", 0))
        self.assertNotIn(b"X-GM-EXT-1", factory.choices)

    def test_settings_reach_the_server(self) -> None:
        factory = self.factory(self.parse("--imap-language", "DE", "--imap-message-limit=5000"))
        self.assertEqual((factory.language, factory.message_limit), ("de", 5000))
        self.assertIn(b"X-GM-EXT-1", self.factory(self.parse("--imap-gmail")).choices)

    def test_wrong_values(self) -> None:
        for wrong, text in (
            (("--imap-language", "tlh"), "there is no language tlh"),
            (("--imap-message-limit", "0"), "no number above 0"),
            (("--imap-message-limit", "many"), "no number above 0"),
        ):
            with self.assertRaises(UsageError) as caught:
                self.parse(*wrong)
            self.assertIn(text, str(caught.exception))
            self.assertTrue(str(caught.exception).startswith(f"{wrong[0]}: "))

    def test_in_a_settings_file(self) -> None:
        path = Path(self.mktemp())
        path.write_text(
            'store = "memory:"\nimap = ["tcp:0"]\nimap-language = "ru"\nimap-message-limit = 2000\n'
            "imap-gmail = true\n"
        )
        options = mail.Options()
        options.parseOptions(["--config", str(path)])
        settings = {"language": "ru", "message_limit": 2000, "gmail_extensions": True}
        self.assertEqual(parse_imap_settings(options), settings)
