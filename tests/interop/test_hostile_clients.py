"""Clients that do what they must not, against a real server: it answers or closes, and goes on."""

from __future__ import annotations

import contextlib
import imaplib
import os
import poplib
import random
import re
import smtplib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mailkit.tap.factories import IMPLICIT_TLS, PORT_NAMES
from tests.interop.support import ANN, BOB, WholeServerTestCase, message
from tests.support import HOST, PATIENCE

#: Seconds for a whole honest session, on a machine that is busy with the hostile ones and others.
PROMPT = 60.0
#: Octets that the server may grow by, whatever it is sent.
GROWTH = 48 << 20
#: MiB without a line end.
MEBIBYTES = 100
#: What a connection may end with when the server has hung up.
GONE = (ConnectionError, ssl.SSLError)

PLAIN_PORTS = [name for name in PORT_NAMES if name not in IMPLICIT_TLS]

#: A line that the server may send, by protocol. Untagged, or tagged by a tag of ours.
REPLIES = {
    "smtp": re.compile(rb"[2345]\d\d[ -][ -~]*"),
    "pop3": re.compile(rb"(\+OK|-ERR)( [ -~]*)?"),
    "imap": re.compile(rb"(\* (OK|NO|BAD|BYE) [ -~]*|\S+ (OK|NO|BAD) [ -~]*|\+ [ -~]*)"),
    "ftp": re.compile(rb"[2345]\d\d[ -][ -~]*| [ -~]*"),
}
#: Commands that any state allows, and the beginning of their answer.
STILL_THERE = {
    "smtp": (b"NOOP\r\n", b"250 "),
    "pop3": (b"CAPA\r\n", b"+OK"),
    "imap": (b"z NOOP\r\n", b"z OK"),
    "ftp": (b"NOOP\r\n", b"200 "),
}
#: Lines that are no commands here.
UNKNOWN = {
    "smtp": [b"FROB", b"GETX / HTTP", b"\xff\xfe", b"MAIL\0FROM:<a@b>", b" NOOP", b"EHLO", b"A" * 3000],
    "pop3": [b"FROB", b"\xff\xfe", b"USER", b"PASS x", b"RETR 1", b" NOOP", b"A" * 3000],
    "imap": [b"a FROB", b"\xff\xfe", b"a", b"* NOOP", b"a SELECT INBOX", b" a NOOP", b"a LOGIN x"],
    "ftp": [b"FROB", b"GETX / HTTP", b"\xff\xfe", b"USER", b"PASS x", b"RETR x", b" NOOP", b"A" * 5000],
}  # fmt: skip


def protocol(port: str) -> str:
    """The protocol that a port of this name speaks, as the tables above call it."""
    name = IMPLICIT_TLS.get(port, port)
    return "smtp" if name in ("submission", "lmtp") else name


