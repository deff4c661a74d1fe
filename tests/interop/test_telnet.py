"""A person with telnet, who types as people do."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import time

import pytest

from mailkit.auth.portal import make_portal
from mailkit.delivery.local import LocalMessageDelivery
from mailkit.imap.protocol import IMAPFactory
from mailkit.pop3.protocol import POP3Factory
from mailkit.smtp.protocol import SMTPFactory
from tests.interop.support import ClientCase
from tests.support import HOST, PATIENCE

ANN, PASSWORD = "ann@example.org", "secret"


@pytest.mark.interop
class TelnetTests(ClientCase):
    if shutil.which("telnet") is None:
        skip = "telnet is not installed"

    user = ANN

    async def setUp(self) -> None:
        await super().setUp()
        await self.add_account(ANN, PASSWORD)
        self.portal = make_portal(
            self.store,
            deliveries=lambda account, _: LocalMessageDelivery(self.store, self.store, account),
        )

    def talk(self, port: int, *dialogue: tuple[str, str]) -> None:
        """Type lines, each when the answer to the one before is there.

        :param dialogue: lines, each with what its answer matches; telnet shows CRLF as LF.
        """
        process = subprocess.Popen(
            ("telnet", HOST, str(port)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None and process.stdout is not None
        give_up = time.monotonic() + PATIENCE
        try:
            for line, expected in dialogue:
                if line:
                    process.stdin.write(f"{line}\n".encode())
                    process.stdin.flush()
                shown = ""
                while not re.search(expected, shown):
                    ready, _, _ = select.select([process.stdout], [], [], 1)
                    octets = os.read(process.stdout.fileno(), 65536) if ready else b""
                    shown += octets.decode()
                    if (ready and not octets) or time.monotonic() > give_up:
                        self.fail(f"{line!r}: {expected!r} expected, {shown!r} shown")
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()

    async def test_smtp(self) -> None:
        port = self.listen(SMTPFactory(self.portal, hostname="mx.example.org"))
        await self.in_thread(
            self.talk,
            port,
            ("", "220 mx.example.org"),
            ("hello", "500 5.5.2 .*HELP"),
            ("help", r"214 2\.0\.0"),
            ("helo me", "250 "),
            ("mail from: me@example.net", "(250|501) "),
            ("rset", "250 "),
            ("mail from:<me@example.net>", "250 "),
            ("rcpt to:<ann@example.org>", "250 "),
            ("data", "354 .*<CRLF>.<CRLF>"),
            ("Subject: by hand\n\n..two dots are one\n.", r"250 2\.0\.0"),
            ("quit", "221 "),
        )
        (octets,) = await self.contents()
        self.assertTrue(octets.endswith(b"\r\n\r\n.two dots are one\r\n"))

    async def test_pop3(self) -> None:
        await self.deliver(b"Subject: one\r\n\r\n.dot\r\n")
        port = self.listen(POP3Factory(self.portal))
        await self.in_thread(
            self.talk,
            port,
            ("", r"\+OK "),
            ("hello", r"-ERR .*\n"),
            (f"user {ANN}", r"\+OK "),
            (f"pass {PASSWORD}", r"\+OK .*1 message"),
            ("retr 1", r"\n\.\.dot\n\.\n"),
            ("dele 1", r"\+OK "),
            ("quit", r"\+OK "),
        )
        self.assertEqual(await self.contents(), [])

    async def test_imap(self) -> None:
        await self.deliver(b"Subject: one\r\n\r\nHello\r\n")
        port = self.listen(IMAPFactory(self.portal))
        await self.in_thread(
            self.talk,
            port,
            ("", r"\* OK "),
            ("hello", "BAD .*tag.*\n"),
            ("login me you", "BAD .*\n"),
            (f"a login {ANN} {PASSWORD}", "a OK "),
            ("b select inbox", r"(?s)\* 1 EXISTS.*b OK "),
            ("c fetch 1 body[text]", r"(?s)Hello\n.*c OK "),
            ("d logout", r"(?s)\* BYE .*d OK "),
        )
