"""``logins``: a file with the logins for several servers."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from mailkit.queue.hosts import Host
from mailkit.queue.schedule import Schedule
from mailkit.smtp.client import Credentials
from mailkit.tap.errors import SettingError
from mailkit.tap.logins import MAX_FILE, read_logins
from mailkit.tap.queue_routes import parse_routes

GOOD = b"""
["Gate.example.net"]
username = "ann"
password = "secret-1"

["gate.example.net:2525"]
username = "bob"
password = "secret-2"
"""


class LoginTests(SynchronousTestCase):
    def write(self, octets: bytes = GOOD, mode: int = 0o600) -> str:
        path = os.path.abspath(self.mktemp())
        with open(path, "wb") as file:
            file.write(octets)
        os.chmod(path, mode)
        return path

    def refused(self, path: str) -> str:
        return str(self.assertRaises(SettingError, read_logins, path))

    def test_logins(self) -> None:
        for mode in (0o600, 0o640, 0o400):
            logins = read_logins(self.write(mode=mode))
            host = Host("gate.EXAMPLE.net", "192.0.2.1", 587)
            self.assertEqual(logins.find(host), Credentials("ann", "secret-1"))
            self.assertEqual(logins.find(host._replace(port=2525)), Credentials("bob", "secret-2"))
            self.assertIsNone(logins.find(host._replace(name="mx.example.net")))
            self.assertNotIn("secret", repr(logins))

    def test_others_must_not_read_or_change_it(self) -> None:
        for mode in (0o604, 0o620, 0o602, 0o666):
            self.assertIn("chmod", self.refused(self.write(mode=mode)))

    def test_bad_files(self) -> None:
        texts = [
            self.refused(self.write(octets))
            for octets in (
                b"",
                b"[gate]\nusername = secret",
                b"[gate]\nusername = 'ann'\npassword = 5",
                b"[gate]\nusername = 'ann'",
                b"[gate]\nusername = 'ann'\npassword = ''",
                b"[gate]\nusername = 'ann'\npassword = 'secret'\nmore = 'secret'",
                b"gate = 'secret'",
                b"['gate:x']\nusername = 'ann'\npassword = 'secret'",
                b"\xff",
                b"#" * (MAX_FILE + 1),
            )
        ]
        for text in texts:
            self.assertNotIn("secret", text)
        self.assertIn("cannot read", self.refused("/nonexistent/logins"))

    def test_where_it_may_stand(self) -> None:
        path = self.write()
        for table in (
            {"to": "smtp:gate.example.net:587", "logins": path},
            {"to": "mx", "tls": "verified", "logins": path},
        ):
            parse_routes([table], Schedule())
        for table in (
            {"to": "mx", "logins": path},
            {"to": "maildir:/var/mail", "logins": path},
            {"to": "smtp:gate.example.net", "logins": "/nonexistent"},
        ):
            self.assertRaises(SettingError, parse_routes, [table], Schedule())