class Hostile:
    """A connection that sends octets and collects what comes back.

    :ivar received: all that has come.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, small: bool = False) -> None:
        connection = socket.socket()
        if small:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE)
        connection.connect((HOST, port))
        self.socket = (
            tls.wrap_socket(connection, server_hostname="localhost") if tls else connection
        )
        self.received = b""

    def __enter__(self) -> Hostile:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> bool:
        """Whether the server has taken them."""
        try:
            self.socket.sendall(octets)
        except GONE:
            return False
        return True

    def receive(self) -> bool:
        """Whether more has come; false at the end of the connection."""
        try:
            data = self.socket.recv(65536)
        except GONE:
            return False
        self.received += data
        return bool(data)

    def until(self, text: bytes) -> bytes:
        """What comes up to a text, or to the end of the connection."""
        while text not in self.received and self.receive():
            pass
        return self.received

    def rest(self) -> bytes:
        """All that comes until the server closes."""
        while self.receive():
            pass
        return self.received


@pytest.mark.slow
class HostileClientTests(WholeServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.start()
        assert self.server.process is not None
        self.proc = Path("/proc", str(self.server.process.pid))
        if not self.proc.exists():
            self.skipTest("there is no /proc to see the server's memory in")
        self.honest_session()
        self.before = self.memory("VmRSS")

    def connect(self, port: str, small: bool = False) -> Hostile:
        tls = self.trusted if port in IMPLICIT_TLS else None
        hostile = Hostile(self.ports[port], tls, small)
        self.addCleanup(hostile.socket.close)
        return hostile

    def memory(self, field: str) -> int:
        """Octets: VmRSS is what the server has now, VmHWM the most that it ever had."""
        found = re.search(rf"{field}:\s+(\d+) kB", (self.proc / "status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    def honest_session(self) -> None:
        """Send and read a message by each protocol."""
        begin = time.monotonic()
        with smtplib.SMTP(HOST, self.ports["smtp"], timeout=PATIENCE) as smtp:
            smtp.sendmail("me@example.org", [ANN], message("honest"))
        with smtplib.SMTP(HOST, self.ports["submission"], timeout=PATIENCE) as smtp:
            smtp.starttls(context=self.trusted)
            smtp.login(ANN, f"{ANN} secret")
            smtp.sendmail(ANN, [ANN], message("honest"))
        pop3 = poplib.POP3_SSL(HOST, self.ports["pop3s"], context=self.trusted, timeout=PATIENCE)
        pop3.user(ANN)
        pop3.pass_(f"{ANN} secret")
        count, _ = pop3.stat()
        self.assertIn(b"Subject: honest", pop3.retr(count)[1])
        pop3.quit()
        imap = imaplib.IMAP4(HOST, self.ports["imap"], timeout=PATIENCE)
        imap.login(ANN, f"{ANN} secret")
        self.assertEqual(imap.select()[1], [b"%d" % count])
        ((_, octets), _) = imap.fetch(str(count), "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
        self.assertEqual(octets, b"Subject: honest\r\n\r\n")
        imap.logout()
        self.assertLess(time.monotonic() - begin, PROMPT)

    def check_replies(self, port: str, received: bytes) -> None:
        """Whole lines, each of the protocol's form."""
        self.assertTrue(received.endswith(b"\r\n"), (port, received[-80:]))
        for line in received[:-2].split(b"\r\n"):
            self.assertTrue(REPLIES[protocol(port)].fullmatch(line), (port, line))

    def check_still_there(self, port: str, hostile: Hostile) -> None:
        """The connection is in step: the next command is answered."""
        command, answer = STILL_THERE[protocol(port)]
        hostile.received = b""
        hostile.send(command)
        self.assertTrue(hostile.until(b"\r\n").startswith(answer), (port, hostile.received))

    def check_server(self) -> None:
        """The server is as it was, but for its log, which tells of no bug."""
        self.honest_session()
        self.assertLess(self.memory("VmHWM") - self.before, GROWTH)
        self.stop(self.server)
        self.assertNotIn("Unhandled", self.server.log)

    def test_junk(self) -> None:
        source = random.Random(4)
        for port in PORT_NAMES:
            for _ in range(3):
                junk = source.randbytes(60_000) + b"\r\n" * 30
                with self.connect(port) as hostile:
                    hostile.until(b"\r\n")
                    hostile.send(junk)
                    # More errors than anybody makes: it hangs up.
                    self.check_replies(port, hostile.rest())
        self.check_server()

    def test_unknown_commands(self) -> None:
        for port in PORT_NAMES:
            for line in UNKNOWN[protocol(port)]:
                with self.connect(port) as hostile:
                    hostile.until(b"\r\n")
                    hostile.received = b""
                    hostile.send(line + b"\r\n")
                    self.check_replies(port, hostile.until(b"\r\n"))
                    self.assertRegex(hostile.received, rb"(\A5\d\d|-ERR|BAD) ", (port, line))
                    self.check_still_there(port, hostile)
        self.check_server()

    def test_no_line_end(self) -> None:
        block = b"A" * (1 << 20)
        for port in PORT_NAMES:
            with self.connect(port) as hostile:
                hostile.until(b"\r\n")
                for _ in range(MEBIBYTES):
                    hostile.send(block)
                hostile.received = b""
                hostile.send(b"\r\n")
                self.check_replies(port, hostile.until(b"\r\n"))
                self.check_still_there(port, hostile)
        self.check_server()

    def test_no_line_end_in_a_message(self) -> None:
        block = b"A" * (1 << 20)
        with self.connect("smtp") as hostile:
            hostile.send(b"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<%b>\r\nDATA\r\n" % ANN.encode())
            hostile.until(b"354 ")
            for _ in range(MEBIBYTES):
                hostile.send(block)
            hostile.received = b""
            hostile.send(b"\r\n.\r\n")
            self.assertRegex(hostile.until(b"\r\n"), rb"\r\n552 5\.3\.4 |\A552 5\.3\.4 ")
            self.check_still_there("smtp", hostile)
        self.check_server()

    def test_literals_of_wrong_sizes(self) -> None:
        login = b'a LOGIN "%b" "%b secret"\r\n' % (ANN.encode(), ANN.encode())
        cases = [
            # What is sent, and how its answer begins; after BYE the connection ends.
            (b"b LOGIN {99999999999}\r\n", b"b BAD "),
            (b"b LOGIN {99999999999+}\r\n", b"* BYE "),
            (b"b LOGIN {%b}\r\n" % (b"9" * 5000), b"b BAD "),
            (b"b LOGIN {-1}\r\n", b"b BAD "),
            (b"b LOGIN {}\r\n", b"b BAD "),
            (b"b LOGIN {4\r\n", b"b BAD "),
            (b"b LOGIN {4+}\r\nlonger than four {3+}\r\nx\r\n\r\n", b"b BAD "),
            # Not what the client means, but right: the name ends in CRLF.
            (b"b LOGIN {4+}\r\nab\r\n c\r\n", b"b NO "),
            (b"b NOOP {70000}\r\n", b"b BAD "),
            (login + b"b APPEND INBOX {99999999999}\r\n", b"b NO [TOOBIG]"),
            (login + b"b APPEND INBOX {99999999999+}\r\n", b"* BYE [TOOBIG]"),
            (login + b"b APPEND INBOX {3+}\r\nmore than three\r\n", b"b BAD "),
            (login + b"b APPEND INBOX {-3}\r\n", b"b BAD "),
            (login + b"b APPEND {4+}\r\nNone {10+}\r\n0123456789\r\n", b"b NO [TRYCREATE]"),
        ]
        for octets, answer in cases:
            for port in ("imap", "imaps"):
                with self.connect(port) as hostile:
                    hostile.send(octets)
                    self.assertIn(answer, hostile.until(answer), octets[:80])
                    if b"* BYE" in hostile.received:
                        self.assertTrue(hostile.rest().endswith(b"\r\n"))
                    else:
                        hostile.send(b"z LOGOUT\r\n")
                        self.assertIn(b"z OK ", hostile.rest(), octets[:80])
        self.check_server()

    def test_clients_that_stop_half_way(self) -> None:
        self.add_account(BOB)
        address, bob = ANN.encode(), BOB.encode()
        envelope = b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<%b>\r\nDATA\r\n" % address
        login = b'a LOGIN "%b" "%b secret"\r\n' % (address, address)
        beginnings = {
            "smtp": [b"", b"MAI", envelope, envelope + b"Subject: x\r\n\r\n" + b"x" * 2_000_000, b"AUTH"],
            "submission": [b"EHLO x\r\nAUTH LOGIN\r\n", b"EHLO x\r\nSTARTTLS\r\n\x16\x03\x01"],
            "pop3": [b"", b"USER", b"USER %b\r\nPASS %b secret\r\nRETR" % (bob, bob)],
            "imap": [
                b"a LOGIN {10}\r\nabc",
                b"a AUTHENTICATE PLAIN\r\n",
                login + b"b APPEND INBOX {300000+}\r\n" + b"x" * 290_000,
                login + b"b SELECT INBOX\r\nc IDLE\r\n",
                login + b"b SELECT INBOX\r\nc FETCH 1",
            ],
        }  # fmt: skip

        def spools() -> list[Path]:
            return list((self.directory / "store").rglob("spool-*"))

        idle = self.descriptors()
        for abort in (False, True):
            held = []
            for port, texts in beginnings.items():
                for text in texts:
                    held += [self.connect(port) for _ in range(3)]
                    for hostile in held[-3:]:
                        hostile.until(b"\r\n")
                        hostile.send(text)
            for port in IMPLICIT_TLS:
                # A handshake that never comes.
                held += [Hostile(self.ports[port]) for _ in range(3)]
            self.honest_session()
            self.assertTrue(spools())
            for hostile in held:
                if abort:
                    # The connection is reset, rather than closed.
                    linger = struct.pack("ii", 1, 0)
                    hostile.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                hostile.socket.close()
        self.wait_for(lambda: self.descriptors() <= idle)
        self.assertEqual(spools(), [])
        self.check_server()

    def descriptors(self) -> int:
        """How many sockets are open; files come and go with the work of the store."""
        count = 0
        for path in (self.proc / "fd").iterdir():
            with contextlib.suppress(OSError):
                # Closed meanwhile, otherwise.
                count += os.readlink(path).startswith("socket:")
        return count

    def wait_for(self, condition: Callable[[], bool]) -> None:
        give_up = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), give_up)
            time.sleep(0.05)

    def test_clients_that_never_read(self) -> None:
        large = b"Subject: large\r\n\r\n" + b"x" * 2_000_000
        with smtplib.SMTP(HOST, self.ports["smtp"], timeout=PATIENCE) as smtp:
            smtp.sendmail("me@example.org", [ANN], large)
        address = ANN.encode()
        asks = {
            "smtp": b"EHLO x\r\n" + b"HELP\r\nVRFY x\r\n" * 400,
            "submission": b"EHLO x\r\n" + b"HELP\r\n" * 400,
            "pop3": b"CAPA\r\n" * 400,
            "ftp": b"FEAT\r\n" * 400,
            "imap": b'a LOGIN "%b" "%b secret"\r\nb SELECT INBOX\r\n' % (address, address)
            + b"c FETCH 1:* (BODY.PEEK[] ENVELOPE BODYSTRUCTURE)\r\n" * 1000,
        }
        asks.update({port: asks[name] for port, name in IMPLICIT_TLS.items()})
        held = [
            (self.connect(port, small=True), text) for port, text in asks.items() for _ in "1234"
        ]
        for hostile, text in held:
            hostile.socket.setblocking(False)
            for _ in range(50):
                try:
                    hostile.socket.send(text)
                except (BlockingIOError, ssl.SSLWantWriteError):
                    break
        time.sleep(1)
        self.honest_session()
        self.assertLess(self.memory("VmHWM") - self.before, GROWTH)
        for hostile, _ in held:
            hostile.socket.close()
        self.check_server()

    def test_passwords_guessed_from_many_addresses(self) -> None:
        self.add_account(BOB, "argon2id")
        with imaplib.IMAP4(HOST, self.ports["imap"], timeout=PATIENCE) as imap:
            imap.login(BOB, f"{BOB} secret")
        guessers = []
        for number in range(150):
            guesser = socket.create_connection(
                (HOST, self.ports["pop3"]), PATIENCE, (f"127.1.{number}.1", 0)
            )
            self.addCleanup(guesser.close)
            guesses = "".join(f"USER {BOB}\r\nPASS {number} {n}\r\n" for n in range(4))
            guesser.sendall(guesses.encode())
            guessers.append(guesser)
        # Whoever logs in from where he did before waits for none of them.
        with imaplib.IMAP4(HOST, self.ports["imap"], timeout=PATIENCE) as imap:
            answered = self.server.log.count("login failed:")
            imap.login(BOB, f"{BOB} secret")
            self.assertLess(self.server.log.count("login failed:") - answered, 30)
        for guesser in guessers:
            guesser.close()
        self.check_server()

    def test_floods_of_commands(self) -> None:
        floods = {"smtp": b"NOOP\r\n", "pop3": b"CAPA\r\n", "imap": b"a CAPABILITY\r\n"}
        stop = threading.Event()
        sent = dict.fromkeys(floods, 0)

        def flood(port: str) -> None:
            command = floods[port] * 500
            while not stop.is_set():
                with self.connect(port) as hostile:
                    # SMTP hangs up after a thousand, and the client comes again.
                    while not stop.is_set() and hostile.send(command) and hostile.receive():
                        hostile.received = b""
                        sent[port] += 500

        threads = [threading.Thread(target=flood, args=(port,)) for port in floods]
        for thread in threads:
            thread.start()
        try:
            self.wait_for(lambda: min(sent.values()) > 5000)
            self.honest_session()
        finally:
            stop.set()
            for thread in threads:
                thread.join(PATIENCE)
        self.check_server()

    def test_half_closed_connections(self) -> None:
        for port in PLAIN_PORTS:
            command, answer = STILL_THERE[protocol(port)]
            for text, expected in ((command, answer), (command[:-3], b""), (b"", b"")):
                with self.connect(port) as hostile:
                    hostile.until(b"\r\n")
                    hostile.received = b""
                    hostile.send(text)
                    hostile.socket.shutdown(socket.SHUT_WR)
                    self.assertTrue(hostile.rest().startswith(expected), (port, text))
        for port in IMPLICIT_TLS:
            with self.connect(port) as hostile:
                hostile.until(b"\r\n")
                hostile.socket.shutdown(socket.SHUT_WR)
                hostile.rest()
        self.check_server()

    def test_plain_text_to_a_tls_port(self) -> None:
        for port in IMPLICIT_TLS:
            for text in (
                STILL_THERE[protocol(port)][0],
                b"GET / HTTP/1.1\r\n\r\n",
                b"\0" * 100_000,
            ):
                with Hostile(self.ports[port]) as hostile:
                    hostile.send(text)
                    # At most a TLS alert.
                    self.assertLess(len(hostile.rest()), 10)
        self.check_server()

    def test_tls_to_a_plain_port(self) -> None:
        for port in PLAIN_PORTS:
            with self.assertRaises(ssl.SSLError):
                Hostile(self.ports[port], self.trusted)
        self.check_server()
