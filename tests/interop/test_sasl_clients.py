"""Our clients log in to Dovecot by each mechanism that both have."""

from __future__ import annotations

import os

import pytest
from twisted.trial.unittest import TestCase

from mailkit.client.errors import AuthFailed
from mailkit.client.security import TLSPolicy
from mailkit.imap import client as imap
from mailkit.smtp import client as smtp
from mailkit.tap.tls import self_signed
from mailkit.wire.sasl_client import CLIENT_MECHANISMS, Credentials
from tests.interop import dovecot
from tests.support import HOST

pytestmark = pytest.mark.interop

USER = "ann@example.test"
MECHANISMS = ("LOGIN", "PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256")


class DovecotTests(TestCase):
    skip = dovecot.SUBMISSION_MISSING or None

    def setUp(self) -> None:
        certificate, key = self_signed(os.path.abspath(self.mktemp()))
        self.server = dovecot.Dovecot(
            USER, tls=(certificate, key), mechanisms=" ".join(MECHANISMS), submission=True
        ).start()
        self.addCleanup(self.server.stop)

    async def log_in(self, *mechanisms: str, password: str = "x", clear: bool = False) -> None:
        """Over IMAP, then over submission."""
        tls = TLSPolicy.none() if clear else TLSPolicy.required()
        credentials = Credentials(USER, password)
        known = {name: CLIENT_MECHANISMS[name] for name in mechanisms} or CLIENT_MECHANISMS
        mailbox = await imap.connect(
            f"{HOST}:{self.server.imap_port}",
            imap.ClientSettings(tls, credentials, mechanisms=known),
        )
        self.assertEqual(mailbox.facts.account, USER)
        await mailbox.logout()
        settings = smtp.ClientSettings(tls=tls, credentials=credentials, mechanisms=known)
        session = await smtp.connect(f"{HOST}:{self.server.submission_port}", settings)
        self.assertEqual(session.facts.account, USER)
        await session.quit()

    async def test_each(self) -> None:
        for name in MECHANISMS:
            await self.log_in(name)
            self.assertEqual(self.server.log.count(f"method={name},"), 2, self.server.log)

    async def test_the_strongest(self) -> None:
        await self.log_in()
        self.assertEqual(self.server.log.count("method=SCRAM-SHA-256,"), 2, self.server.log)

    async def test_scram_without_tls(self) -> None:
        await self.log_in("SCRAM-SHA-1", clear=True)

    async def test_a_wrong_password(self) -> None:
        with self.assertRaises(AuthFailed):
            await self.log_in("SCRAM-SHA-256", password="y")
