"""IMAP sessions in two workers of one server: each is told what the other one's client does."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.support import HOST, PATIENCE, ServerProcess, free_ports

from .support import ANN, ServerTestCase

pytestmark = pytest.mark.interop

#: Sessions of one account, in both workers together.
MAX_SESSIONS = 14
MESSAGE = b"Subject: plan\r\n\r\nLunch?\r\n"


class Session:
    """A connection that sends commands and keeps what it reads."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), PATIENCE)
        self._file = self.socket.makefile("rb")
        self._tags = 0
        assert self.read().startswith(b"* OK ")

    def read(self) -> bytes:
        """One response."""
        line = self._file.readline()
        assert line.endswith(b"\r\n"), line
        return line[:-2]

    def send(self, command: str) -> bytes:
        """Send a command; its tag."""
        self._tags += 1
        tag = b"t%d" % self._tags
        self.socket.sendall(b"%b %b\r\n" % (tag, command.encode()))
        return tag

    def until(self, start: bytes) -> list[bytes]:
        """Responses up to one that begins so."""
        lines = [self.read()]
        while not lines[-1].startswith(start):
            lines.append(self.read())
        return lines

    def command(self, command: str) -> list[bytes]:
        """The responses to a command, which succeeds; the tagged one is the last."""
        tag = self.send(command)
        lines = self.until(tag + b" ")
        assert lines[-1].startswith(tag + b" OK"), (command, lines)
        return lines

    def idle(self) -> bytes:
        """Begin to wait for news."""
        tag = self.send("IDLE")
        self.until(b"+ ")
        return tag

    def done(self, tag: bytes) -> None:
        """End that."""
        self.socket.sendall(b"DONE\r\n")
        self.until(tag + b" OK")

    def append(self, mailbox: str, more: str = "") -> None:
        self.command(f"APPEND {mailbox}{more} {{{len(MESSAGE)}+}}\r\n{MESSAGE.decode()}")

    def end(self) -> None:
        """Read until the server is gone."""
        try:
            self._file.read()
        except ConnectionResetError:
            # It had not read all that we sent.
            pass

    def close(self) -> None:
        self._file.close()
        self.socket.close()


def numbers(text: bytes) -> Iterator[int]:
    """The members of a set of UIDs."""
    for part in text.split(b","):
        low, _, high = part.partition(b":")
        yield from range(int(low), int(high or low) + 1)


class WorkersTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        (self.port,) = free_ports(1)
        listen = f"tcp:{self.port}:interface={HOST}"
        self.server = ServerProcess(
            self.directory, [], "mailkit", "--imap", listen, "--imap-gmail", "--workers", "2",
            "--store", self.store, "--max-sessions-per-account", str(MAX_SESSIONS),
        )  # fmt: skip
        self.addCleanup(self.server.kill)
        self.server.start()
        self.addCleanup(self.stop, self.server)
        for number in (1, 2):
            self.server.wait_for_log(f"worker {number} serves")
        found = re.findall(r"worker (\d) serves, process (\d+)", self.server.log)
        self.workers = {int(number): int(process) for number, process in found}

    def log_in(self, worker: int, *commands: str) -> Session:
        """A session in one of the workers."""
        session = self.connect(worker)
        session.command(f'LOGIN {ANN} "{ANN} secret"')
        for command in commands:
            session.command(command)
        return session

    def connect(self, worker: int) -> Session:
        """A connection to one of the workers: the other one stands still while it connects."""
        other = self.workers[3 - worker]
        os.kill(other, signal.SIGSTOP)
        try:
            session = Session(self.port)
        finally:
            os.kill(other, signal.SIGCONT)
        self.addCleanup(session.close)
        return session

    def test_each_is_told_what_the_other_does(self) -> None:
        for one, other in ((1, 2), (2, 1)):
            teller, listener = self.log_in(one), self.log_in(other)
            teller.append("INBOX")
            self.annotations(teller, listener)
            self.labels(teller, listener)
            self.acknowledged(teller, listener)
            self.names(teller, listener)
        self.recent()
        self.race()
        self.sessions()

    def annotations(self, teller: Session, listener: Session) -> None:
        teller.command("SELECT INBOX (CONDSTORE)")
        listener.command("SELECT INBOX (CONDSTORE ANNOTATE)")
        (before, _) = listener.command("FETCH 1 (MODSEQ)")
        tag = listener.idle()
        teller.command('STORE 1 ANNOTATION (/comment (value.shared "call"))')
        (line,) = listener.until(b"* 1 FETCH")
        self.assertIn(b"ANNOTATION (/comment)", line)
        listener.done(tag)
        asked = "FETCH 1 (ANNOTATION (/comment (value.priv value.shared)))"
        told = b'* 1 FETCH (ANNOTATION (/comment (value.priv NIL value.shared "call")))'
        self.assertEqual(listener.command(asked)[0], told)
        found = listener.command("SEARCH ANNOTATION /comment value.shared call")
        self.assertTrue(found[0].startswith(b"* SEARCH 1"), found)
        modseq = re.findall(rb"MODSEQ \((\d+)\)", before)[0].decode()
        done = listener.command(
            f'STORE 1 (UNCHANGEDSINCE {modseq}) ANNOTATION (/comment (value.shared "late"))'
        )[-1]
        self.assertIn(b"[MODIFIED 1]", done)
        listener.command("CREATE Notes")
        listener.append("Notes", ' ANNOTATION (/comment (value.priv "new"))')
        listener.command("COPY 1 Notes")
        teller.command("SELECT Notes")
        self.assertEqual(
            teller.command("FETCH 1:* (ANNOTATION (/comment value))")[:2],
            [
                b'* 1 FETCH (ANNOTATION (/comment (value.priv "new" value.shared NIL)))',
                b'* 2 FETCH (ANNOTATION (/comment (value.priv NIL value.shared "call")))',
            ],
        )
        teller.command("UNSELECT")
        teller.command("DELETE Notes")
        teller.command("SELECT INBOX")
        teller.command("STORE 1 ANNOTATION (/comment (value.shared NIL))")

    def labels(self, teller: Session, listener: Session) -> None:
        listener.command("SELECT INBOX")
        teller.command("SELECT INBOX")
        teller.command("STORE 1 +X-GM-LABELS (work \\Starred)")
        self.assertEqual(
            listener.command("FETCH 1 X-GM-LABELS")[0],
            b'* 1 FETCH (X-GM-LABELS ("\\\\Starred" "work"))',
        )
        self.assertIn(b"* SEARCH 1", listener.command("SEARCH X-GM-LABELS work"))
        listener.command("SELECT work")
        tag = listener.idle()
        teller.command("STORE 1 -X-GM-LABELS (work \\Starred)")
        listener.until(b"* 1 EXPUNGE")
        listener.done(tag)
        self.assertEqual(teller.command("FETCH 1 X-GM-LABELS")[0], b"* 1 FETCH (X-GM-LABELS ())")

    def names(self, teller: Session, listener: Session) -> None:
        teller.command("CREATE Plans")
        teller.append("Plans")
        listener.command("SELECT Plans")
        teller.command("RENAME Plans Ideas")
        # It is the same mailbox still.
        listener.command("STORE 1 +FLAGS (\\Flagged)")
        listener.command("COPY 1 Ideas")
        teller.command("SELECT Ideas")
        self.assertIn(b"\\Flagged", teller.command("FETCH 1 FLAGS")[0])
        teller.command("UNSELECT")
        listener.idle()
        teller.command("DELETE Ideas")
        listener.until(b"* BYE The selected mailbox has been deleted")

    def acknowledged(self, teller: Session, listener: Session) -> None:
        """What one was answered, a command sees that the other sends after it."""
        teller.command("CREATE Seen")
        for session in (teller, listener):
            session.command("SELECT Seen")
        for number in range(1, 101):
            teller.append("Seen")
            self.assertIn(b"* %d EXISTS" % number, listener.command("NOOP"))
            listener.command(f"STORE {number} +FLAGS (\\Deleted)")
            told = b"".join(teller.command("NOOP"))
            self.assertRegex(told, rb"\* %d FETCH \([^*]*\\Deleted" % number)
        listener.command("EXPUNGE")
        gone = [line for line in teller.command("NOOP") if line.endswith(b" EXPUNGE")]
        self.assertEqual(len(gone), 100)
        for session in (teller, listener):
            session.command("UNSELECT")
        teller.command("DELETE Seen")

    def recent(self) -> None:
        """Each message is recent in one session, and in one alone."""
        sessions = [self.log_in(worker) for worker in (1, 2)]
        sessions[0].command("CREATE New")
        for _ in range(10):
            for session in sessions:
                session.command("EXAMINE INBOX")
            sessions[0].append("New")
            tags = [session.send("SELECT New") for session in sessions]
            told = [b"\n".join(s.until(tag)) for s, tag in zip(sessions, tags, strict=True)]
            counts = sorted(re.findall(rb"\* (\d+) RECENT", b"\n".join(told)))
            self.assertEqual(counts, [b"0", b"1"], told)
        tags = [session.idle() for session in sessions]
        self.log_in(1).append("New")
        for session, tag in zip(sessions, tags, strict=True):
            session.until(b"* 11 EXISTS")
            session.done(tag)
        found = [session.command("FETCH 11 FLAGS")[0] for session in sessions]
        self.assertEqual(b"".join(found).count(b"\\Recent"), 1, found)
        for session in sessions:
            session.command("UNSELECT")

    def sessions(self) -> None:
        """They are counted in both workers, and those of one that dies no longer."""
        others = [self.connect(2) for _ in range(2)]
        mine = [self.connect(1) for _ in range(MAX_SESSIONS)]
        login = f'LOGIN {ANN} "{ANN} secret"'
        refusals = 0
        for session in (others[0], *mine, others[1]):
            tag = session.send(login)
            *_, done = session.until(tag + b" ")
            if refusals or not done.startswith(tag + b" OK"):
                self.assertTrue(done.startswith(tag + b" NO [LIMIT] "), done)
                refusals += 1
        self.assertGreater(refusals, 2)
        os.kill(self.workers[1], signal.SIGKILL)
        for session in mine:
            # Each is cut off.
            session.end()
        others[1].command(login)

    def race(self) -> None:
        """Both remove messages at once, and know of no numbers."""
        notify = "NOTIFY SET (selected (MessageNew (FLAGS) MessageExpunge FlagChange))"
        sessions = [self.log_in(worker, "ENABLE UIDONLY") for worker in (1, 2)]
        sessions[0].command("CREATE Race")
        for _ in range(40):
            sessions[0].append("Race")
        for session in sessions:
            session.command("SELECT Race")
            session.command(notify)
        for uid in range(1, 41):
            # Each removes what the other one is about to mark.
            for session, chosen in zip(sessions, (uid, 41 - uid), strict=True):
                session.send(f"UID STORE {chosen} +FLAGS (\\Deleted)")
                session.send(f"UID EXPUNGE {chosen}")
        for session in sessions:
            self.check_race(session)

    def check_race(self, session: Session) -> None:
        """The client is told of each end once, and of nothing behind it."""
        gone: list[int] = []
        while len(gone) < 40:
            line = session.read()
            if line.startswith(b"* VANISHED "):
                gone.extend(numbers(line.removeprefix(b"* VANISHED ")))
            elif b" UIDFETCH (" in line:
                self.assertNotIn(int(line.split()[1]), gone, line)
            else:
                self.assertNotRegex(line, rb"\A\* \d+ (FETCH|EXPUNGE)|\At\d+ (NO|BAD)")
        self.assertEqual(sorted(gone), list(range(1, 41)))
