"""``kill -9`` of a loaded server: whatever it acknowledged is there afterwards, octet for octet."""

from __future__ import annotations

import imaplib
import random
import re
import smtplib
import threading
from collections.abc import Callable

import pytest

from mailkit.store.sqlite.check import check_store
from tests.interop.support import ANN, BOB, ServerTestCase
from tests.support import HOST, PATIENCE, ServerProcess, free_ports

ROUNDS = 5
SMTP_CLIENTS = 6
IMAP_CLIENTS = 2
#: What a client meets when its server is killed, or is not up any more.
GONE = (OSError, EOFError, smtplib.SMTPException, imaplib.IMAP4.error)


def content(name: str) -> bytes:
    """The message of that name: of some KiB, now and then of more than a large body's size."""
    source = random.Random(name)
    size = 1_500_000 if source.random() < 0.03 else source.randrange(200, 20_000)
    text = source.randbytes(size).hex().encode()
    lines = b"".join(b".%b\r\n" % text[at : at + 70] for at in range(0, size, 70))
    return b"Subject: %b\r\n\r\n%b" % (name.encode(), lines)


class Load:
    """Clients that send until the server is gone, and know what it acknowledged."""

    def __init__(self, round_: int, smtp: int, imap: int) -> None:
        self.round = round_
        self.smtp, self.imap = smtp, imap
        self.acknowledged: list[tuple[str, str]] = []
        self.grew = threading.Condition()
        jobs: list[Callable[[int], None]] = [self.send] * SMTP_CLIENTS
        jobs += [self.append] * IMAP_CLIENTS
        self.threads = [
            threading.Thread(target=self.run, args=(job, number), daemon=True)
            for number, job in enumerate(jobs)
        ]

    def run(self, job: Callable[[int], None], number: int) -> None:
        try:
            job(number)
        except GONE:
            return

    def name(self, client: int, count: int) -> str:
        return f"r{self.round}-c{client}-m{count}"

    def acknowledge(self, user: str, name: str) -> None:
        with self.grew:
            self.acknowledged.append((user, name))
            self.grew.notify_all()

    def send(self, number: int) -> None:
        user = (ANN, BOB)[number % 2]
        with smtplib.SMTP(HOST, self.smtp, timeout=PATIENCE) as client:
            for count in range(1_000_000):
                name = self.name(number, count)
                client.sendmail("me@example.org", [user], content(name))
                self.acknowledge(user, name)

    def append(self, number: int) -> None:
        client = imaplib.IMAP4(HOST, self.imap, timeout=PATIENCE)
        client.login(ANN, f"{ANN} secret")
        for count in range(1_000_000):
            name = self.name(number, count)
            status, _ = client.append("INBOX", "", "", content(name))
            assert status == "OK"
            self.acknowledge(ANN, name)

    def until(self, count: int) -> None:
        """Send until so many messages are acknowledged."""
        for thread in self.threads:
            thread.start()
        with self.grew:
            assert self.grew.wait_for(lambda: len(self.acknowledged) >= count, PATIENCE)


@pytest.mark.slow
class KillTests(ServerTestCase):
    def start(self) -> ServerProcess:
        return self.serve(
            *("mailkit", "--smtp", f"tcp:{self.smtp}:interface={HOST}"),
            *("--imap", f"tcp:{self.imap_port}:interface={HOST}"),
            ports=[self.smtp, self.imap_port],
        )

    def kept(self, user: str) -> dict[str, bytes]:
        """Messages by subject, without the trace fields of SMTP."""
        client = imaplib.IMAP4(HOST, self.imap_port, timeout=PATIENCE)
        messages = {}
        for octets in self.imap(client, user):
            stripped = re.sub(rb"\A(?:(?!Subject).*\r\n)*", b"", octets)
            name = re.match(rb"Subject: (\S+)", stripped)
            assert name is not None, octets[:200]
            messages[name[1].decode()] = stripped
        return messages

    def test_nothing_acknowledged_is_lost_and_nothing_is_half_there(self) -> None:
        self.add_account(BOB)
        self.smtp, self.imap_port = free_ports(2)
        moments = random.Random(2)
        acknowledged: list[tuple[str, str]] = []
        for round_ in range(ROUNDS):
            server = self.start()
            load = Load(round_, self.smtp, self.imap_port)
            load.until(moments.randrange(5, 120))
            server.kill()
            for thread in load.threads:
                thread.join(PATIENCE)
                self.assertFalse(thread.is_alive())
            acknowledged += load.acknowledged
        server = self.start()
        mail = {user: self.kept(user) for user in (ANN, BOB)}
        self.stop(server)
        lost = [name for user, name in acknowledged if name not in mail[user]]
        self.assertEqual(lost, [])
        damaged = [
            name
            for messages in mail.values()
            for name, octets in messages.items()
            if octets != content(name)
        ]
        self.assertEqual(damaged, [])
        self.assertEqual(check_store(str(self.directory / "store")).problems, [])
