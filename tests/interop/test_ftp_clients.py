"""The FTP server with other people's clients, over loopback: ftplib, curl, lftp."""

from __future__ import annotations

import ftplib
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mailkit.homes.disk import FileHomes
from mailkit.homes.mail import MailHomes
from mailkit.homes.mounts import MountedHomes
from mailkit.interfaces import IFileHomes
from tests.ftp.loopback import LARGE, PASSWORD, TEXT, USER, FTPCase
from tests.support import PATIENCE


class FtplibTests(FTPCase):
    def with_auth_tls(self) -> ftplib.FTP:
        client = ftplib.FTP_TLS(timeout=PATIENCE, context=self.client_tls())
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
            with ftplib.FTP(timeout=PATIENCE) as client:
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

    async def lftp(self, settings: str, *, tls: bool = False, without: str = "") -> None:
        scheme, port = ("ftps", self.tls_port) if tls else ("ftp", self.port)
        (Path(self.directory) / "mirrored").mkdir()
        os.utime(self.home / "large", (1_000_000_000, 1_000_000_000))
        script = (
            "set net:max-retries 1; set net:timeout 30; set cmd:fail-exit yes;"
            f" set ssl:ca-file {self.certificate}; set ssl:check-hostname no; {settings};"
            f" open -u '{USER},{PASSWORD}' {scheme}://127.0.0.1:{port};"
            f" set ssl:priority NORMAL{without}; set ftp:use-site-utime no;"
            " mirror / mirrored; mirror --reverse mirrored /copy; mv /copy /moved; ls /moved; bye"
        )
        await self.run_program("lftp", "-c", script)
        self.assertEqual((self.home / "moved" / "large").stat().st_mtime, 1_000_000_000)
        for folder in (Path(self.directory) / "mirrored", self.home / "moved"):
            self.assertEqual((folder / "large").read_bytes(), LARGE)
            self.assertEqual((folder / "sub dir" / "grün.txt").read_bytes(), TEXT)

    async def test_plain(self) -> None:
        await self.lftp("set ftp:ssl-allow no")

    async def test_auth_tls(self) -> None:
        await self.lftp("set ftp:ssl-force yes; set ftp:ssl-protect-data yes")

    async def test_implicit_tls(self) -> None:
        await self.lftp("", tls=True)

    async def test_tls_1_2(self) -> None:
        await self.lftp("", tls=True, without=":-VERS-TLS1.3")

    async def test_active(self) -> None:
        await self.lftp("set ftp:ssl-allow no; set ftp:passive-mode no")

    async def test_active_under_tls(self) -> None:
        await self.lftp("set ftp:ssl-force yes; set ftp:passive-mode no")


class MailTests(FTPCase):
    """Mailboxes as directories, beside the files."""

    #: Of each two messages one has a line without CR.
    messages = tuple(
        b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= %d\r\n\r\nbare\n%b\r\n"
        % (number, b"x" * number * 999)
        for number in range(1, 31)
    )

    async def setUp(self) -> None:
        await super().setUp()
        account = await self.store.open_account(name=USER)
        await account.create_mailbox(name="Work/2026")
        await self.deliver(*self.messages)

    def all_homes(self, files: FileHomes) -> IFileHomes:
        return MountedHomes(files, {"Mail": MailHomes(self.store, append=True)})

    async def test_ftplib(self) -> None:
        unix = b"Subject: from Unix\n\nA line\n"

        def work() -> None:
            client = self.plain()
            self.assertEqual(sorted(client.nlst()), ["Mail", "large", "sub dir"])
            self.assertIn("/Mail/INBOX", client.nlst("/Mail"))
            client.cwd("/Mail/INBOX")
            facts = dict(client.mlsd())
            self.assertEqual(len(facts), len(self.messages))
            name = "7-Grüße 7.eml"
            self.assertEqual(facts[name]["size"], str(len(self.messages[6])))
            self.assertEqual((facts[name]["type"], facts[name]["perm"]), ("file", "r"))
            client.voidcmd("TYPE I")
            self.assertEqual(client.size(name), len(self.messages[6]))
            self.assertEqual(client.voidcmd(f"MDTM {name}")[4:], facts[name]["modify"])
            received = io.BytesIO()
            client.retrbinary(f"RETR {name}", received.write)
            client.retrbinary(f"RETR {name}", received.write, rest=100)
            whole = self.messages[6]
            self.assertEqual(received.getvalue(), whole + whole[100:])
            for command in (
                *(f"DELE {name}", "MKD new", f"RNFR {name}", "RMD /Mail/Trash", "DELE /Mail"),
                *("STOR x.txt", f"STOR {name}", f"APPE {name}", "STOR /Mail/Nothing/x.eml"),
            ):
                client.makepasv()
                with self.assertRaises(ftplib.error_perm) as refused:
                    client.voidcmd(command)
                self.assertIn(str(refused.exception)[:3], ("550", "553"), command)
            reply = client.storbinary("STOR /Mail/Work/2026/new.eml", io.BytesIO(unix))
            self.assertEqual(reply, "226 Done: it is 1-from Unix.eml")
            client.storlines("STOR /Mail/Work/2026/new.eml", io.BytesIO(unix))
            client.quit()

        await self.in_thread(work)
        self.assertEqual(await self.contents("Work/2026"), [unix.replace(b"\n", b"\r\n")] * 2)
        self.assertEqual(await self.contents(), list(self.messages))

    @pytest.mark.interop
    async def test_curl(self) -> None:
        url = f"ftp://127.0.0.1:{self.port}/Mail/INBOX/"
        login = ("curl", "--silent", "--show-error", "--user", f"{USER}:{PASSWORD}")
        done = await self.run_program(*login, f"{url}3-Gr%C3%BC%C3%9Fe%203.eml")
        self.assertEqual(done.stdout, self.messages[2])
        await self.run_program(*login, "-T", "-", f"{url}new.eml", input=self.messages[0])
        self.assertEqual(await self.contents(), [*self.messages, self.messages[0]])

    @pytest.mark.interop
    async def test_lftp_mirrors_an_account(self) -> None:
        mirror = (
            "set ftp:ssl-allow no; set cmd:fail-exit yes; set net:timeout 30;"
            f" open -u '{USER},{PASSWORD}' ftp://127.0.0.1:{self.port}; mirror /Mail mirrored"
        )
        place = Path(self.directory) / "mirrored"
        # The second time, nothing is new.
        for _ in range(2):
            await self.run_program("lftp", "-c", mirror)
            found = {path.name: path.read_bytes() for path in (place / "INBOX").iterdir()}
            wanted = {
                f"{number}-Grüße {number}.eml": octets
                for number, octets in enumerate(self.messages, 1)
            }
            self.assertEqual(found, wanted)
        self.assertTrue((place / "Work" / "2026").is_dir())
