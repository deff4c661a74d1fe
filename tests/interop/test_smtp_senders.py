"""Other people's senders, as many at once as they like, and a Postfix that relays to us."""

from __future__ import annotations

import asyncio
import imaplib
import os
import re
import shutil
import smtplib
import subprocess
import time
from collections import Counter
from email.message import EmailMessage

import pytest

from tests.interop import postfix
from tests.interop.support import ANN, BOB, WholeServerTestCase, message
from tests.mime import corpus
from tests.support import HOST, PATIENCE, environment

try:
    import aiosmtplib
except ImportError:
    aiosmtplib = None  # type: ignore[assignment]

#: Where Debian's packages put what Node.js can load, for a node that is not Debian's too.
NODE_ENVIRONMENT = {"NODE_PATH": "/usr/share/nodejs"}


def _has_nodemailer() -> bool:
    if shutil.which("node") is None:
        return False
    done = subprocess.run(
        ["node", "-e", "require('nodemailer')"],
        env={**os.environ, **NODE_ENVIRONMENT},
        capture_output=True,
        timeout=PATIENCE,
    )
    return done.returncode == 0


class SenderCase(WholeServerTestCase):
    """A real server for two users."""

    def setUp(self) -> None:
        super().setUp()
        self.add_account(BOB)

    def run_program(self, *arguments: str, **variables: str) -> str:
        done = subprocess.run(
            arguments,
            cwd=self.directory,
            env={**environment(), **variables},
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def messages(self, user: str) -> list[bytes]:
        """All messages of a user, in the order in which they came."""
        with imaplib.IMAP4(HOST, self.ports["imap"], timeout=PATIENCE) as client:
            client.login(user, f"{user} secret")
            client.select(readonly=True)
            _, data = client.fetch("1:*", "(BODY[])")
            return [item[1] for item in data if isinstance(item, tuple)]

    def wait_for(self, user: str, count: int) -> list[bytes]:
        """The messages of a user, once there are so many."""
        give_up = time.monotonic() + PATIENCE
        with imaplib.IMAP4(HOST, self.ports["imap"], timeout=PATIENCE) as client:
            client.login(user, f"{user} secret")
            found = -1
            while found < count and time.monotonic() < give_up:
                _, data = client.status("INBOX", "(MESSAGES)")
                found = int(re.findall(rb"\d+", data[0] or b"")[-1])
                time.sleep(0.05)
        return self.messages(user)


@pytest.mark.interop
class SMTPSourceTests(SenderCase):
    """Postfix's load generator: 100 sessions at a time."""

    if shutil.which("smtp-source") is None:
        skip = "smtp-source (postfix) is not installed"

    def send(self, *options: str) -> list[bytes]:
        server = self.start()
        self.run_program(
            *("smtp-source", "-s", "100", "-m", "400", "-l", "4096", *options),
            *("-f", "source@example.org", "-t", ANN, f"{HOST}:{self.ports['smtp']}"),
        )
        found = self.messages(ANN)
        self.stop(server)
        return found

    def test_a_message_a_connection(self) -> None:
        self.assertEqual(len(self.send()), 400)

    def test_many_messages_a_connection(self) -> None:
        found = self.send("-d")
        self.assertEqual(len(found), 400)
        # Each was taken once.
        ids = Counter(re.findall(rb"\r\n\tby \S+ with SMTP id (\S+)", b"".join(found)))
        self.assertEqual((len(ids), set(ids.values())), (400, {1}))


_NODEMAILER = """
const nodemailer = require('nodemailer');
const [port, secure, user, password] = process.argv.slice(1);
const transport = nodemailer.createTransport({
  host: '127.0.0.1', port: Number(port), secure: secure === 'yes', pool: true, maxConnections: 3,
  requireTLS: secure !== 'yes', tls: {rejectUnauthorized: false}, auth: {user, pass: password},
});
(async () => {
  const sent = [];
  for (let i = 0; i < 7; i++)
    sent.push(transport.sendMail({
      from: user, to: 'bob@example.test', cc: user, subject: `Gr\\u00fc\\u00dfe ${i}`,
      text: `.dot\\n..dots\\nnumber ${i}\\n`, html: '<p>hello</p>',
      attachments: [{filename: 'zeros.bin', content: Buffer.alloc(100000)}],
    }));
  for (const info of await Promise.all(sent))
    if (info.accepted.length !== 2) throw new Error(JSON.stringify(info));
  let refused = null;
  try {
    await transport.sendMail({from: 'eve@example.test', to: user, text: 'x'});
  } catch (error) { refused = error.responseCode; }
  transport.close();
  console.log(refused);
})().catch((error) => { console.error(error); process.exit(1); });
"""


@pytest.mark.interop
class NodemailerTests(SenderCase):
    """nodemailer's pool, with STARTTLS and under TLS."""

    if not _has_nodemailer():
        skip = "nodemailer (node-nodemailer) is not installed"

    def test_pooled_submission(self) -> None:
        server = self.start()
        for port, secure in (("submission", "no"), ("submissions", "yes")):
            login = (str(self.ports[port]), secure, ANN, f"{ANN} secret")
            printed = self.run_program("node", "-e", _NODEMAILER, *login, **NODE_ENVIRONMENT)
            # Somebody else's address.
            self.assertEqual(printed.strip(), "550")
        for user in (ANN, BOB):
            found = self.messages(user)
            self.assertEqual(len(found), 14)
            numbers = Counter(re.findall(rb"\r\n\.dot\r\n\.\.dots\r\nnumber (\d)", b"".join(found)))
            self.assertEqual(numbers, {b"%d" % number: 2 for number in range(7)})
        self.stop(server)


@pytest.mark.interop
class AiosmtplibTests(SenderCase):
    """aiosmtplib, many clients in one event loop."""

    if aiosmtplib is None:
        skip = "aiosmtplib is not installed"

    async def send(self, number: int) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = ANN, BOB, f"Zahl {number}"
        mail.set_content(f".number {number}\nGrüße\n")
        async with aiosmtplib.SMTP(
            hostname=HOST,
            port=self.ports["submission"],
            tls_context=self.trusted,
            start_tls=True,
            username=ANN,
            password=f"{ANN} secret",
            timeout=PATIENCE,
        ) as client:
            refused, _ = await client.send_message(mail)
            self.assertEqual(refused, {})
            with self.assertRaises(aiosmtplib.SMTPRecipientsRefused):
                await client.sendmail(ANN, ["nobody@example.test"], b"Subject: x\r\n\r\n")

    def test_many_at_once(self) -> None:
        server = self.start()

        async def all_of_them() -> None:
            await asyncio.gather(*map(self.send, range(20)))

        asyncio.run(all_of_them())
        found = b"".join(self.messages(BOB))
        numbers = sorted(int(number) for number in re.findall(rb"\r\n\.number (\d+)\r\n", found))
        self.assertEqual(numbers, list(range(20)))
        self.stop(server)


@pytest.mark.interop
class PostfixTests(SenderCase):
    """A Postfix in front of us: what it got is what we have, but for trace fields."""

    if postfix.MISSING:
        skip = postfix.MISSING

    def setUp(self) -> None:
        super().setUp()
        relayhost = f"[{HOST}]:{self.ports['smtp']}"
        self.postfix = postfix.Postfix({"relayhost": relayhost, "smtp_tls_security_level": "may"})
        self.addCleanup(self.postfix.stop)
        self.postfix.start()

    def send(self, mails: list[tuple[str, bytes]], options: tuple[str, ...] = ()) -> None:
        with smtplib.SMTP(HOST, self.postfix.port, timeout=PATIENCE) as client:
            for _, mail in mails:
                client.sendmail("me@example.org", [ANN], mail, mail_options=options)

    def check(self, mails: list[tuple[str, bytes]]) -> None:
        found = self.wait_for(ANN, len(mails))
        self.assertEqual(len(found), len(mails), self.postfix.log)
        self.assertIn("Received: from postfix.example.test", found[0].decode("latin-1"))
        by_name = {name_of(octets): octets for octets in found}
        for name, mail in mails:
            whole = by_name[name.encode()]
            self.assertTrue(whole.endswith(mail), (name, whole[:2000], mail[:2000]))

    def test_plain_and_eight_bit(self) -> None:
        server = self.start()
        mails = [(name, named(name, message(name))) for name in ("one", "two", "three")]
        self.send(mails, ("BODY=8BITMIME",))
        self.check(mails)
        self.stop(server)

    def test_the_corpus(self) -> None:
        if corpus.MISSING:
            self.skipTest(corpus.MISSING)
        server = self.start()
        mails = [(name, named(name, octets)) for name, octets in corpus.messages()]
        mails = [(name, octets) for name, octets in mails if survives_postfix(octets)]
        self.assertGreater(len(mails), 100)
        self.send(mails, ("BODY=8BITMIME",))
        self.check(mails)
        self.stop(server)


def named(name: str, octets: bytes) -> bytes:
    """The message with line ends as SMTP wants them, and a field to know it by."""
    lines = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    body = b"\r\n".join(lines)
    return b"X-Name: %b\r\n%b" % (name.encode(), body if body.endswith(b"\r\n") else body + b"\r\n")


def name_of(octets: bytes) -> bytes:
    found = re.search(rb"^X-Name: (.*)\r$", octets, re.MULTILINE)
    assert found is not None, octets[:500]
    return found[1]


_HEADER = re.compile(rb"(?:[!-9;-~]+:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)+\r\n")


def survives_postfix(octets: bytes) -> bool:
    """Whether the header is one: Postfix puts an empty line where it is not, and mends names."""
    return _HEADER.match(octets) is not None
