"""App passwords, codes of devices, and tokens of OAuth 2.0, with other people's clients."""

from __future__ import annotations

import ftplib
import imaplib
import poplib
import shutil
import smtplib
import time
from pathlib import Path
from typing import Any

import imapclient
import pyotp
import pytest
from imapclient.exceptions import LoginError
from twisted.internet import reactor as _reactor
from twisted.trial.unittest import SkipTest
from twisted.web.server import Site

from mailkit.auth.app_passwords import new_app_password
from mailkit.auth.oauth.settings import make
from mailkit.auth.totp import new_second_factor
from mailkit.client.errors import AuthFailed
from mailkit.client.security import TLSPolicy
from mailkit.imap import client as imap
from mailkit.pop3 import client as pop3
from mailkit.smtp import client as smtp
from mailkit.tap.ftp_settings import FTPSettings
from mailkit.tap.services import MailService
from mailkit.tap.settings import LoginSettings
from mailkit.wire.sasl_client import CLIENT_MECHANISMS, Credentials
from tests.auth.oauth.support import new_token, public_jwk
from tests.auth.oauth.test_issuer import Page
from tests.certificates import authority, make_identity
from tests.https import serve_https
from tests.interop.support import ANN, ClientCase
from tests.interop.test_imap_clients import run_in_terminal
from tests.support import HOST, PATIENCE, free_ports

pytestmark = pytest.mark.interop
reactor: Any = _reactor

NAMES = ("imap", "pop3", "submission", "ftp", "imaps", "pop3s", "submissions")


class LoginCase(ClientCase):
    """All protocols over one store, in this process."""

    async def setUp(self) -> None:
        await super().setUp()
        await self.add_account(ANN, "secret")
        self.ports = dict(zip(NAMES, free_ports(len(NAMES)), strict=True))
        service = MailService(
            self.store,
            tls=self.tls_context,
            logins=LoginSettings(
                checkers=self.make_checkers(), store_accounts=True, anonymous=self.anonymous
            ),
            ftp=FTPSettings(files=self.directory),
        )
        for name, port in self.ports.items():
            service.add_port(name, f"tcp:{port}:interface={HOST}")
        service.startService()
        self.addCleanup(service.stopService)

    def make_checkers(self) -> list[Any]:
        return []

    #: What ``--anonymous`` says.
    anonymous: tuple[str, ...] = ()


class PasswordTests(LoginCase):
    def log_in(self, protocol: str, password: str) -> bool:
        """Whether a client of the standard library gets in."""
        port = self.ports[protocol]
        try:
            match protocol:
                case "imap":
                    with imaplib.IMAP4(HOST, port, 10) as client:
                        client.login(ANN, password)
                case "pop3":
                    maildrop = poplib.POP3(HOST, port, 10)
                    maildrop.user(ANN)
                    try:
                        maildrop.pass_(password)
                    finally:
                        maildrop.quit()
                case "submission":
                    with smtplib.SMTP(HOST, port, timeout=PATIENCE) as session:
                        session.login(ANN, password)
                case "ftp":
                    with ftplib.FTP(timeout=PATIENCE) as files:
                        files.connect(HOST, port)
                        files.login(ANN, password)
        except (
            imaplib.IMAP4.error,
            poplib.error_proto,
            smtplib.SMTPAuthenticationError,
            ftplib.error_perm,
        ):
            return False
        return True

    async def takes(self, password: str) -> list[str]:
        protocols = ("imap", "pop3", "submission", "ftp")
        return [name for name in protocols if await self.in_thread(self.log_in, name, password)]

    async def test_app_passwords(self) -> None:
        shown, kept = new_app_password(["imap", "smtp"], int(time.time()))
        await self.store.add_app_password(account=ANN, password=kept)
        await self.store.set_password_scopes(account=ANN, scopes=["ftp"])
        self.assertEqual(await self.takes(shown), ["imap", "submission"])
        self.assertEqual(await self.takes("secret"), ["ftp"])
        (noted,) = await self.store.list_app_passwords(account=ANN)
        self.assertEqual((noted.used_from, noted.used_by), (HOST, "imap"))

    async def test_codes(self) -> None:
        factor, recovery = new_second_factor()
        await self.store.set_second_factor(account=ANN, factor=factor)
        code = pyotp.TOTP(factor.secret).now()
        # Once, and not by the next that comes with it.
        self.assertEqual(await self.takes(f"secret{code}"), ["imap"])
        self.assertEqual(await self.takes(f"secret{recovery[0]}"), ["imap"])
        self.assertTrue(await self.in_thread(self.log_in, "ftp", f"secret{recovery[1]}"))


