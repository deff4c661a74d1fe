"""Many clients on one mailbox, each with a picture of it made of what it was told, and nothing else.

Octets lie between a client and the server until somebody carries them, so that clients act on what
is no longer true. Whenever all has been carried and each client has said NOOP, the pictures must be
the mailbox. The client's own state (message numbers, UIDs) is held against it too.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from twisted.python.failure import Failure

from mailkit.imap.client import (
    Expunge,
    Idling,
    Known,
    Message,
    NewMessage,
    Numbers,
    NumbersChanged,
    Refused,
    Session,
    Vanished,
    synchronise,
)
from mailkit.imap.client.sets import RangeSet
from mailkit.model import FlagOp, Flags
from tests.imap.client.support import Client
from tests.imap.support import Server, StoreReactor, now

FLAGS = ["\\Seen", "\\Deleted", "\\Flagged", "\\Answered", "Junk", "mine"]
#: What the client uses, by what it does not look at.
KINDS: dict[str, frozenset[str]] = {
    "QRESYNC": frozenset(),
    "CONDSTORE": frozenset(("QRESYNC",)),
    "plain": frozenset(("QRESYNC", "CONDSTORE", "ESEARCH", "MOVE")),
}
#: Commands that one client has under way.
MAX_COMMANDS = 3


class Actor:
    """One client."""

    def __init__(self, crowd: Crowd, kind: str) -> None:
        self.crowd = crowd
        self.kind = kind
        self.known = Known()
        #: Flags by UID, as far as they were told.
        self.picture: dict[int, Flags] = {}
        self.syncing = False
        #: UIDs whose flags were told since a silent STORE was begun.
        self.told: set[int] = set()
        self.running: list[tuple[str, list[Any]]] = []
        self.idling: Idling | None = None
        self.connect()

    def connect(self) -> None:
        self.wire = Client(self.crowd.server)
        self.session: Session = self.wire.session
        self.crowd.wires.append(self.wire)
        self.crowd.wait(self.wire.begin(self.session.open()))
        facts = self.session._connection.facts
        facts.announced -= KINDS[self.kind]
        self.session.add_listener(self.hear)
        self.crowd.wait(self.wire.begin(self.synchronise()))

    # What it is told.

    def hear(self, response: Any) -> None:
        if self.syncing:
            return
        if isinstance(response, Message) and response.uid and response.flags is not None:
            self.picture[response.uid] = response.flags
            self.told.add(response.uid)
        elif isinstance(response, Expunge) and response.uid:
            self.picture.pop(response.uid, None)
        elif isinstance(response, Vanished):
            gone = RangeSet(response.uids)
            self.picture = {uid: each for uid, each in self.picture.items() if uid not in gone}

    async def synchronise(self) -> None:
        known = Known(self.known.uid_validity, self.known.modseq, dict(self.picture))
        self.syncing = True
        try:
            found = await synchronise(self.session, "INBOX", known)
        finally:
            self.syncing = False
        # The longer way where others remove messages just now.
        ways = ["QRESYNC", "CONDSTORE", "FLAGS"]
        assert found.by in ways[ways.index(self.kind.replace("plain", "FLAGS")) :], found.by
        pictured = {uid: each for uid, each in known.flags.items() if uid not in found.vanished}
        pictured |= found.added | found.changed
        assert pictured == found.known.flags, (pictured, found)
        assert not found.reset
        self.known, self.picture = found.known, dict(found.known.flags)

    # What it does; numbers say which of the possible things.

    @property
    def uids(self) -> list[int]:
        selected = self.session.selected
        return [uid for uid in selected.uids if uid] if selected is not None else []

    def some_uids(self, choice: int) -> list[int]:
        uids = self.uids
        if not uids:
            return []
        start = choice % len(uids)
        return uids[start : start + 1 + choice // 7 % 4]

    def a_number(self, choice: int) -> int | None:
        selected = self.session.selected
        if selected is None or not selected.exists:
            return None
        return choice % selected.exists + 1

    def begin(self, name: str, work: Awaitable[Any]) -> None:
        self.running.append((name, self.wire.begin(work)))

    def act(self, name: str, choice: int) -> None:
        """Begin something, if that is possible now."""
        self.reap()
        if self.idling is not None or name == "stop":
            # Not before the server has said that it listens.
            if name == "stop" and self.idling is not None and not self.running:
                self.begin("stop", self.stop())
            return
        if self.syncing or len(self.running) >= MAX_COMMANDS:
            return
        # What a silent STORE leaves untold can be worked out where nothing else is under way.
        alone = ("idle", "synchronise", "reconnect", "store_silently")
        if self.running and (name in alone or self.running[0][0] in alone):
            return
        work = getattr(self, f"do_{name}")(choice)
        if work is not None:
            self.begin(name, work)

    def reap(self) -> None:
        """Look at what has come to its end."""
        left = []
        for name, results in self.running:
            if not results:
                left.append((name, results))
            elif isinstance(results[0], Failure):
                # Numbers may mean messages that are gone (RFC 2180 section 4.1 and 4.4).
                allowed = (NumbersChanged, Refused) if name.endswith("number") else ()
                if not results[0].check(*allowed):
                    results[0].raiseException()
        self.running = left

    def do_append(self, choice: int) -> Awaitable[Any]:
        flags = [flag for bit, flag in enumerate(FLAGS) if choice >> bit & 1]
        new = [NewMessage(b"Subject: %d\r\n\r\n" % choice, flags)] * (1 + choice % 2)
        return self.session.append("INBOX", *new)

    def do_store(self, choice: int) -> Awaitable[Any] | None:
        uids = self.some_uids(choice)
        if not uids:
            return None
        operation = list(FlagOp)[choice % 3]
        flag = FLAGS[choice // 3 % len(FLAGS)]
        return self.session.store(uids, operation, [flag])

    def do_store_silently(self, choice: int) -> Awaitable[Any] | None:
        uids = self.some_uids(choice)[:1]
        if not uids:
            return None
        operation = list(FlagOp)[choice % 2]
        return self.store_silently(uids[0], operation, FLAGS[choice // 3 % len(FLAGS)])

    async def store_silently(self, uid: int, operation: FlagOp, flag: str) -> None:
        """Work the new flags out itself, unless the server tells them after all."""
        self.told.clear()
        await self.session.store(uid, operation, [flag], silent=True)
        if uid in self.picture and uid not in self.told:
            given = frozenset([flag])
            old = self.picture[uid]
            self.picture[uid] = old | given if operation is FlagOp.ADD else old - given

    def do_store_unchanged(self, choice: int) -> Awaitable[Any] | None:
        uids = self.some_uids(choice)
        if not uids or self.kind == "plain" or not self.known.modseq:
            return None
        flag = FLAGS[choice % len(FLAGS)]
        since = self.known.modseq + choice % 3
        return self.session.store(uids, FlagOp.ADD, [flag], unchanged_since=since)

    def do_store_number(self, choice: int) -> Awaitable[Any] | None:
        number = self.a_number(choice)
        if number is None:
            return None
        flag = FLAGS[choice % len(FLAGS)]
        return self.session.store(Numbers(number), FlagOp.ADD, [flag])

    def do_fetch(self, choice: int) -> Awaitable[Any] | None:
        items = [["FLAGS"], ["FLAGS", "BODY.PEEK[]"], ["RFC822.SIZE"], ["BODY[TEXT]"]][choice % 4]
        uids = self.some_uids(choice)
        wanted = "1:*" if choice % 5 == 0 else f"{uids[0]}:*" if choice % 5 == 1 and uids else uids
        return self.collect(wanted, items)

    def do_fetch_number(self, choice: int) -> Awaitable[Any] | None:
        number = self.a_number(choice)
        if number is None:
            return None
        items = ["UID", "FLAGS"] if choice % 2 else ["UID", "FLAGS", "BODY.PEEK[]"]
        return self.collect(Numbers(f"{number}:{self.a_number(choice // 3)}"), items)

    async def collect(self, wanted: Any, items: list[str]) -> None:
        await self.session.fetch(wanted, items)

    def do_search(self, choice: int) -> Awaitable[Any]:
        return self.session.search(["SEEN", "UNDELETED", "ALL"][choice % 3])

    def do_search_number(self, choice: int) -> Awaitable[Any]:
        return self.session.search("FLAGGED", by_number=True)

    def do_copy(self, choice: int) -> Awaitable[Any]:
        return self.session.copy(self.some_uids(choice), ["INBOX", "Sent"][choice % 2])

    def do_copy_number(self, choice: int) -> Awaitable[Any] | None:
        number = self.a_number(choice)
        return None if number is None else self.session.copy(Numbers(number), "INBOX")

    def do_move(self, choice: int) -> Awaitable[Any]:
        return self.session.move(self.some_uids(choice), ["INBOX", "Trash"][choice % 2])

    def do_expunge(self, choice: int) -> Awaitable[Any]:
        return self.session.expunge(None if choice % 2 else f"{choice % 40 + 1}:*")

    def do_noop(self, choice: int) -> Awaitable[Any]:
        return self.session.noop()

    def do_synchronise(self, choice: int) -> Awaitable[Any]:
        return self.synchronise()

    def do_reconnect(self, choice: int) -> None:
        self.wire.end.lose()
        self.wire.lose()
        self.crowd.wires.remove(self.wire)
        self.connect()

    def do_idle(self, choice: int) -> Awaitable[Any]:
        self.idling = self.session.idle()
        return self.idling.__aenter__()

    async def stop(self) -> None:
        idling, self.idling = self.idling, None
        assert idling is not None
        await idling.__aexit__(None, None, None)

    # The truth.

    def compare(self, truth: dict[int, Flags]) -> None:
        """Nothing that it was told, and nothing that follows from it, is wrong."""
        selected = self.session.selected
        assert selected is not None, self.session._connection.failure
        assert selected.exists == len(truth), (self.kind, selected.exists, sorted(truth))
        for uid, real in zip(selected.uids, sorted(truth), strict=True):
            assert uid in (0, real), (self.kind, list(selected.uids), sorted(truth))
        for uid, flags in self.picture.items():
            assert truth.get(uid) == flags, (self.kind, uid, flags, truth.get(uid))


class Crowd:
    """Clients, and the server.

    :param count: clients; of all kinds by turns.
    """

    def __init__(self, server: Server, count: int) -> None:
        self.server = server
        self.wires: list[Client] = []
        kinds = list(KINDS)
        self.actors = [Actor(self, kinds[index % len(kinds)]) for index in range(count)]

    def carry(self, wire: Client) -> bool:
        """Let the server read, and take what it says; whether anything has moved."""
        moved = wire.carry_out()
        for reactor in StoreReactor.running:
            # What a thread has answered may be for another client, who had its turn before.
            moved = reactor.run_until(lambda: True) or moved
        return moved

    def deliver(self, index: int, size: int) -> None:
        """Let a client read some octets."""
        wire = self.actors[index].wire
        self.carry(wire)
        wire.carry_in(size)

    def act(self, index: int, name: str, choice: int) -> None:
        actor = self.actors[index]
        actor.act(name, choice)
        self.carry(actor.wire)

    def wait(self, results: list[Any]) -> None:
        """Carry everything until it is there; it must be no failure."""
        self.carry_until([results])
        if isinstance(results[0], Failure):
            results[0].raiseException()

    def carry_until(self, awaited: list[list[Any]]) -> None:
        """Carry everything until all these are there."""
        for _ in range(100_000):
            moved = False
            for wire in list(self.wires):
                moved = self.carry(wire) or moved
                moved = wire.carry_in() or moved
            if all(awaited):
                break
            if not moved:
                self.wait_for_store()

    def wait_for_store(self) -> None:
        """Nothing moves: a thread of the store must be at work."""
        if not StoreReactor.running:
            raise AssertionError("a client waits for ever")
        answers = iter([False])
        for reactor in StoreReactor.running:
            reactor.run_until(lambda: next(answers, True))

    def settle(self) -> None:
        """Everybody hears everything."""
        for actor in self.actors:
            self.carry_until([results for _, results in actor.running])
            actor.reap()
            if actor.idling is not None:
                self.wait(actor.wire.begin(actor.stop()))
        for actor in self.actors:
            self.wait(actor.wire.begin(actor.session.noop()))

    def compare(self) -> None:
        """Settle, and hold every picture against the mailbox."""
        self.settle()
        mailbox = self.server.mailbox()
        infos = now(mailbox.get_messages(uids=now(mailbox.list_uids())))
        truth = {info.uid: frozenset(info.flags) for info in infos}
        for actor in self.actors:
            actor.compare(truth)
            found = actor.wire.begin(actor.session.search("SEEN"))
            self.wait(found)
            assert found[0] == [uid for uid in sorted(truth) if "\\Seen" in truth[uid]]


#: What a client may do: each as often as it stands here.
ACTIONS: list[str] = [
    "append",
    "append",
    "store",
    "store",
    "store_silently",
    "store_unchanged",
    "store_number",
    "fetch",
    "fetch",
    "fetch",
    "fetch_number",
    "search",
    "search_number",
    "copy",
    "copy_number",
    "move",
    "expunge",
    "expunge",
    "noop",
    "synchronise",
    "reconnect",
    "idle",
    "idle",
    "stop",
    "stop",
]
