"""Logins with tickets of MIT's KDC: programs of others, the standard library, and our clients."""

from __future__ import annotations

import asyncio
import imaplib
import os
import poplib
import shutil
import smtplib
import sys
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
from twisted.trial.unittest import SkipTest

from mailkit.client.security import TLSPolicy
from mailkit.imap.client import ClientSettings as IMAPSettings
from mailkit.imap.client import aio as imap_aio
from mailkit.kerberos import KerberosError, begin_context
from mailkit.pop3.client import ClientSettings as POP3Settings
from mailkit.pop3.client import aio as pop3_aio
from mailkit.smtp.client import ClientSettings as SMTPSettings
from mailkit.smtp.client import aio as smtp_aio
from mailkit.wire.gssapi import SecurityContext, client_mechanisms
from mailkit.wire.sasl import SASLError
from mailkit.wire.sasl_client import Credentials
from tests.interop import mutt
from tests.interop.kdc import KDC, REALM, find_library, missing
from tests.interop.support import ANN, BOB, WholeServerTestCase
from tests.support import HOST, PATIENCE, mailkit_command

#: What the KDC and its clients call the server.
NAME = "localhost"


class Exchange:
    """A client's side of GSSAPI, for the standard library."""

    def __init__(self, service: str, identity: str = "") -> None:
        context, first = begin_context(service, NAME)
        credentials = Credentials("", authorization_id=identity)
        self._client = client_mechanisms(context, first)["GSSAPI"](credentials)

    def answer(self, challenge: bytes) -> bytes:
        return self._client.respond(challenge)

    def line(self, challenge: bytes) -> str:
        return b64encode(self.answer(b64decode(challenge))).decode()


