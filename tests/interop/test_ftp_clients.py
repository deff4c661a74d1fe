"""The FTP server with other people's clients, over loopback: ftplib, curl, lftp."""

from __future__ import annotations

import ftplib
import io
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mailkit.auth.portal import make_portal
from mailkit.ftp.protocol import FTPFactory
from mailkit.homes.disk import FileHomes
from tests.interop.support import ClientCase
from tests.support import free_ports

USER, PASSWORD = "ann@example.org", "correct horse"

#: More than any buffer on the way.
LARGE = bytes(range(256)) * 12_000
TEXT = "Grüße\nzwei\n".encode()


class FTPCase(ClientCase):
    """A server with files of one user, plain with AUTH TLS and under TLS from the start."""

    user = USER

    async def setUp(self) -> None:
        await super().setUp()
        await self.add_account(USER, PASSWORD)
        homes = FileHomes(os.path.join(self.directory, "files"))
        self.home = Path(homes.directory) / USER
        self.home.mkdir(parents=True)
        (self.home / "large").write_bytes(LARGE)
        (self.home / "sub dir").mkdir()
        (self.home / "sub dir" / "grün.txt").write_bytes(TEXT)
        [first] = free_ports(1)
        self.factory = FTPFactory(
            make_portal(self.store, homes=homes),
            tls_context=self.tls_context,
            # Not always free, all of them.
            passive_ports=range(first, min(first + 50, 65535)),
        )
        self.port, self.tls_port = self.listen(self.factory), self.listen(self.factory, tls=True)

    async def tearDown(self) -> None:
        # Transfers that a client has broken off end in a turn of the reactor.
        give_up = time.monotonic() + 10
        while self.factory.connections and time.monotonic() < give_up:
            await self.in_thread(time.sleep, 0.02)


class FtplibTests(FTPCase):
    def plain(self) -> ftplib.FTP:
        client = ftplib.FTP(timeout=30)
        client.connect("127.0.0.1", self.port)
        client.login(USER, PASSWORD)
        return client

    def with_auth_tls(self) -> ftplib.FTP:
        client = ftplib.FTP_TLS(timeout=30, context=self.client_tls())
        client.connect("127.0.0.1", self.port)
        client.login(USER, PASSWORD)
        client.prot_p()
        return client

    def work(self, make: Callable[[], ftplib.FTP], passive: bool) -> None:
        client = make()
        client.set_pasv(passive)
        self.assertEqual(client.pwd(), "/")
        self.assertEqual(sorted(client.nlst()), ["large", "sub dir"])
        client.mkd("empty")
        self.assertEqual(client.nlst("empty"), [])
        client.storbinary("STOR empty/nothing", io.BytesIO())
        client.retrbinary("RETR empty/nothing", self.fail)
        client.delete("empty/nothing")
        client.rmd("empty")
        received = io.BytesIO()
        client.retrbinary("RETR large", received.write)
        self.assertEqual(received.getvalue(), LARGE)
        tail = io.BytesIO()
        client.retrbinary("RETR large", tail.write, rest=len(LARGE) - 10)
        self.assertEqual(tail.getvalue(), LARGE[-10:])
        client.storbinary("STOR new", io.BytesIO(LARGE))
        client.storbinary("APPE new", io.BytesIO(b"more"))
        self.assertEqual((self.home / "new").read_bytes(), LARGE + b"more")
        client.storbinary("STOR new", io.BytesIO(b"end"), rest=4)
        self.assertEqual((self.home / "new").read_bytes(), LARGE[:4] + b"end")
        self.assertEqual(client.size("new"), 7)
        client.rename("new", "sub dir/newer")
        client.cwd("sub dir")
        facts = dict(client.mlsd())
        self.assertEqual(set(facts), {"grün.txt", "newer"})
        self.assertEqual((facts["newer"]["type"], facts["newer"]["size"]), ("file", "7"))
        lines: list[str] = []
        client.retrlines("RETR grün.txt", lines.append)
        self.assertEqual(lines, ["Grüße", "zwei"])
        client.storlines("STOR lines", io.BytesIO(b"a\nb\n"))
        self.assertEqual((self.home / "sub dir" / "lines").read_bytes(), b"a\nb\n")
        for name in ("newer", "lines"):
            client.delete(name)
        client.cwd("..")
        self.assertEqual(client.mkd('di"r'), '/di"r')
        client.rmd('di"r')
        client.quit()

    async def test_passive(self) -> None:
        await self.in_thread(self.work, self.plain, True)

    async def test_active(self) -> None:
        await self.in_thread(self.work, self.plain, False)

    async def test_passive_under_tls(self) -> None:
        await self.in_thread(self.work, self.with_auth_tls, True)

    async def test_active_under_tls(self) -> None:
        await self.in_thread(self.work, self.with_auth_tls, False)

    async def test_abort(self) -> None:
        def work() -> list[str]:
            client = self.plain()
            client.voidcmd("TYPE I")
            connection = client.transfercmd("RETR large")
            connection.recv(1000)
            client.sock.sendall(b"\xff\xf4\xff\xf2ABOR\r\n")
            replies = [client.getmultiline(), client.getmultiline()]
            connection.close()
            client.voidcmd("NOOP")
            client.quit()
            return [reply[:3] for reply in replies]

        (self.home / "large").write_bytes(LARGE * 10)
        self.assertEqual(await self.in_thread(work), ["426", "226"])

    async def test_wrong_password(self) -> None:
        def work() -> str:
            with ftplib.FTP(timeout=30) as client:
                client.connect("127.0.0.1", self.port)
                try:
                    # Anonymously.
                    client.login()
                except ftplib.error_perm:
                    pass
                else:
                    raise AssertionError("let in without a password")
                try:
                    client.login(USER, "wrong")
                except ftplib.error_perm as error:
                    return str(error)
            raise AssertionError("let in with a wrong password")

        self.assertIn("530", await self.in_thread(work))