class TokenTests(LoginCase):
    def make_checkers(self) -> list[Any]:
        page = Page()
        identity = make_identity(["localhost"], authority())
        number = serve_https(self, Site(page), identity)
        self.issuer = f"https://localhost:{number}"
        page.answers = {
            b"/.well-known/openid-configuration": {
                "issuer": self.issuer,
                "jwks_uri": f"{self.issuer}/keys",
            },
            b"/keys": {"keys": [public_jwk("rsa", "RS256")]},
        }
        ca_file = Path(self.directory, "issuer.pem")
        ca_file.write_bytes(authority().pem)
        return [make(self.issuer, audience=["mail"], ca_file=str(ca_file))]

    def token(self, **changes: Any) -> str:
        # As long as those of Microsoft.
        claims = {"email": ANN, "exp": int(time.time()) + 600, "groups": ["x" * 20] * 80}
        return new_token(iss=self.issuer, **{**claims, **changes})

    async def test_curl(self) -> None:
        for scheme, name in (("imaps", "imaps"), ("pop3s", "pop3s"), ("smtps", "submissions")):
            url = f"{scheme}://localhost:{self.ports[name]}/"
            command = ("curl", "-sS", "--max-time", "20", "--cacert", self.certificate, url)
            command += (
                ("--user", f"{ANN}:") if scheme != "smtps" else ("--user", f"{ANN}:", "-X", "NOOP")
            )
            await self.run_program(*command, "--oauth2-bearer", self.token())
            # 67: the login was refused.
            await self.run_program(*command, "--oauth2-bearer", self.token(aud="web"), code=67)

    async def test_imapclient(self) -> None:
        def work(token: str, method: str) -> None:
            with imapclient.IMAPClient(
                "localhost", self.ports["imaps"], ssl_context=self.client_tls(), timeout=PATIENCE
            ) as client:
                getattr(client, method)(ANN, token)
                client.select_folder("INBOX")

        for method in ("oauthbearer_login", "oauth2_login"):
            await self.in_thread(work, self.token(), method)
            with self.assertRaises(LoginError):
                await self.in_thread(work, self.token(exp=1), method)

    async def test_msmtp(self) -> None:
        mail = f"From: {ANN}\r\nTo: {ANN}\r\nSubject: token\r\n\r\nHello\r\n".encode()
        for method in ("oauthbearer", "xoauth2"):
            for token, code in ((self.token(), 0), (self.token(aud="web"), 77)):
                config, file = Path(self.directory, "msmtprc"), Path(self.directory, "token")
                # A line of its settings has 500 characters.
                file.write_text(token + "\n")
                config.write_text(
                    f"account a\nhost localhost\nport {self.ports['submissions']}\nfrom {ANN}\n"
                    f"tls on\ntls_starttls off\ntls_trust_file {self.certificate}\ntimeout 20\n"
                    f"auth {method}\nuser {ANN}\npasswordeval cat {file}\naccount default : a\n"
                )
                config.chmod(0o600)
                await self.run_program("msmtp", "-C", str(config), ANN, input=mail, code=code)
        self.assertEqual(len(await self.contents(user=ANN)), 2)

    async def test_mutt(self) -> None:
        program = shutil.which("mutt")
        if program is None:
            raise SkipTest("mutt is not installed")
        self.user = ANN
        await self.deliver(b"Subject: token\r\n\r\nText\r\n")
        settings, file = Path(self.directory, "muttrc"), Path(self.directory, "token")
        file.write_text(self.token() + "\n")
        for number, method in enumerate(("oauthbearer", "xoauth2")):
            url = f"imaps://localhost:{self.ports['imaps']}/"
            settings.write_text(
                f'set imap_user="{ANN}"\nset imap_authenticators="{method}"\n'
                f'set imap_oauth_refresh_command="cat {file}"\n'
                f'set folder="{url}"\nset spoolfile="{url}INBOX"\n'
                f'set certificate_file="{self.certificate}"\n'
                "set ssl_verify_host=no\nset confirmappend=no\nset confirmcreate=no\nset quit=yes\nset timeout=1\nset move=no\nset wait_key=no\nset sleep_time=0\n"
                f'push "<copy-message>{self.directory}/copy-{number}<enter><quit>"\n'
            )
            arguments = [program, "-n", "-F", str(settings)]
            status = await self.in_thread(run_in_terminal, arguments, self.directory)
            self.assertEqual(status, 0)
            copy = Path(self.directory, f"copy-{number}").read_bytes()
            self.assertIn(b"Subject: token\n", copy)

    async def test_getmail(self) -> None:
        self.user = ANN
        await self.deliver(b"Subject: token\r\n\r\nText\r\n")
        file, config = Path(self.directory, "token"), Path(self.directory, "getmailrc")
        file.write_text(self.token())
        config.write_text(
            f"[retriever]\ntype = SimpleIMAPSSLRetriever\nserver = localhost\n"
            f"port = {self.ports['imaps']}\nusername = {ANN}\nuse_xoauth2 = true\n"
            f"password_command = ('/bin/cat', '{file}')\nca_certs = {self.certificate}\n"
            "[destination]\ntype = MDA_external\npath = /bin/sh\nallow_root_commands = true\n"
            f"arguments = ('-c', 'cat > \"{self.directory}/fetched\"')\n"
            "[options]\nread_all = false\nreceived = false\ndelivered_to = false\nverbose = 0\n"
        )
        directory = f"--getmaildir={self.directory}"
        await self.run_program("getmail", directory, f"--rcfile={config}", HOME=self.directory)
        self.assertIn(b"Subject: token\n", Path(self.directory, "fetched").read_bytes())

    async def test_our_clients(self) -> None:
        tls = TLSPolicy.required()
        for mechanism in ("OAUTHBEARER", "XOAUTH2"):
            known = {mechanism: CLIENT_MECHANISMS[mechanism]}
            for token, good in ((self.token(), True), (self.token(aud="web"), False)):
                credentials = Credentials(ANN, token=token)
                for connect, settings, port in (
                    (imap.connect, imap.ClientSettings(tls, credentials, mechanisms=known), "imap"),
                    (pop3.connect, pop3.ClientSettings(tls, credentials, mechanisms=known), "pop3"),
                    (
                        smtp.connect,
                        smtp.ClientSettings(tls=tls, credentials=credentials, mechanisms=known),
                        "submission",
                    ),
                ):
                    connecting: Any = connect(f"{HOST}:{self.ports[port]}", settings)
                    if good:
                        client = await connecting
                        self.assertEqual(client.facts.account, ANN)
                        await (client.logout() if port == "imap" else client.quit())
                        continue
                    with self.assertRaises(AuthFailed):
                        await connecting


