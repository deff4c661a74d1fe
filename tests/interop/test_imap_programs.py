"""Programs that keep mail in step with the IMAP server: mbsync, offlineimap3, imapfilter, neomutt."""

from __future__ import annotations

import email
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from twisted.trial.unittest import SkipTest

from mailkit.model import DELETED, FLAGGED, INBOX, SEEN, FlagOp
from tests.interop.test_imap_clients import (
    LARGE,
    PASSWORD,
    PLAIN,
    USER,
    IMAPCase,
    run_in_terminal,
)

pytestmark = pytest.mark.interop


class ProgramCase(IMAPCase):
    """Hears what the programs say."""

    async def setUp(self) -> None:
        await super().setUp()
        #: Commands that the server got, in capitals.
        self.heard: list[bytes] = []

    def listen(self, factory: Any, *, tls: bool = False) -> int:
        build = factory.buildProtocol

        def build_listening(address: Any) -> Any:
            protocol = build(address)
            received = protocol.dataReceived

            def hear(data: bytes) -> None:
                self.heard += data.upper().split(b"\r\n")
                received(data)

            protocol.dataReceived = hear
            return protocol

        if "buildProtocol" not in vars(factory):
            factory.buildProtocol = build_listening
        return super().listen(factory, tls=tls)

    async def change(self, uid: int, operation: FlagOp, *flags: str, mailbox: str = INBOX) -> None:
        box = await self.mailbox(mailbox)
        await box.store_flags(uids=[uid], op=operation, flags=frozenset(flags))

    async def state(self) -> dict[str, tuple[int, int]]:
        """Of each mailbox, how many messages it has and when it changed last."""
        account = await self.store.open_account(name=USER)
        infos = await account.list_mailboxes()
        return {info.name: (info.messages, info.highest_modseq) for info in infos}


class MaildirCase(ProgramCase):
    """A program that keeps Maildirs in step, both ways."""

    def folder(self, mailbox: str = INBOX) -> Path:
        return Path(self.directory, "mail", mailbox)

    def local(self, mailbox: str = INBOX) -> dict[str, set[str]]:
        """Flags by subject."""
        found = {}
        for path in [*self.folder(mailbox).glob("cur/*"), *self.folder(mailbox).glob("new/*")]:
            subject = str(email.message_from_bytes(path.read_bytes())["Subject"])
            found[subject] = set(path.name.rpartition("2,")[2]) if "2," in path.name else set()
        return found

    def path(self, subject: bytes, mailbox: str = INBOX) -> Path:
        (found,) = [
            path
            for path in self.folder(mailbox).glob("*/*")
            if b"Subject: %b\n" % subject in path.read_bytes().replace(b"\r\n", b"\n")
        ]
        return found

    def set_flags(self, path: Path, flags: str) -> None:
        name = re.sub(r":2,.*", "", path.name) + f":2,{flags}"
        path.rename(path.parent.parent / "cur" / name)

    async def sync(self, tls: bool) -> None:
        raise NotImplementedError

    async def check(self, tls: bool) -> None:
        german = "=?utf-8?q?Gr=C3=BC=C3=9Fe?="
        await self.sync(tls)
        self.assertEqual(set(self.local()), {"one", german, "large"})
        # Flags, a deletion and a new message on each side.
        self.set_flags(self.path(b"one"), "FS")
        self.path(b"large").unlink()
        draft = self.folder("Drafts") / "cur" / "1700000000.1_1.host:2,S"
        draft.write_bytes(b"Subject: mine\nMessage-ID: <mine@x>\n\nwritten here\n")
        await self.change(2, FlagOp.ADD, SEEN)
        await self.deliver(PLAIN.replace(b"one", b"four").replace(b"<1@x>", b"<4@x>"))
        await self.sync(tls)
        await self.sync(tls)
        self.assertEqual(self.local(), {"one": {"F", "S"}, german: {"S"}, "four": set()})
        flags = [each - {"\\Recent"} for each in await self.flags()]
        self.assertEqual(flags, [{SEEN, FLAGGED}, {SEEN}, set()])
        (mine,) = await self.contents("Drafts")
        self.assertTrue(mine.endswith(b"written here\r\n"))
        # It stays so.
        before, files = await self.state(), sorted(self.folder().glob("*/*"))
        await self.sync(tls)
        self.assertEqual(await self.state(), before)
        self.assertEqual(sorted(self.folder().glob("*/*")), files)
        # A message goes there, a flag goes here.
        await self.change(1, FlagOp.REMOVE, FLAGGED)
        box = await self.mailbox()
        await box.expunge(uids=[2])
        await self.sync(tls)
        self.assertEqual(self.local(), {"one": {"S"}, "four": set()})


