"""``[smtp-limits]``: what clients that bring mail may do."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from mailkit.smtp.protocol import SMTPFactory
from mailkit.tap import mail
from mailkit.tap.services import MailService
from mailkit.tap.settings import SMTPSettings

ENDPOINT = "tcp:0:interface=127.0.0.1"


class SMTPLimitTests(SynchronousTestCase):
    def parse(self, text: str) -> mail.Options:
        path = Path(self.mktemp())
        path.write_text(f'smtp = ["{ENDPOINT}", "inside={ENDPOINT}"]\n{text}', "utf-8")
        options = mail.Options()
        options.parseOptions(["--config", str(path)])
        return options

    def factory(self, table: dict[str, Any], name: str = "smtp") -> SMTPFactory:
        service = MailService("memory:", smtp=SMTPSettings(limits=table))
        service.add_port(name, ENDPOINT)
        return cast(SMTPFactory, service._factories[name])

    def test_all(self) -> None:
        options = self.parse("""
            [smtp-limits]
            max-recipients = 200
            max-header = 100_000
            max-received = 120
            timeout = 60
            data-timeout = 30.5
            max-errors = 5
            max-refusals = 50
            max-idle-commands = 40
            max-transactions = 30
            max-failed-logins = 2
            message-memory = 65536
            command-line = 1024
            auth-line = 2048
            parameters = 10
            path = 300
            local-part = 100
        """)
        factory = self.factory(options.tables["smtp-limits"])
        self.assertEqual(
            (factory.max_recipients, factory.max_header, factory.max_received), (200, 100_000, 120)
        )
        self.assertEqual((factory.timeout, factory.data_timeout), (60, 30.5))
        self.assertEqual(
            (factory.max_errors, factory.max_refusals, factory.max_idle_commands), (5, 50, 40)
        )
        self.assertEqual(
            (factory.max_transactions, factory.max_failed_logins, factory.message_memory),
            (30, 2, 65536),
        )
        limits = factory.limits
        self.assertEqual((limits.line, limits.auth_line, limits.parameters), (1024, 2048, 10))
        self.assertEqual((limits.path, limits.local_part), (300, 100))
        # What is not named stays.
        self.assertEqual(limits.domain, 255)

    def test_of_one_service(self) -> None:
        table = {"max-errors": 5, "submission": {"max-errors": 50, "timeout": 600.0}}
        for name, errors, timeout in (
            ("smtp", 5, 300),
            ("lmtp", 5, 300),
            ("submission", 50, 600),
            ("imap", None, 1800),
        ):
            factory = self.factory(table, name)
            self.assertEqual(getattr(factory, "max_errors", None), errors)
            self.assertEqual(factory.timeout, timeout)
        self.assertEqual(self.factory({}).max_errors, SMTPFactory.max_errors)

    def test_size_of_a_message(self) -> None:
        table = {"submission": {"max-message-size": "60M"}, "lmtp": {"max-message-size": 1000}}
        for name, size in {"smtp": 52428800, "submission": 62914560, "lmtp": 1000}.items():
            self.assertEqual(self.factory(table, name).max_size, size)
        self.assertEqual(self.factory({"max-message-size": "1M"}).max_size, 1 << 20)

    def test_what_is_none(self) -> None:
        for text, wanted in (
            ("max-recipient = 100", "no limit 'max-recipient'"),
            ("max-recipients = 99", "at least 100"),
            ("max-errors = 0", "at least 1"),
            ("max-errors = 1.5", "a whole number"),
            ("max-errors = true", "a whole number"),
            ('timeout = "1"', "must be a number"),
            ("timeout = 1000000000000", "timeout is out of all measure"),
            ("command-line = 511", "at least 512"),
            ("local-part = 63", "at least 64"),
            ('max-message-size = "big"', "'big' is no size"),
            ("max-message-size = 0", "at least 1"),
            ("imap = {}", "'imap' takes no mail; known are smtp, lmtp, submission"),
            ("[smtp-limits.insde]\nmax-errors = 1", "smtp, lmtp, submission, inside"),
            ("lmtp = 1", "lmtp must be a table"),
            ("[smtp-limits.lmtp]\nnothing = 1", "no limit 'nothing'"),
        ):
            head = "" if text.startswith("[") else "[smtp-limits]\n"
            error = self.assertRaises(UsageError, self.parse, head + text)
            self.assertIn("smtp-limits", str(error))
            self.assertIn(wanted, str(error))
