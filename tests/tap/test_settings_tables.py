"""``[smtp-extensions]``, ``[hook-settings]`` and ``[milter-settings]`` of a settings file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from mailkit.smtp.extensions.settings import Access, ExtensionSettings
from mailkit.smtp.protocol import SMTPFactory
from mailkit.tap import mail
from mailkit.tap.services import MailService
from mailkit.tap.settings import FilterSettings, SMTPSettings

ENDPOINT = "tcp:0:interface=127.0.0.1"


class _TableCase(SynchronousTestCase):
    def parse(self, text: str) -> mail.Options:
        path = Path(self.mktemp())
        path.write_text(f'smtp = "{ENDPOINT}"\n{text}', "utf-8")
        options = mail.Options()
        options.parseOptions(["--config", str(path)])
        return options

    def check(self, text: str, *wanted: str) -> None:
        """It is wrong, and the error says these words."""
        error = self.assertRaises(UsageError, self.parse, text)
        for words in wanted:
            self.assertIn(words, str(error))


class SMTPExtensionTests(_TableCase):
    def extensions(self, text: str, **settings: Any) -> dict[str, ExtensionSettings]:
        table = self.parse(text).tables["smtp-extensions"]
        service = MailService("memory:", smtp=SMTPSettings(extensions=table, **settings))
        found = {}
        for name in ("smtp", "lmtp", "submission"):
            service.add_port(name, ENDPOINT)
            found[name] = cast(SMTPFactory, service._factories[name]).extensions
        return found

    def test_all(self) -> None:
        found = self.extensions("""
            [smtp-extensions]
            without = ["ETRN"]
            vrfy = "everyone"
            expn = "authenticated"
            trust-submitter = "authenticated"
            priority-policy = "MIXER"
            max-hold = 3600
            min-deliver-by = 60
            no-soliciting = ["org.example:ADV", "net.example:X"]
        """)
        for settings in found.values():
            self.assertEqual(settings.switched_off, {"ETRN"})
            self.assertEqual(
                (settings.vrfy, settings.expn), (Access.EVERYONE, Access.AUTHENTICATED)
            )
            self.assertIs(settings.trust_submitter, Access.AUTHENTICATED)
            self.assertEqual(settings.priority_policy, "MIXER")
            self.assertEqual((settings.max_hold, settings.min_deliver_by), (3600, 60))
            self.assertEqual(settings.no_soliciting, ("org.example:ADV", "net.example:X"))

    def test_of_one_service(self) -> None:
        found = self.extensions("""
            [smtp-extensions]
            max-hold = 3600
            vrfy = "everyone"
            [smtp-extensions.submission]
            max-hold = 7200
            without = ["CHUNKING"]
        """)
        self.assertEqual(
            {n: s.max_hold for n, s in found.items() if n != "lmtp"},
            {"smtp": 3600, "submission": 7200},
        )
        self.assertEqual(found["submission"].switched_off, {"CHUNKING"})
        self.assertEqual(found["smtp"].switched_off, frozenset())
        self.assertIs(found["submission"].vrfy, Access.EVERYONE)

    def test_beside_options(self) -> None:
        found = self.extensions(
            '[smtp-extensions.smtp]\nvrfy = "never"\nwithout = ["HELP"]',
            vrfy="everyone",
            without_extensions=["ETRN"],
            xclient_from=["192.0.2.1"],
        )
        self.assertEqual(found["smtp"].switched_off, {"ETRN", "HELP"})
        self.assertEqual((found["smtp"].vrfy, found["lmtp"].vrfy), (Access.NEVER, Access.EVERYONE))
        self.assertIn("192.0.2.1", found["smtp"].trusted_clients)

    def test_what_is_none(self) -> None:
        for text, wanted in (
            ("hold = 1", "no 'hold'"),
            ("max-hold = 0", "at least 1"),
            ('max-hold = "1"', "a whole number"),
            ("max-hold = 1_000_000_000", "999999999"),
            ('vrfy = "me"', "authenticated"),
            ("vrfy = true", "a text"),
            ('without = ["FOO"]', "no extension 'FOO'"),
            ("without = [1]", "texts"),
            ('no-soliciting = "1"', "class keywords"),
            ('priority-policy = "a b"', "1 to 20"),
            ("lmtp = 1", "lmtp must be a table"),
            ('[smtp-extensions.lmtp]\nwithout = ["PIPELINING"]', "LMTP must have PIPELINING"),
            ("[smtp-extensions.imap]", "'imap' takes no mail"),
        ):
            head = "" if text.startswith("[") else "[smtp-extensions]\n"
            self.check(head + text, "smtp-extensions", wanted)


class HookSettingTests(_TableCase):
    def test_numbers(self) -> None:
        head = 'hook-failure = "accept"\n[hook-settings]\n'
        settings = self.parse(head + "timeout = 2.5\nmax-header = 100_000\n").hook_settings
        self.assertEqual((settings.timeout, settings.max_header), (2.5, 100_000))
        self.assertEqual((settings.message_timeout, settings.failure), (60, "accept"))
        for bad in ("max-header = 0.5", "max-headers = 1", 'timeout = "1"'):
            self.check(head + bad, "hook-settings", bad.split()[0])


class MilterSettingTests(_TableCase):
    def test_for_all_or_one(self) -> None:
        options = self.parse("""
            milter = ["unix:/x", "unix:/y"]
            milter-failure = "reject"
            [milter-settings]
            content-timeout = 60
            max-body = 1_000_000
            [milter-settings."unix:/y"]
            command-timeout = 5.5
            failure = "accept"
        """)
        service = MailService(
            "memory:",
            filters=FilterSettings(
                milters=options.lists["milter"],
                milter_failure=options["milter-failure"],
                milter_settings=options.tables["milter-settings"],
            ),
        )
        (hook,) = service._milters["smtp"]
        first, second = [milter.settings for milter in hook.milters]
        self.assertEqual((first.content_timeout, first.max_body), (60, 1_000_000))
        self.assertEqual((first.command_timeout, first.failure), (30, "reject"))
        self.assertEqual((second.command_timeout, second.failure), (5.5, "accept"))
        self.assertEqual(second.content_timeout, 60)

    def test_what_is_none(self) -> None:
        for text, wanted in (
            ("command-timeout = 0", "at least 1"),
            ('failure = "x"', "'x'"),
            ("timeout = 1", "known are failure, connect-timeout"),
            ('[milter-settings."unix:/z"]', "unix:/z"),
        ):
            self.check(f'milter = "unix:/x"\n[milter-settings]\n{text}', "milter-settings", wanted)


class PlaceTests(SynchronousTestCase):
    def test_what_is_no_option_is_not_written_as_one(self) -> None:
        options = mail.Options()
        options.parseOptions(["--smtp", ENDPOINT, "--store", "memory:"])
        # Keys for DKIM lie in the store's directory, and are named in a file's [queue] alone.
        self.assertEqual([options.place(each) for each in ("store", "dkim")], ["--store", "dkim"])