@pytest.mark.interop
class CurlTests(FTPCase):
    if shutil.which("curl") is None:
        skip = "curl is not installed"

    async def curl(self, path: str, *arguments: str, tls: bool = False) -> bytes:
        scheme, port = ("ftps", self.tls_port) if tls else ("ftp", self.port)
        done = await self.run_program(
            *("curl", "--silent", "--show-error", "--cacert", self.certificate),
            *("--user", f"{USER}:{PASSWORD}", *arguments, f"{scheme}://127.0.0.1:{port}/{path}"),
        )
        return done.stdout

    async def every_way(self, *arguments: str, tls: bool = False) -> None:
        ways: list[tuple[str, ...]] = [(), ("--disable-epsv",)]
        # curl 7.87 and 7.88 begin no TLS in a connection that they accept (its issue 10666).
        if not tls and "--ssl-reqd" not in arguments:
            ways.append(("--ftp-port", "-"))
        for way in ways:
            options = (*arguments, *way)
            self.assertEqual(await self.curl("large", *options, tls=tls), LARGE)
            self.assertIn(b"sub dir", await self.curl("", *options, tls=tls))
            source = Path(self.directory) / "source"
            source.write_bytes(LARGE)
            upload = (*options, "--upload-file", str(source))
            await self.curl("new/file", *upload, "--ftp-create-dirs", tls=tls)
            self.assertEqual((self.home / "new" / "file").read_bytes(), LARGE)
            shutil.rmtree(self.home / "new")

    async def test_plain(self) -> None:
        await self.every_way()

    async def test_auth_tls(self) -> None:
        await self.every_way("--ssl-reqd")

    async def test_implicit_tls(self) -> None:
        await self.every_way(tls=True)

    async def test_resume(self) -> None:
        target = Path(self.directory) / "target"
        target.write_bytes(LARGE[:1000])
        await self.curl("large", "--continue-at", "-", "--output", str(target))
        self.assertEqual(target.read_bytes(), LARGE)
        (self.home / "part").write_bytes(LARGE[:1000])
        await self.curl("part", "--continue-at", "-", "--upload-file", str(target))
        self.assertEqual((self.home / "part").read_bytes(), LARGE)


@pytest.mark.interop
class LftpTests(FTPCase):
    if shutil.which("lftp") is None:
        skip = "lftp is not installed"

    async def lftp(self, settings: str, *, tls: bool = False) -> None:
        scheme, port = ("ftps", self.tls_port) if tls else ("ftp", self.port)
        (Path(self.directory) / "mirrored").mkdir()
        script = (
            "set net:max-retries 1; set net:timeout 30; set cmd:fail-exit yes;"
            f" set ssl:ca-file {self.certificate}; set ssl:check-hostname no; {settings};"
            f" open -u '{USER},{PASSWORD}' {scheme}://127.0.0.1:{port};"
            # Under TLS 1.3 it ends uploads with octets unread, and loses what has not left yet.
            " set ssl:priority NORMAL:-VERS-TLS1.3;"
            " mirror / mirrored; mirror --reverse mirrored /copy; mv /copy /moved; ls /moved; bye"
        )
        await self.run_program("lftp", "-c", script)
        for folder in (Path(self.directory) / "mirrored", self.home / "moved"):
            self.assertEqual((folder / "large").read_bytes(), LARGE)
            self.assertEqual((folder / "sub dir" / "grün.txt").read_bytes(), TEXT)

    async def test_plain(self) -> None:
        await self.lftp("set ftp:ssl-allow no")

    async def test_auth_tls(self) -> None:
        await self.lftp("set ftp:ssl-force yes; set ftp:ssl-protect-data yes")

    async def test_implicit_tls(self) -> None:
        await self.lftp("", tls=True)

    async def test_active(self) -> None:
        await self.lftp("set ftp:ssl-allow no; set ftp:passive-mode no")

    async def test_active_under_tls(self) -> None:
        await self.lftp("set ftp:ssl-force yes; set ftp:passive-mode no")
