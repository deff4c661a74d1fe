"""The table ``[login-guard]``, and the guard that all services share."""

from __future__ import annotations

from pathlib import Path

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from mailkit.guard import GuardSettings, LoginGuard
from mailkit.tap import mail
from mailkit.tap.errors import SettingError
from mailkit.tap.login_guard import parse_login_guard
from mailkit.tap.settings import LoginSettings
from tests.tap.test_services import ServiceTestCase


class TableTests(SynchronousTestCase):
    def test_settings(self) -> None:
        table = {
            "trusted": ["192.0.2.0/24", "2001:db8::1"],
            "ipv4-network": 16,
            "ipv6-network": 32,
            "ipv6-address": 56,
            "address-wait": 10,
            "network-wait": 0,
            "account-wait": 2.5,
        }
        settings = parse_login_guard(table)
        defaults = GuardSettings()
        self.assertEqual(
            settings,
            GuardSettings(
                defaults.address._replace(longest=10.0),
                defaults.network._replace(longest=0.0),
                defaults.account._replace(longest=2.5),
                *(56, 16, 32),
                ("192.0.2.0/24", "2001:db8::1"),
            ),
        )
        self.assertEqual(settings.network.spacing(1000), 0)
        self.assertEqual(parse_login_guard({}), defaults)
        self.assertEqual(parse_login_guard({"trusted": "192.0.2.1"}).trusted, ("192.0.2.1",))

    def test_what_is_none(self) -> None:
        for key, value in (
            *(("truste", "192.0.2.1"), ("trusted", "x"), ("trusted", 1), ("trusted", [1])),
            *(("ipv4-network", 33), ("ipv4-network", 0), ("ipv6-address", "64")),
            *(("address-wait", -1), ("account-wait", "8"), ("network-wait", True)),
            ("account-wait", 10**12),
        ):
            error = self.assertRaises(SettingError, parse_login_guard, {key: value})
            self.assertIn(key, str(error))


class ServiceTests(ServiceTestCase):
    def test_from_a_settings_file(self) -> None:
        path = Path(self.mktemp())
        path.write_text('imap = "tcp:1"\n[login-guard]\nipv4-network = 40\n')
        error = self.assertRaises(UsageError, mail.Options().parseOptions, ["--config", str(path)])
        self.assertIn(f"{path}: login-guard: ipv4-network", str(error))

    def test_all_services_share_one(self) -> None:
        guard = LoginGuard()
        service = self.make(logins=LoginSettings(guard=guard))
        for number, name in enumerate(("imap", "pop3", "submission"), 1):
            service.add_port(name, f"tcp:{number}")
        service.startService()
        self.assertEqual([self.factory(n).guard for n in range(3)], [guard] * 3)
        self.stop(service)
