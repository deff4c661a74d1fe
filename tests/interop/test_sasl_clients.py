"""Our clients log in to Dovecot by each mechanism that both have."""

from __future__ import annotations

import hmac
import json
import os
import time
from base64 import urlsafe_b64encode

import pytest
from twisted.trial.unittest import TestCase

from mailkit.client.errors import AuthFailed
from mailkit.client.security import TLSPolicy
from mailkit.imap import client as imap
from mailkit.pop3 import client as pop3
from mailkit.smtp import client as smtp
from mailkit.tap.tls import self_signed
from mailkit.wire.sasl_client import CLIENT_MECHANISMS, Credentials
from tests.interop import dovecot
from tests.support import HOST

pytestmark = pytest.mark.interop

USER = "ann@example.test"
MECHANISMS = ("CRAM-MD5", "LOGIN", "PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256")
TOKEN_MECHANISMS = ("OAUTHBEARER", "XOAUTH2")
KEY = b"k" * 32


def make_token(key: bytes = KEY) -> str:
    """A JWT (RFC 7519), signed with HS256."""
    claims = {"email": USER, "sub": USER, "iat": int(time.time()), "exp": int(time.time()) + 600}
    parts = [
        urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "typ": "JWT"}, claims)
    ]
    signature = hmac.digest(key, b".".join(parts), "sha256")
    return b".".join([*parts, urlsafe_b64encode(signature).rstrip(b"=")]).decode()


class DovecotTests(TestCase):
    skip = dovecot.SUBMISSION_MISSING or dovecot.POP3_MISSING or None

    def setUp(self) -> None:
        certificate, key = self_signed(os.path.abspath(self.mktemp()))
        self.server = dovecot.Dovecot(
            USER,
            tls=(certificate, key),
            mechanisms=" ".join(MECHANISMS + TOKEN_MECHANISMS),
            token_key=KEY,
            submission=True,
            pop3=True,
        ).start()
        self.addCleanup(self.server.stop)

    async def log_in(
        self, *mechanisms: str, password: str = "x", token: str = "", clear: bool = False
    ) -> None:
        """Over IMAP, then over submission, then over POP3."""
        tls = TLSPolicy.none() if clear else TLSPolicy.required()
        credentials = Credentials(USER, "" if token else password, token=token)
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
        maildrop = await pop3.connect(
            f"{HOST}:{self.server.pop3_port}",
            pop3.ClientSettings(tls, credentials, mechanisms=known),
        )
        self.assertEqual(maildrop.facts.account, USER)
        await maildrop.quit()

    async def test_each(self) -> None:
        for name in MECHANISMS:
            await self.log_in(name)
            self.assertEqual(self.server.log.count(f"method={name},"), 3, self.server.log)

    async def test_tokens(self) -> None:
        for name in TOKEN_MECHANISMS:
            await self.log_in(name, token=make_token())
            self.assertEqual(self.server.log.count(f"method={name},"), 3, self.server.log)
        # Dovecot's error challenge is told; it takes its time to refuse.
        with self.assertRaisesRegex(AuthFailed, r"\(\w+.*\)"):
            await self.log_in("OAUTHBEARER", token=make_token(b"other" * 8))

    async def test_the_strongest(self) -> None:
        await self.log_in()
        self.assertEqual(self.server.log.count("method=SCRAM-SHA-256,"), 3, self.server.log)

    async def test_scram_without_tls(self) -> None:
        await self.log_in("SCRAM-SHA-1", clear=True)

    async def test_a_wrong_password(self) -> None:
        with self.assertRaises(AuthFailed):
            await self.log_in("SCRAM-SHA-256", password="y")