class MbsyncTests(MaildirCase):
    async def sync(self, tls: bool) -> None:
        port = self.tls_port if tls else self.port
        security = (
            f"SSLType IMAPS\nCertificateFile {self.certificate}\n" if tls else "SSLType None\n"
        )
        settings = Path(self.directory, "mbsyncrc")
        settings.write_text(
            f"IMAPAccount far\nHost localhost\nPort {port}\nUser {USER}\n"
            f'PassCmd "cat {self.directory}/password"\n{security}\n'
            "IMAPStore far\nAccount far\n\n"
            f"MaildirStore near\nPath {self.directory}/mail/\nInbox {self.directory}/mail/INBOX\n"
            "SubFolders Verbatim\n\n"
            "Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nRemove Both\n"
            "Expunge Both\nSyncState *\n"
        )
        Path(self.directory, "password").write_text(PASSWORD)
        Path(self.directory, "mail").mkdir(exist_ok=True)
        await self.run_program("mbsync", "-c", str(settings), "-a")

    async def test_over_tls(self) -> None:
        await self.check(True)

    async def test_plain(self) -> None:
        await self.check(False)

    async def test_a_mailbox_that_is_renamed(self) -> None:
        account = await self.store.open_account(name=USER)
        await account.create_mailbox(name="Work/2025")
        box = await account.open_mailbox(name=INBOX)
        await box.copy_messages(uids=[1], destination="Work/2025")
        await self.sync(True)
        self.assertEqual(set(self.local("Work/2025")), {"one"})
        await account.rename_mailbox(name="Work/2025", new_name="Work/2026")
        # The one that is gone is told, and its Maildir is emptied before the next run.
        for path in self.folder("Work/2025").glob("*/*"):
            path.unlink()
        for _ in range(2):
            await self.sync(True)
        self.assertEqual(set(self.local("Work/2026")), {"one"})
        self.assertEqual(await self.contents("Work/2026"), [PLAIN])


class OfflineIMAPCase(MaildirCase):
    #: Kinds of the two sides, and more lines of the account.
    near, far, more = "Maildir", "IMAP", ""

    async def sync(self, tls: bool) -> None:
        if shutil.which("offlineimap") is None:
            raise SkipTest("offlineimap3 is not installed")
        port = self.tls_port if tls else self.port
        security = f"ssl = yes\nsslcacertfile = {self.certificate}\n" if tls else "ssl = no\n"
        settings = Path(self.directory, "offlineimaprc")
        settings.write_text(
            f"[general]\naccounts = one\nmetadata = {self.directory}/metadata\n\n"
            f"[Account one]\nlocalrepository = near\nremoterepository = far\n{self.more}\n"
            f"[Repository near]\ntype = {self.near}\nlocalfolders = {self.directory}/mail\n\n"
            f"[Repository far]\ntype = {self.far}\nremotehost = localhost\nremoteport = {port}\n"
            f"remoteuser = {USER}\nremotepassfile = {self.directory}/password\n"
            f"starttls = no\n{security}"
        )
        Path(self.directory, "password").write_text(PASSWORD + "\n")
        await self.run_program("offlineimap", "-c", str(settings), "-o", "-u", "basic")


class OfflineIMAPTests(OfflineIMAPCase):
    async def test_over_tls(self) -> None:
        await self.check(True)

    async def test_plain(self) -> None:
        await self.check(False)


class OfflineIMAPLabelTests(OfflineIMAPCase):
    """With what it does for Gmail: labels stand in a header field of the local copy."""

    near, far, more = "GmailMaildir", "Gmail", "synclabels = yes\n"
    gmail = True

    async def test_labels(self) -> None:
        account = await self.store.open_account(name=USER)
        await account.create_mailbox(name="Work")
        inbox = await self.mailbox()
        await inbox.copy_messages(uids=[1], destination="Work")
        await self.sync(True)
        self.assertEqual(self.labels(b"one"), {"Work"})
        self.assertEqual(self.labels(b"large"), set())
        path = self.path(b"large")
        path.write_bytes(b"X-Keywords: Play, two words, \\Starred\n" + path.read_bytes())
        # It looks for a later second than that of the last run.
        later = path.stat().st_mtime + 100
        os.utime(path, (later, later))
        await self.sync(True)
        self.assertEqual(await self.contents("Play"), [LARGE])
        self.assertEqual(await self.contents("two words"), [LARGE])
        self.assertIn(FLAGGED, (await self.flags())[2])
        work = await self.mailbox("Work")
        await work.expunge(uids=[1])
        await self.sync(True)
        self.assertEqual(self.labels(b"one"), set())
        self.assertEqual(self.labels(b"large"), {"Play", "two words", "\\Starred"})

    def labels(self, subject: bytes) -> set[str]:
        """Of a message in INBOX."""
        text = str(email.message_from_bytes(self.path(subject).read_bytes())["X-Keywords"] or "")
        return {label.strip() for label in text.split(",") if label.strip()}


