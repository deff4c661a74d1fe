"""Real milters judge, sign and mark mail that we take: OpenDKIM, rspamd, spamass-milter, ClamAV."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import time
import unittest
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.internet import reactor
from twisted.internet.endpoints import clientFromString
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater

from mailkit.auth.portal import make_portal
from mailkit.delivery.local import LocalMessageDelivery
from mailkit.milter.connection import Milter, MilterSettings
from mailkit.milter.hook import MilterHook
from mailkit.smtp.extensions.settings import ExtensionSettings
from mailkit.smtp.protocol import SMTPFactory
from tests.interop.spamd import SpamDaemon
from tests.interop.test_smtp_clients import ANN, BOB, SMTPCase
from tests.support import HOST, PATIENCE, ROOT, free_ports, listens

#: A client that is nobody's friend, told by XCLIENT.
STRANGER = "198.51.100.9"
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


def message(text: bytes) -> bytes:
    return (
        b"From: Ann <ann@example.org>\r\nTo: <bob@example.org>\r\nSubject:  two\r\n\tlines\r\n"
        b"Date: Fri, 21 Nov 1997 09:55:06 -0600\r\nMessage-ID: <1@example.org>\r\n\r\n"
        + text
        + b"\r\n"
    )


def _accepts(path: Path) -> bool:
    """Whether somebody listens there: the file is there a little earlier."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


class MilterCase(SMTPCase):
    """An SMTP server that asks milters, and believes this machine's XCLIENT."""

    async def setUp(self) -> None:
        await super().setUp()
        # Open to the milters' users, and short enough for a socket's path.
        self.place = Path(tempfile.mkdtemp(prefix="milter"))
        self.addCleanup(shutil.rmtree, self.place, ignore_errors=True)
        self.place.chmod(0o755)
        (self.milter_port,) = free_ports(1)

    def serve(self, *endpoints: str, settings: MilterSettings | None = None) -> None:
        """Listen with these milters."""
        clock: Any = reactor
        milters = [
            Milter(clientFromString(clock, each), each, settings or MilterSettings(*(5.0,) * 3))
            for each in endpoints
        ]
        hook = MilterHook(*milters)
        self.hooks = [hook]
        portal = make_portal(
            self.store,
            deliveries=lambda account, _: LocalMessageDelivery(self.store, self.store, account),
        )
        self.factory = SMTPFactory(
            portal,
            hostname="mx.example.org",
            hooks=[hook],
            extensions=ExtensionSettings(xclient_from=[HOST]),
        )
        self.smtp = self.listen(self.factory)

    async def start(self, *arguments: str, ready: Callable[[], bool]) -> None:
        """Run a milter until the end of the test."""
        output = open(self.place / "output", "wb")
        process = subprocess.Popen(
            arguments, stdout=output, stderr=output, cwd=self.place, start_new_session=True
        )
        output.close()

        def stop() -> None:
            # OpenDKIM takes five seconds to end in order, and nothing is lost here.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)

        self.addCleanup(lambda: self.in_thread(stop))

        def wait() -> None:
            give_up = time.monotonic() + PATIENCE
            while not ready():
                if process.poll() is not None or time.monotonic() > give_up:
                    raise AssertionError((self.place / "output").read_text("utf-8", "replace"))
                time.sleep(0.05)

        await self.in_thread(wait)

    async def send(
        self, content: bytes, stranger: bool = False, times: int = 1, user: str = ""
    ) -> tuple[int, bytes]:
        """Send a message, as often as that over one connection; the last answer.

        :param user: who has logged in at a stranger's address.
        """

        def work() -> tuple[int, bytes]:
            with smtplib.SMTP(HOST, self.smtp, timeout=PATIENCE) as client:
                client.ehlo("client.example")
                if stranger or user:
                    login = f" LOGIN={user}" if user else ""
                    client.docmd("XCLIENT", f"ADDR={STRANGER} NAME=mail.example.net{login}")
                    client.ehlo("mail.example.net")
                for _ in range(times):
                    for command in (f"MAIL FROM:<{ANN}>", f"RCPT TO:<{BOB}>"):
                        answer = client.docmd(command)
                        if answer[0] != 250:
                            return answer
                    answer = client.data(content)
                return answer

        answer = await self.in_thread(work)
        while self.factory.connections:
            await deferLater(cast(Any, reactor), 0.01)
        return answer