class AnonymousTests(LoginCase):
    anonymous = (f"imap:{ANN}", f"ftp:{ANN}")

    async def setUp(self) -> None:
        await super().setUp()
        self.user = ANN
        await self.deliver(b"Subject: public\r\n\r\nText\r\n")
        home = Path(self.directory, ANN)
        home.mkdir()
        Path(home, "public").write_text("for everybody\n")

    async def test_imaplib(self) -> None:
        def work() -> list[Any]:
            with imaplib.IMAP4(HOST, self.ports["imap"], 10) as client:
                client.authenticate("ANONYMOUS", lambda _: b"tests@example.test")
                client.select(readonly=True)
                self.assertEqual(client.store("1", "FLAGS", "\\Deleted")[0], "NO")
                return client.fetch("1", "(BODY[])")[1]

        self.assertIn(b"Subject: public", (await self.in_thread(work))[0][1])

    async def test_ftp_programs(self) -> None:
        url = f"ftp://{HOST}:{self.ports['ftp']}"
        # Each logs in as anonymous by itself.
        done = await self.run_program("curl", "-sS", "--max-time", "20", f"{url}/public")
        self.assertEqual(done.stdout, b"for everybody\n")
        settings = "set net:timeout 10; set net:max-retries 1; set ftp:ssl-allow no"
        done = await self.run_program("lftp", "-c", f"{settings}; open {url}; cat public")
        self.assertEqual(done.stdout, b"for everybody\n")
        upload = ("curl", "-sS", "--max-time", "20", "-T", "-", f"{url}/new")
        # 25: the server refuses it.
        await self.run_program(*upload, input=b"mine", code=25)
        self.assertFalse(Path(self.directory, ANN, "new").exists())
