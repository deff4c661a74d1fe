"""``--pop3-login-delay`` and its like, and ``mailkit account pop3``."""

from __future__ import annotations

from typing import Any, cast

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from mailkit.pop3.protocol import POP3Factory
from mailkit.tap import mail, pop3
from mailkit.tap.pop3_settings import parse_pop3_settings
from mailkit.tap.twistd import TwistdService
from tests.tap.test_command import ANN, CommandTestCase


class OptionTests(SynchronousTestCase):
    def parse(self, *arguments: str) -> Any:
        options = pop3.Options()
        options.parseOptions(["--listen", "tcp:0", "--store", "memory:", *arguments])
        return options

    def factory(self, options: Any) -> POP3Factory:
        service = TwistdService(options)
        service.add_port("pop3", "tcp:0:interface=127.0.0.1")
        return cast(POP3Factory, service._factories["pop3"])

    def test_nothing_said(self) -> None:
        options = self.parse()
        self.assertEqual(parse_pop3_settings(options), {})
        factory = self.factory(options)
        self.assertEqual((factory.locks.login_delay, factory.takeover), (0, None))
        self.assertEqual((factory.language, factory.refuse_utf8), ("en", False))

    def test_settings_reach_the_server(self) -> None:
        factory = self.factory(self.parse("--pop3-login-delay", "60", "--pop3-takeover=120"))
        self.assertEqual((factory.locks.login_delay, factory.takeover), (60, 120))
        factory = self.factory(self.parse("--pop3-language", "DE", "--pop3-refuse-utf8"))
        self.assertEqual((factory.language, factory.refuse_utf8), ("de", True))

    def test_wrong_values(self) -> None:
        for wrong in ("0", "-1", "many"):
            for name in ("--pop3-login-delay", "--pop3-takeover"):
                error = self.assertRaises(UsageError, self.parse, f"{name}={wrong}")
                self.assertTrue(str(error).startswith(f"{name}: '{wrong}'"), str(error))
        error = self.assertRaises(UsageError, self.parse, "--pop3-language=tlh")
        self.assertTrue(str(error).startswith("--pop3-language: there is no"), str(error))

    def test_in_a_settings_file(self) -> None:
        path = self.mktemp()
        with open(path, "w") as file:
            file.write(
                'store = "memory:"\npop3 = "tcp:0"\npop3-takeover = 30\npop3-refuse-utf8 = true\n'
            )
        options: Any = mail.Options()
        options.parseOptions(["--config", path])
        self.assertEqual(parse_pop3_settings(options), {"takeover": 30, "refuse_utf8": True})


class AccountTests(CommandTestCase):
    USUAL = (
        "mailboxes: INBOX\nkeep deleted messages: no\nhide read messages: no\nexpire: never\n"
        "login delay: the usual\n"
    )

    def test_settings_of_an_account(self) -> None:
        self.add()
        self.assertEqual(self.succeed("account", "pop3", ANN), self.USUAL)
        said = self.succeed(
            *("account", "pop3", ANN, "--mailboxes", "inbox, Junk", "--keep", "--hide-seen"),
            *("--expire", "1", "--login-delay", "60"),
        )
        self.assertEqual(
            said,
            "mailboxes: INBOX, Junk\nkeep deleted messages: yes\nhide read messages: yes\n"
            "expire: 1 day\nlogin delay: 60 seconds\n",
        )
        self.assertEqual(self.succeed("account", "pop3", ANN), said)
        said = self.succeed(
            *("account", "pop3", ANN, "--mailboxes", "INBOX", "--no-keep", "--show-seen"),
            *("--expire", "none", "--login-delay", "none"),
        )
        self.assertEqual(said, self.USUAL)

    def test_refusals(self) -> None:
        self.add()
        self.refuse("account", "pop3", "eve@example.org", wanted="no such account")
        self.refuse("account", "pop3", ANN, "--expire", "0", wanted="--expire", code=2)
        self.refuse("account", "pop3", ANN, "--expire", "99999999", wanted="36500 days")
        self.refuse("account", "pop3", ANN, "--mailboxes", "a//b", wanted="empty levels")
