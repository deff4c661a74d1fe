"""SORT and THREAD give what Dovecot's give, message by message."""

from __future__ import annotations

import imaplib
import os
import random
import re
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailkit.model import AppendMessage
from mailkit.spool import Spool
from tests.imap.support import Client, Server, now
from tests.mime.corpus import MISSING as NO_CORPUS
from tests.mime.corpus import messages

IMAP = Path("/usr/lib/dovecot/imap")
#: Why a test is skipped; empty where it can be run.
MISSING = (
    "dovecot-imapd is not installed"
    if not IMAP.exists()
    else "Dovecot's imap must not run as root, and only root can run it as nobody"
    if os.geteuid() != 0 or shutil.which("setpriv") is None
    else ""
)
_UID = "65534"
_CONFIGURATION = """\
base_dir = {directory}
state_dir = {directory}
log_path = {directory}/log
mail_location = maildir:{directory}/Maildir
ssl = no
first_valid_uid = 1
"""
FIRST_DATE = 1_700_000_000


class Dovecot(imaplib.IMAP4_stream):
    """Dovecot's imap as a child process, logged in already."""

    def __init__(self, directory: str) -> None:
        configuration = Path(directory) / "dovecot.conf"
        configuration.write_text(_CONFIGURATION.format(directory=directory))
        os.chown(directory, int(_UID), int(_UID))
        super().__init__(
            f"HOME={shlex.quote(directory)} USER=nobody exec setpriv --reuid {_UID} --regid {_UID}"
            f" --clear-groups {IMAP} -c {shlex.quote(str(configuration))} 2>/dev/null"
        )

    def ask(self, command: str, response: str) -> str:
        """What stands in the untagged response of a command."""
        imaplib.Commands[command.split()[0]] = ("SELECTED",)
        kind, text = self._simple_command(*command.split(" ", 1))
        assert kind == "OK", (command, text)
        _, found = self._untagged_response(kind, [None], response)
        return b" ".join(part or b"" for part in found).decode().strip()


class Both(SynchronousTestCase):
    """The same messages in both servers."""

    skip = MISSING or None

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="dovecot-")
        os.chmod(self.directory, 0o755)
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.dovecot = Dovecot(self.directory)
        self.addCleanup(self.dovecot.logout)

    def fill(self, messages: Sequence[bytes]) -> None:
        dice = random.Random(5)
        appended = []
        for message in messages:
            date = FIRST_DATE + dice.randrange(10_000_000)
            # Dovecot stores what it is given, and shows it with CRLF.
            text = re.sub(rb"\r?\n", b"\r\n", message).replace(b"\0", b"")
            kind, data = self.dovecot.append("INBOX", "", imaplib.Time2Internaldate(date), text)
            assert kind == "OK", data
            appended.append(AppendMessage(Spool.from_bytes(text), frozenset(), date))
        self.dovecot.select("INBOX")
        server = Server()
        now(server.mailbox().append(messages=appended))
        self.client: Client = server.login("SELECT INBOX")

    def ours(self, command: str, response: str) -> str:
        line, done = self.client.command(command)
        self.assertTrue(done.startswith(b"OK "), done)
        return line.decode().removeprefix(f"* {response}").strip()

    def compare(self, command: str) -> None:
        response = command.split()[0]
        theirs = self.dovecot.ask(command, response)
        self.assertEqual(self.ours(command, response), theirs, command)


KEYS = ["ARRIVAL", "CC", "DATE", "DISPLAYFROM", "DISPLAYTO", "FROM", "SIZE", "SUBJECT", "TO"]
ALGORITHMS = ("REFERENCES", "ORDEREDSUBJECT", "REFS")


def conversation(dice: random.Random, number: int) -> bytes:
    """A message that answers others, or seems to."""
    fields = [f"Subject: {dice.choice(['', 'Re: ', 'Fwd: '])}{dice.choice('abcdefghi')}"]
    if dice.random() < 0.9:
        fields.append(f"Message-ID: <{dice.randrange(60)}@x>")
    ancestors = [f"<{dice.randrange(70)}@x>" for _ in range(dice.randrange(5))]
    if ancestors:
        fields.append(f"References: {' '.join(ancestors)}")
    elif dice.random() < 0.5:
        fields.append(f"In-Reply-To: <{dice.randrange(70)}@x>")
    if dice.random() < 0.9:
        fields.append(
            f"Date: Mon, {dice.randrange(1, 28)} Jan 2024 {dice.randrange(24)}:00:00 +0000"
        )
    return "\r\n".join([*fields, f"X-Number: {number}", "", "text", ""]).encode()


class GraphTests(Both):
    def test_random_graphs(self) -> None:
        dice = random.Random(11)
        self.fill([conversation(dice, number) for number in range(120)])
        for algorithm in ALGORITHMS:
            for _ in range(12):
                some = ",".join(map(str, sorted(dice.sample(range(1, 121), dice.randrange(1, 60)))))
                self.compare(f"THREAD {algorithm} UTF-8 {some}")
            self.compare(f"THREAD {algorithm} UTF-8 ALL")


#: Messages that the two read differently, and why.
EXPLAINED = {
    "mail-parser/malformed/019.eml": "a damaged date, which Dovecot gives up",
    "mail-parser/rfc/001.eml": "an address that is a word, to which Dovecot adds a domain",
    "mail-parser/rfc/003.eml": "stands beside a subject in 8-bit octets, here Latin-1",
    "mail-parser/rfc/009.eml": "the same as 001",
    "mime4j/mimetools-testmsgs/uu-zeegee.msg": "an address that is a word",
    "ruby-mail/error_emails/bad_date_header2.eml": "a damaged date",
    "ruby-mail/error_emails/invalid_subject_characters.eml": "8-bit octets, here Latin-1",
    "ruby-mail/error_emails/missing_body.eml": "a damaged address",
    "ruby-mail/error_emails/weird_to_header.eml": "a damaged list of addresses",
    "ruby-mail/plain_emails/mix_caps_content_type.eml": "a damaged address",
    "ruby-mail/plain_emails/raw_email_bad_time.eml": "a year above 2106, where Dovecot's time ends",
    "ruby-mail/plain_emails/raw_email_multiple_from.eml": "a damaged list of addresses",
    "ruby-mail/rfc2822/example04.eml": "a year below 1970, where Dovecot's time begins",
    "ruby-mail/rfc2822/example10.eml": "the same",
    "ruby-mail/rfc2822/example13.eml": "an empty line in a field, so that an address is a word",
}


class CorpusTests(Both):
    skip = Both.skip or NO_CORPUS

    def test_the_corpus(self) -> None:
        self.fill(
            [
                octets
                for name, octets in messages()
                if len(octets) < 100_000 and name not in EXPLAINED
            ]
        )
        for key in KEYS:
            self.compare(f"SORT ({key}) UTF-8 ALL")
            self.compare(f"SORT (REVERSE {key}) UTF-8 ALL")
        for algorithm in ALGORITHMS:
            self.compare(f"THREAD {algorithm} UTF-8 ALL")
