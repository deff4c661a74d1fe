"""Settings of the FTP server: options, and those of a file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mailkit.files import FileQuota
from mailkit.homes.disk import FileHomes
from mailkit.homes.mounts import MountedHomes
from mailkit.tap.errors import StartError
from mailkit.tap.ftp_settings import MAIL_DIRECTORY, FTPSettings, parse_ftp_settings
from mailkit.tap.tls import self_signed
from tests.tap.test_options import ENDPOINT, OptionsTestCase


class FTPOptionsTests(OptionsTestCase):
    """``--passive-ports`` and its like."""

    def test_errors(self) -> None:
        serve = ["--ftp", ENDPOINT, "--store", "memory:"]
        for value in ("x", "80-90", "60000-50000", "50000-70000", "50000"):
            self.check([*serve, "--passive-ports", value], "passive-ports", f"'{value}'")
        self.check([*serve, "--passive-address", "::1"], "passive-address", "'::1'")
        self.check([*serve, "--ftp-mail", "write"], "--ftp-mail: 'write'")
        self.check([*serve, "--ftp-protect-data"], "--ftp-protect-data needs a certificate")
        for value in ("much", "0", "1G,many", "1G,0"):
            self.check([*serve, "--ftp-quota", value], f"--ftp-quota: '{value}'")

    def test_settings_reach_the_server(self) -> None:
        options = self.parse(
            *("--ftp", ENDPOINT, "--passive-ports", "50000-50002"),
            *("--passive-address", "192.0.2.1", "--files", "/srv/files"),
        )
        settings = parse_ftp_settings(options)
        self.assertEqual(settings.passive_ports, range(50000, 50003))
        self.assertEqual(settings.passive_address, "192.0.2.1")
        self.assertEqual(settings.files, "/srv/files")
        self.assertEqual((settings.mail, settings.quota), ("read", FileQuota()))

    def test_data_connections_only_with_tls(self) -> None:
        tls = ",".join(self_signed(self.mktemp()))
        options = self.parse("--ftp", ENDPOINT, "--tls", tls, "--ftp-protect-data")
        self.assertTrue(parse_ftp_settings(options).protect_data)

    def test_quotas(self) -> None:
        for text, quota in (
            ("10k", FileQuota(10240, 0)),
            ("1M,5", FileQuota(1 << 20, 5)),
            (",5", FileQuota(0, 5)),
        ):
            options = self.parse("--ftp", ENDPOINT, "--ftp-quota", text)
            self.assertEqual(parse_ftp_settings(options).quota, quota)

    def test_a_settings_file(self) -> None:
        place = Path(self.mktemp())
        place.write_text(
            f'ftp = "{ENDPOINT}"\nstore = "memory:"\nftp-mail = "append"\nftp-quota = "1G,5"\n'
            'passive-ports = "50000-50009"\n'
        )
        settings = parse_ftp_settings(self.parse("--config", str(place)))
        self.assertEqual(settings.mail, "append")
        self.assertEqual(settings.quota, FileQuota(1 << 30, 5))
        self.assertEqual(settings.passive_ports, range(50000, 50010))

    def test_what_homes_are_made_of(self) -> None:
        store = SimpleNamespace(directory=self.mktemp())
        for way, append in (("read", False), ("append", True)):
            homes: Any = FTPSettings(mail=way).homes(store, "", 1000, None)
            self.assertIsInstance(homes, MountedHomes)
            self.assertEqual(list(homes.mounts), [MAIL_DIRECTORY])
            mail_homes = homes.mounts[MAIL_DIRECTORY]
            self.assertEqual((mail_homes.append, mail_homes.max_message_size), (append, 1000))
        settings = FTPSettings(mail="no", quota=FileQuota(5, 6), files="/srv/files")
        files: Any = settings.homes(store, "", 1000, None)
        self.assertIsInstance(files, FileHomes)
        self.assertEqual((files.directory, files.quota), ("/srv/files", FileQuota(5, 6)))

    def test_a_store_without_a_directory_needs_another(self) -> None:
        self.assertRaises(StartError, FTPSettings().homes, object(), "memory:", 1000, None)