@pytest.mark.interop
class GSSAPITests(WholeServerTestCase):
    skip = missing()

    def setUp(self) -> None:
        super().setUp()
        self.add_account(BOB)
        library = find_library(self.directory / "library")
        if library is None:
            raise SkipTest(
                "gssapi is not installed: python3-gssapi is missing, or for another Python"
            )
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), library]))
        self.patch(sys, "path", [*sys.path, library])
        self.kdc = KDC(self.directory / "kdc")
        patcher = mock.patch.dict(os.environ, {**self.kdc.environment, "PYTHONPATH": path})
        patcher.start()
        self.addCleanup(patcher.stop)
        self.addCleanup(self.kdc.stop)
        self.kdc.start()
        keytab = self.kdc.fill(
            {user: f"{user} of {REALM}" for user in ("ann", "eve")},
            [f"{service}/{NAME}" for service in ("imap", "pop", "smtp")],
        )
        lines = self.config.read_text()
        self.config.write_text(
            f'{lines}\n[gssapi]\nkeytab = "{keytab}"\nrealms = "{REALM}"\n'
            # Nobody waits after those that are refused.
            f'[login-guard]\ntrusted = "{HOST}"\naccount-wait = 0\n'
        )
        self.server = self.start()
        self.log_in("ann")

    def log_in(self, user: str) -> None:
        self.kdc.get_ticket(user, f"{user} of {REALM}")

    # Each tells how often it has logged in, by which protocols.

    def by_the_standard_library(self) -> list[str]:
        with imaplib.IMAP4(HOST, self.ports["imap"], timeout=PATIENCE) as imap:
            self.assertIn("AUTH=GSSAPI", imap.capabilities)
            imap.authenticate("GSSAPI", Exchange("imap").answer)
        with smtplib.SMTP(HOST, self.ports["submission"], timeout=PATIENCE) as smtp:
            smtp.ehlo()
            exchange = Exchange("smtp")
            code, answer = smtp.docmd("AUTH", "GSSAPI " + exchange.line(b""))
            while code == 334:
                code, answer = smtp.docmd(exchange.line(answer))
            self.assertEqual(code, 235)
        pop3 = poplib.POP3(HOST, self.ports["pop3"], timeout=PATIENCE)
        exchange = Exchange("pop")
        reply = pop3._shortcmd("AUTH GSSAPI")  # type: ignore[attr-defined]
        while reply.startswith(b"+ "):
            reply = pop3._shortcmd(exchange.line(reply[2:]))  # type: ignore[attr-defined]
        self.assertTrue(reply.startswith(b"+OK"), reply)
        pop3.quit()
        return ["imap", "submission", "pop3"]

    def by_our_clients(self) -> list[str]:
        tls, credentials = TLSPolicy.none(), Credentials(ANN)

        async def log_in() -> None:
            known = client_mechanisms(*begin_context("imap", NAME))
            imap = await imap_aio.connect(
                f"{HOST}:{self.ports['imap']}", IMAPSettings(tls, credentials, mechanisms=known)
            )
            await imap.logout()
            known = client_mechanisms(*begin_context("pop", NAME))
            pop3 = await pop3_aio.connect(
                f"{HOST}:{self.ports['pop3']}", POP3Settings(tls, credentials, mechanisms=known)
            )
            await pop3.quit()
            known = client_mechanisms(*begin_context("smtp", NAME))
            smtp = await smtp_aio.connect(
                f"{HOST}:{self.ports['submission']}",
                SMTPSettings(tls=tls, credentials=credentials, mechanisms=known),
            )
            await smtp.quit()

        asyncio.run(log_in())
        return ["imap", "submission", "pop3"]

    def by_gsasl(self) -> list[str]:
        for option, port, service in (
            ("--imap", "imap", "imap"),
            ("--smtp", "submission", "smtp"),
        ):
            self.run_program(
                *("gsasl", option, "--no-starttls", "--mechanism", "GSSAPI", "--service", service),
                *("--hostname", NAME, "--authorization-id", ANN, NAME, str(self.ports[port])),
            )
        return ["imap", "submission"]

    def by_curl(self) -> list[str]:
        curl = ("curl", "--silent", "--login-options", "AUTH=GSSAPI", "--user", f"{ANN}:")
        self.run_program(
            *curl,
            *("--sasl-authzid", ANN, "--mail-from", ANN, "--mail-rcpt", ANN),
            *("--upload-file", "-", f"smtp://{NAME}:{self.ports['submission']}"),
            input="Subject: by curl\r\n\r\nText\r\n",
        )
        self.run_program(*curl, f"imap://{NAME}:{self.ports['imap']}/INBOX")
        self.run_program(*curl, f"pop3://{NAME}:{self.ports['pop3']}/")
        return ["imap", "submission", "pop3"]

    def by_fetchmail(self) -> list[str]:
        settings = self.directory / "fetchmailrc"
        settings.write_text(
            f'poll {NAME} protocol imap port {self.ports["imap"]} auth gssapi user "{ANN}"'
            f' sslproto "" keep fetchall mda "cat > {self.directory}/fetched"\n'
        )
        settings.chmod(0o600)
        with imaplib.IMAP4(HOST, self.ports["imap"], timeout=PATIENCE) as imap:
            imap.authenticate("GSSAPI", Exchange("imap").answer)
            imap.append("INBOX", None, None, b"Subject: to fetch\r\n\r\nText\r\n")
        self.run_program("fetchmail", "--fetchmailrc", str(settings), "--pidfile", "pid")
        self.assertIn("Subject: to fetch", (self.directory / "fetched").read_text())
        return ["imap", "imap"]

    def by_mutt(self) -> list[str]:
        server = f"imap://{NAME}:{self.ports['imap']}"
        user = (f'imap_user="{ANN}"', 'imap_authenticators="gssapi"')
        self.assertEqual(mutt.open_inbox(self.directory, server, *user), 0)
        return ["imap"]

    def by_our_command(self) -> list[str]:
        """Fetch Ann's maildrop into Bob's account."""
        fetched = mailkit_command(
            *("--store", self.store, "import", "pop3", BOB, "--host", NAME, "--user", ANN),
            *("--port", str(self.ports["pop3"]), "--tls", "none", "--mechanism", "GSSAPI"),
        )
        self.assertEqual(fetched.returncode, 0, fetched.stderr)
        self.assertIn("Fetched ", fetched.stdout)
        return ["pop3"]

    def test_who_gets_in(self) -> None:
        expected = Counter([*self.by_the_standard_library(), *self.by_our_clients()])
        expected.update(self.by_our_command())
        for program, log_in in (
            ("gsasl", self.by_gsasl),
            ("curl", self.by_curl),
            ("fetchmail", self.by_fetchmail),
            ("mutt", self.by_mutt),
        ):
            if shutil.which(program) is not None:
                expected.update(log_in())
        self.stop(self.server)
        told: Counter[str] = Counter()
        for line in self.server.log.splitlines():
            if "login succeeded" not in line:
                self.assertNotIn("login failed", line)
                continue
            self.assertIn(f" mechanism=GSSAPI tls=- cipher=- reason=- account={ANN}", line)
            # Equal logins are told once, with their number.
            protocol = line.partition(" protocol=")[2].split()[0]
            told[protocol] += int(line.partition(" count=")[2] or 1)
        self.assertEqual(told, expected)

    @contextmanager
    def refused(self) -> Iterator[imaplib.IMAP4]:
        with (
            imaplib.IMAP4(HOST, self.ports["imap"], timeout=PATIENCE) as imap,
            self.assertRaises(imaplib.IMAP4.error),
        ):
            yield imap

    def test_who_is_refused(self) -> None:
        with self.refused() as imap:
            imap.authenticate("GSSAPI", Exchange("imap", BOB).answer)
        # Not the service that the ticket is for.
        with self.refused() as imap:
            imap.authenticate("GSSAPI", Exchange("smtp").answer)
        arguments = ("--store", self.store, "account", "administrators", "--add", ANN)
        made = mailkit_command(*arguments)
        self.assertEqual(made.returncode, 0, made.stderr)
        with imaplib.IMAP4(HOST, self.ports["imap"], timeout=PATIENCE) as client:
            client.authenticate("GSSAPI", Exchange("imap", BOB).answer)
        # A ticket that was seen before.
        first = begin_context("imap", NAME)[1]
        for _ in range(2):
            with self.refused() as imap:
                imap.authenticate("GSSAPI", lambda challenge: b"" if challenge else first)
        # Somebody whom the KDC knows, and we do not.
        self.log_in("eve")
        with self.refused() as imap:
            imap.authenticate("GSSAPI", Exchange("imap").answer)
        self.assertRaises(KerberosError, begin_context, "nntp", NAME)
        context: SecurityContext = begin_context("imap", NAME)[0]
        self.assertRaises(SASLError, context.step, b"nonsense")
        self.stop(self.server)
        self.assertIn(f"account={ANN} acting-for={BOB}", self.server.log)
        self.assertIn("Request is a replay", self.server.log)
        self.assertNotIn("account=eve", self.server.log)