@pytest.mark.interop
@unittest.skipIf(shutil.which("opendkim") is None, "opendkim is not installed")
class OpenDKIMTests(MilterCase):
    """It signs what our users write, and verifies what strangers bring."""

    async def start_opendkim(self, socket: str, **settings: str) -> None:
        key = rsa.generate_private_key(65537, 2048)
        (self.place / "key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        record = base64.b64encode(public).decode()
        (self.place / "keys").write_text(
            f"test._domainkey.example.org v=DKIM1; k=rsa; p={record}\n"
        )
        lines = {
            "Socket": socket,
            "Mode": "sv",
            "Domain": "example.org",
            "Selector": "test",
            "KeyFile": str(self.place / "key.pem"),
            "TestPublicKeys": str(self.place / "keys"),
            "AuthservID": "mx.example.org",
            "RequireSafeKeys": "no",
            "Background": "no",
            "Syslog": "no",
            "UMask": "000",
            **settings,
        }
        config = self.place / "opendkim.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        path = socket.partition(":")[2]
        await self.start(
            *("opendkim", "-f", "-x", str(config)),
            ready=lambda: _accepts(Path(path)) or listens(self.milter_port),
        )

    async def check(self, endpoint: str) -> None:
        self.serve(endpoint)
        self.assertEqual((await self.send(message(b"..dots\r\n\r\n\r\n")))[0], 250)
        (signed,) = await self.inbox(BOB)
        start = signed.index(b"DKIM-Signature: ")
        self.assertIn(b"d=example.org; s=test;", signed[start:])
        self.assertTrue(signed.endswith(message(b"..dots\r\n\r\n\r\n")))
        # What was signed is what is verified, from somebody else.
        self.assertEqual((await self.send(signed[start:], stranger=True))[0], 250)
        verified = (await self.inbox(BOB))[1]
        self.assertIsNotNone(
            re.search(rb"Authentication-Results: mx.example.org;\s+dkim=pass ", verified), verified
        )
        broken = signed[start:].replace(b"..dots", b"..dot")
        self.assertEqual((await self.send(broken, stranger=True))[0], 250)
        self.assertIn(b"dkim=fail", (await self.inbox(BOB))[2])

    async def test_over_tcp(self) -> None:
        await self.start_opendkim(f"inet:{self.milter_port}@{HOST}")
        await self.check(f"tcp:{HOST}:{self.milter_port}")

    async def test_over_a_unix_socket(self) -> None:
        path = self.place / "socket"
        await self.start_opendkim(f"local:{path}", Canonicalization="simple/simple")
        await self.check(f"unix:{path}")

    async def test_users_are_known_by_their_login(self) -> None:
        await self.start_opendkim(f"inet:{self.milter_port}@{HOST}")
        self.serve(f"tcp:{HOST}:{self.milter_port}")
        self.assertEqual((await self.send(message(b"x"), stranger=True))[0], 250)
        self.assertEqual((await self.send(message(b"x"), user=ANN))[0], 250)
        found = await self.inbox(BOB)
        self.assertEqual([m.count(b"DKIM-Signature: ") for m in found], [0, 1])

    async def test_many_messages_of_one_client(self) -> None:
        await self.start_opendkim(f"inet:{self.milter_port}@{HOST}")
        self.serve(f"tcp:{HOST}:{self.milter_port}")
        for _ in range(3):
            self.assertEqual((await self.send(message(b"x"), times=3))[0], 250)
        found = await self.inbox(BOB)
        self.assertEqual([m.count(b"DKIM-Signature: ") for m in found], [1] * 9)

    async def test_a_milter_that_is_not_there(self) -> None:
        for failure, code in (("tempfail", 451), ("reject", 550), ("accept", 250)):
            settings: Any = MilterSettings(connect_timeout=5, failure=failure)
            self.serve(f"tcp:{HOST}:{self.milter_port}", settings=settings)
            self.assertEqual((await self.send(message(b"x")))[0], code)


@pytest.mark.interop
@unittest.skipIf(shutil.which("rspamd") is None, "rspamd is not installed")
class RspamdTests(MilterCase):
    """Its proxy worker scans by itself; no name server answers it."""

    async def start_rspamd(self) -> None:
        (dns,) = free_ports(1)
        for name in ("run", "db"):
            (self.place / name).mkdir()
        (self.place / "tld").write_text("com\norg\nexample\n")
        (self.place / "empty.lua").write_text("")
        plugin = "/usr/share/rspamd/plugins/milter_headers.lua"
        (self.place / "rspamd.conf").write_text(f"""
            options {{
                pidfile = "{self.place}/run/pid";
                control_socket = "{self.place}/run/control mode=0600";
                hs_cache_dir = "{self.place}/db";
                url_tld = "{self.place}/tld";
                dns {{ nameserver = ["{HOST}:{dns}"]; timeout = 0.1s; retransmits = 1; }}
                enable_test_patterns = true;
                filters = "";
                rrd = ""; history_file = ""; stats_file = "";
            }}
            logging {{ type = "console"; level = "info"; }}
            lua = "{self.place}/empty.lua";
            modules {{ path = "{plugin}"; }}
            milter_headers {{ use = ["x-spam-status"]; skip_local = false; }}
            metric "default" {{ actions {{ reject = 15; add_header = 6; }} }}
            worker "rspamd_proxy" {{
                bind_socket = "{HOST}:{self.milter_port}";
                milter = yes;
                count = 1;
                upstream "local" {{ default = yes; self_scan = yes; }}
            }}
        """)
        await self.start(
            *("rspamd", "--no-fork", "--insecure", "-c", str(self.place / "rspamd.conf")),
            ready=lambda: listens(self.milter_port),
        )

    async def test_good_and_bad_mail(self) -> None:
        await self.start_rspamd()
        self.serve(f"tcp:{HOST}:{self.milter_port}")
        for stranger in (False, True):
            code, text = await self.send(message(b"hello"), stranger=stranger)
            self.assertEqual(code, 250, text)
            code, text = await self.send(message(GTUBE), stranger=stranger, times=2)
            self.assertEqual((code, b"Gtube pattern" in text), (554, True), text)
        found = await self.inbox(BOB)
        self.assertEqual(len(found), 2)
        for each in found:
            self.assertRegex(each, rb"\r\nX-Spam-Status: No, score=")

    async def test_one_connection_for_several_clients(self) -> None:
        await self.start_rspamd()
        settings: Any = MilterSettings(5.0, 5.0, 5.0, reuse=True)
        self.serve(f"tcp:{HOST}:{self.milter_port}", settings=settings)
        (hook,) = self.hooks
        self.addCleanup(hook.close)
        seen = set()
        for content, expected in ((b"hello", 250), (GTUBE, 554), (b"again", 250)):
            code, text = await self.send(message(content), times=2)
            self.assertEqual(code, expected, text)
            (idle,) = hook.milters[0]._idle
            seen.add(idle)
        self.assertEqual(len(seen), 1)
        self.assertEqual(len(await self.inbox(BOB)), 4)


@pytest.mark.interop
@unittest.skipIf(
    shutil.which("spamass-milter") is None or shutil.which("spamc") is None,
    "spamass-milter or spamc is not installed",
)
class SpamAssassinTests(MilterCase):
    """spamass-milter asks a stand-in for SpamAssassin's daemon, by way of spamc."""

    async def start_milter(self, *arguments: str) -> str:
        factory: Any = Factory.forProtocol(SpamDaemon)
        factory.noisy = False
        daemon = self.listen(factory)
        path = self.place / "socket"
        spamc = ("--", "-d", HOST, "-p", str(daemon))
        await self.start(
            *("spamass-milter", "-p", str(path), *arguments, *spamc), ready=partial(_accepts, path)
        )
        return f"unix:{path}"

    async def test_marks(self) -> None:
        self.serve(await self.start_milter())
        self.assertEqual((await self.send(message(b"hello")))[0], 250)
        self.assertEqual((await self.send(message(GTUBE), stranger=True, times=2))[0], 250)
        good, *bad = await self.inbox(BOB)
        self.assertIn(b"\r\nX-Spam-Status: No, score=0.0", good)
        self.assertNotIn(b"X-Spam-Flag", good)
        self.assertTrue(good.endswith(message(b"hello").partition(b"\r\n\r\n")[2]))
        self.assertEqual(len(bad), 2)
        for each in bad:
            self.assertIn(b"\r\nX-Spam-Flag: YES\r\n", each)

    async def test_refuses(self) -> None:
        self.serve(await self.start_milter("-r", "15", "-R", "Not that"))
        code, text = await self.send(message(GTUBE), stranger=True)
        self.assertEqual((code, b"Not that" in text), (550, True), text)
        self.assertEqual((await self.send(message(b"hello")))[0], 250)
        self.assertEqual(len(await self.inbox(BOB)), 1)


def _find_clamav(name: str) -> list[str]:
    """How to call it; nothing where it is not there."""
    if found := shutil.which(name):
        return [found]
    unpacked = ROOT / ".interop" / "usr" / "sbin" / name
    libraries = [str(each.parent) for each in (ROOT / ".interop").glob("usr/lib/*/libclamav.so.*")]
    if unpacked.exists() and libraries:
        return ["env", f"LD_LIBRARY_PATH={libraries[0]}", str(unpacked)]
    return []


CLAMD, CLAMAV_MILTER = _find_clamav("clamd"), _find_clamav("clamav-milter")


@pytest.mark.interop
@unittest.skipIf(
    not (CLAMD and CLAMAV_MILTER), "clamd or clamav-milter is not there (make interop-packages)"
)
class ClamAVTests(MilterCase):
    """clamav-milter asks a clamd that knows one virus."""

    VIRUS = b"mailkit-test-virus"

    async def start_milter(self, infected: str) -> str:
        database = self.place / "database"
        database.mkdir()
        (database / "one.ndb").write_text(f"Mailkit.Test:0:*:{self.VIRUS.hex()}\n", "ascii")
        daemon, milter = self.place / "clamd.sock", self.place / "milter.sock"
        common = f"Foreground yes\nTemporaryDirectory {self.place}\n"
        (self.place / "clamd.conf").write_text(
            f"{common}LocalSocket {daemon}\nDatabaseDirectory {database}\n", "utf-8"
        )
        (self.place / "milter.conf").write_text(
            f"{common}MilterSocket unix:{milter}\nClamdSocket unix:{daemon}\nOnInfected {infected}\n"
            "AddHeader Replace\n" + ("RejectMsg Not that: %v\n" if infected == "Reject" else ""),
            "utf-8",
        )
        for program, name, path in (
            (CLAMD, "clamd.conf", daemon),
            (CLAMAV_MILTER, "milter.conf", milter),
        ):
            await self.start(*program, "-c", str(self.place / name), ready=partial(_accepts, path))
        return f"unix:{milter}"

    async def test_refuses(self) -> None:
        self.serve(await self.start_milter("Reject"))
        self.assertEqual((await self.send(message(b"hello"), times=2))[0], 250)
        large = b"x" * 70 + b"\r\n"
        code, text = await self.send(message(large * 10_000 + self.VIRUS), stranger=True)
        self.assertEqual((code, b"Not that: Mailkit.Test" in text), (550, True), text)
        inbox = await self.inbox(BOB)
        self.assertEqual(len(inbox), 2)
        for each in inbox:
            self.assertIn(b"\r\nX-Virus-Status: Clean\r\n", each)

    async def test_discards(self) -> None:
        self.serve(await self.start_milter("Blackhole"))
        self.assertEqual((await self.send(message(self.VIRUS)))[0], 250)
        self.assertEqual(await self.inbox(BOB), [])

    async def test_quarantines(self) -> None:
        self.serve(await self.start_milter("Quarantine"))
        self.assertEqual((await self.send(message(self.VIRUS)))[0], 250)
        self.assertEqual(await self.inbox(BOB), [])
        (kept,) = await self.contents("Junk", BOB)
        self.assertIn(b"\r\nX-Virus-Status: Infected (Mailkit.Test", kept)