class IMAPFilterTests(ProgramCase):
    # It does not quote what has to be quoted.
    password = "secret"

    async def filter(self, tls: bool) -> None:
        port = self.tls_port if tls else self.port
        settings = Path(self.directory, "config.lua")
        security = ', ssl = "auto"' if tls else ""
        settings.write_text(
            "options.create = true\noptions.subscribe = true\noptions.certificates = false\n"
            "options.starttls = false\noptions.timeout = 60\n"
            f'account = IMAP {{ server = "localhost", port = {port}, username = "{USER}",\n'
            f'  password = "{self.password}"{security} }}\n'
            "mailboxes, folders = account:list_all()\n"
            'large = account.INBOX:contain_subject("large")\n'
            'large:move_messages(account["Work/large"])\n'
            "account.INBOX:is_unseen():contain_from('bob@'):mark_seen()\n"
            'account.INBOX:contain_field("Message-ID", "2@x"):delete_messages()\n'
        )
        await self.run_program("imapfilter", "-c", str(settings), "-t", self.certificate)

    async def check(self, tls: bool) -> None:
        await self.filter(tls)
        self.assertEqual(await self.contents(), [PLAIN])
        self.assertEqual(await self.contents("Work/large"), [LARGE])
        self.assertIn(SEEN, (await self.flags())[0])
        # Nothing is left to be done.
        before = await self.state()
        await self.filter(tls)
        self.assertEqual(await self.state(), before)

    async def test_over_tls(self) -> None:
        await self.check(True)

    async def test_plain(self) -> None:
        await self.check(False)


class NeomuttTests(ProgramCase):
    """A header cache, which QRESYNC keeps up to date."""

    async def look(self, keys: str, *settings: str, tls: bool = True) -> list[bytes]:
        """Open INBOX, press keys, quit; gives the commands that the server got."""
        program = shutil.which("neomutt")
        if program is None:
            raise SkipTest("neomutt is not installed")
        url = f"imaps://localhost:{self.tls_port}/" if tls else f"imap://localhost:{self.port}/"
        password = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
        Path(self.directory, "muttrc").write_text(
            "\n".join(
                [
                    f'set imap_user="{USER}"',
                    f'set imap_pass="{password}"',
                    f'set folder="{url}"',
                    f'set spoolfile="{url}INBOX"',
                    f'set certificate_file="{self.certificate}"',
                    f'set header_cache="{self.directory}/headers"',
                    "set imap_qresync=yes imap_condstore=yes ssl_starttls=no ssl_force_tls=no",
                    "set ssl_verify_host=no confirmappend=no confirmcreate=no delete=yes quit=yes",
                    "set move=no mark_old=no wait_key=no sleep_time=0 timeout=1",
                    *settings,
                    f'push "{keys}<quit>"',
                ]
            )
            + "\n"
        )
        self.heard.clear()
        Path(self.directory, "headers").mkdir(exist_ok=True)
        arguments = [program, "-n", "-F", f"{self.directory}/muttrc"]
        status = await self.in_thread(run_in_terminal, arguments, self.directory)
        self.assertEqual(status, 0)
        return list(self.heard)

    def headers_asked_for(self, heard: list[bytes]) -> int:
        return sum(b"HEADER.FIELDS" in line for line in heard)

    async def check(self, tls: bool) -> None:
        self.assertGreater(self.headers_asked_for(await self.look("", tls=tls)), 0)
        # Again: everything is known.
        heard = await self.look("", tls=tls)
        self.assertEqual(self.headers_asked_for(heard), 0)
        # Others change flags, remove and add.
        await self.change(2, FlagOp.ADD, FLAGGED)
        box = await self.mailbox()
        await box.expunge(uids=[1])
        await self.deliver(PLAIN.replace(b"one", b"four"))
        copy = f"{self.directory}/copy"
        keys = f"<tag-pattern>~F<enter><tag-prefix><copy-message>{copy}<enter>"
        heard = await self.look(keys, tls=tls)
        # Headers of single messages, not of all.
        self.assertFalse(
            any(b" FETCH 1:3 (UID FLAGS INTERNALDATE" in line for line in heard), heard
        )
        self.assertTrue(any(b"VANISHED)" in line for line in heard), heard)
        self.assertIn(b"Viele Gr", Path(copy).read_bytes())
        # A deletion of its own.
        await self.look("<first-entry><delete-message>", tls=tls)
        subjects = [octets.split(b"\r\n")[0] for octets in await self.contents()]
        self.assertEqual(subjects, [b"Subject: large", b"Subject: four"])
        self.assertNotIn(DELETED, {flag for each in await self.flags() for flag in each})

    async def test_over_tls(self) -> None:
        await self.check(True)

    async def test_plain(self) -> None:
        await self.check(False)
