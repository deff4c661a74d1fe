"""Clients of accounts that share mailboxes, which are made, renamed and deleted under them.

Each keeps what it believes, as in ``believers``, and what it needs to come back (RFC 7162).
"""

from __future__ import annotations

import re
import zlib

from twisted.trial.unittest import SynchronousTestCase

from mailkit._typing import override
from tests.imap.believers import Model, numbers_in
from tests.imap.notes import Entries
from tests.imap.support import Client

_EARLIER = re.compile(rb"\* VANISHED \(EARLIER\) (\S+)")
_STATUS = re.compile(rb"\* STATUS (\S+) \((.*)\)")
_LIST = re.compile(rb'\* LIST \(([^)]*)\) "/" ("[^"]*"|\S+)(?: \((.*)\))?')
_OLDNAME = re.compile(rb'"OLDNAME" \(("[^"]*"|\S+)\)')
_CODE = re.compile(rb"(?:\* |t\d+ )?OK \[(\S+) ([^\]]*)\].*")
_ENTRY = re.compile(rb"(\w+) (\d+)")

#: Response codes of NO that these commands may get.
REFUSALS = {
    b"ALREADYEXISTS",
    b"BADURL",
    b"CANNOT",
    b"EXPUNGEISSUED",
    b"HASCHILDREN",
    b"NONEXISTENT",
    b"NOPERM",
    b"OVERQUOTA",
    b"TRYCREATE",
}


class Compression:
    """One end after COMPRESS DEFLATE (RFC 4978)."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
        self._inflater = zlib.decompressobj(-15)

    def encode(self, data: bytes) -> bytes:
        return self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def decode(self, data: bytes) -> bytes:
        return self._inflater.decompress(data)


class Kept:
    """What a client keeps of a mailbox while it is away."""

    def __init__(self, tenant: Tenant) -> None:
        self.mailbox_id = tenant.mailbox_id
        self.validity = tenant.validity
        self.modseq = tenant.modseq
        self.messages = dict(tenant.by_uid)
        #: It knows all messages, and their flags.
        self.is_complete = len(tenant.by_uid) == tenant.exists and all(
            message.flags is not None for message in tenant.by_uid.values()
        )


class Tenant(Model):
    """One client of one user."""

    def __init__(
        self, client: Client, user: str, kind: str, test: SynchronousTestCase, compressed: bool
    ) -> None:
        self.user = user
        self._compression: Compression | None = None
        self.mailbox_id = b""
        self.validity = 0
        #: Up to which it knows everything, and the highest that it has seen since.
        self.modseq = 0
        self._seen_modseq = 0
        self._coded = False
        self.selected = False
        self.bye = b""
        self.answer = b""
        #: STATUS responses that nobody has looked at yet.
        self.statuses: list[dict[bytes, int]] = []
        #: Lasting names of messages, by UIDVALIDITY and UID.
        self.emails: dict[tuple[int, int], bytes] = {}
        self.saved: list[int] | None = []
        self.entries = Entries()
        #: It is told which entries change.
        self.informed = False
        super().__init__(client, kind, test)
        if compressed:
            test.assertTrue(client.command("COMPRESS DEFLATE")[-1].startswith(b"OK"))
            self._compression = Compression()

    @override
    def send(self, data: bytes) -> None:
        if self._compression is not None:
            data = self._compression.encode(data)
        super().send(data)

    @override
    def take(self) -> bytes:
        data = super().take()
        return data if self._compression is None else self._compression.decode(data)

    @property
    def idling(self) -> bool:
        return bool(self.tag) and self.command == "IDLE"

    def keep(self) -> Kept | None:
        """What it comes back with; None where it can only begin anew."""
        return Kept(self) if self.kind in ("qresync", "both") and self.selected else None

    def begin_again(self, name: str, kept: Kept, more: str) -> None:
        """Select the mailbox that it was in before."""
        annotate = " ANNOTATE" if self.annotates else ""
        self.begin(f'SELECT "{name}" (QRESYNC ({kept.validity} {kept.modseq}{more}){annotate})')
        self.by_uid = dict(kept.messages)
        for message in () if self.annotates else kept.messages.values():
            # Of what changes there from now on it is not told.
            message.notes = None

    @override
    def begin(self, command: str) -> None:
        self.entries.begin(command)
        super().begin(command)

    @override
    def listen(self) -> None:
        super().listen()
        if not self.tag:
            self._settle()

    def _settle(self) -> None:
        # RFC 7162 section 6: once all is read that belongs together.
        if not self._coded:
            self.modseq = max(self.modseq, self._seen_modseq)
        self._coded = False
        self._seen_modseq = 0

    @override
    def end(self, answer: bytes) -> None:
        self.answer = answer
        where = (self.user, self.kind, self.command, self.lines[-8:])
        if answer.startswith(b"NO"):
            found = re.match(rb"NO \[([A-Z-]+)", answer)
            self.test.assertTrue(found and found[1] in REFUSALS, where)
        verb = self.command.split()[0]
        if verb in ("SELECT", "EXAMINE"):
            self.selected = answer.startswith(b"OK")
        elif verb in ("CLOSE", "UNSELECT") and answer.startswith(b"OK"):
            self.leave()
        super().end(answer)
        self._settle()

    def leave(self) -> None:
        self.messages, self.by_uid, self.exists = [], {}, 0
        self.contexts = {}
        self.selected = False
        self.modseq = self._seen_modseq = 0

    @override
    def read(self, line: bytes) -> None:
        where = (self.user, self.kind, self.tag, self.command, line)
        if line.startswith(b"* BYE"):
            self.bye = line
        elif line.startswith(b"* OK [CLOSED]"):
            self.leave()
        elif found := _EARLIER.fullmatch(line):
            self.test.assertTrue(self.command.startswith(("SELECT", "UID FETCH")), where)
            for uid in numbers_in(found[1]):
                self.by_uid.pop(uid, None)
        elif found := _STATUS.fullmatch(line):
            self.statuses.append({name: int(n) for name, n in _ENTRY.findall(found[2])})
        elif (found := _CODE.fullmatch(line)) and found[1] == b"MAILBOXID":
            if self.command.startswith(("SELECT", "EXAMINE")):
                self.mailbox_id = found[2].strip(b"()")
        elif found and found[1] == b"UIDVALIDITY":
            self.validity = int(found[2])
        elif found and found[1] == b"HIGHESTMODSEQ":
            self.modseq, self._coded = int(found[2]), True
            self._seen_modseq = 0
        self.entries.read(line)
        if not self.tag and self.kind not in ("notify", "delayed") and not self.bye:
            self.test.assertFalse(line.startswith(b"*"), where)
        super().read(line)

    @override
    def fetched(self, number: int, by_uid: bool, values: bytes) -> None:
        super().fetched(number, by_uid, values)
        uid = re.search(rb"UID (\d+)", values)
        found = re.search(rb"EMAILID \((\w+)\)", values)
        if found and (uid or by_uid):
            self.emails[self.validity, number if by_uid else int(uid[1])] = found[1]  # type: ignore[index]
        if modseq := re.search(rb"MODSEQ \((\d+)\)", values):
            self._seen_modseq = max(self._seen_modseq, int(modseq[1]))
        elif self.kind in ("qresync", "both", "condstore") and b"FLAGS" in values:
            # RFC 7162 section 3.2.4
            self.test.assertIn("FETCH", self.command, (self.kind, self.tag, values))


class Watcher:
    """A client that is told of mailboxes: all of its account, or those below a name (RFC 5465)."""

    def __init__(self, client: Client, test: SynchronousTestCase, top: str = "") -> None:
        self.client = client
        which = f'subtree "{top}"' if top else "personal"
        self.top = top.encode()
        self.test = test
        events = "MailboxName SubscriptionChange MessageNew MessageExpunge FlagChange"
        self.names: dict[bytes, frozenset[bytes]] = {}
        #: By name: a mailbox that gets another one leaves its subscription behind.
        self.subscribed: set[bytes] = set()
        self.statuses: dict[bytes, dict[bytes, int]] = {}
        for command in (
            'LIST "" "*" RETURN (SUBSCRIBED)',
            f"NOTIFY SET STATUS ({which} ({events}))",
        ):
            for line in client.command(command):
                self.read(line)

    def listen(self) -> None:
        data = self.client.take()
        for line in data.split(b"\r\n")[:-1]:
            self.read(line)

    def read(self, line: bytes) -> None:
        if found := _STATUS.fullmatch(line):
            entries = {name: int(n) for name, n in _ENTRY.findall(found[2])}
            self.statuses.setdefault(found[1].strip(b'"'), {}).update(entries)
        elif found := _LIST.fullmatch(line):
            name = found[2].strip(b'"')
            if not name.startswith(self.top):
                return
            if found[3] and (old := _OLDNAME.search(found[3])):
                self._rename(old[1].strip(b'"'), name)
            attributes = frozenset(found[1].split()) - {b"\\HasChildren", b"\\HasNoChildren"}
            self.names[name] = attributes - {b"\\Subscribed"}
            if b"\\Subscribed" in attributes:
                self.subscribed.add(name)
            else:
                self.subscribed.discard(name)
            if attributes & {b"\\NonExistent", b"\\Noselect"}:
                self.statuses.pop(name, None)

    def _rename(self, old: bytes, new: bytes) -> None:
        for known in [self.names, self.statuses]:
            moved = {}
            for name in list(known):
                if name == old or name.startswith(old + b"/"):
                    moved[new + name[len(old) :]] = known.pop(name)  # type: ignore[attr-defined]
            known.update(moved)  # type: ignore[attr-defined]
