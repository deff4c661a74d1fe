"""Users who share mailboxes on one server, and what is true there."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import NoSuchMailbox, OverQuota
from mailkit.interfaces import IMailAccount
from mailkit.model import FlagOp
from mailkit.rights import RightsOp, effective_rights, identifiers_of
from tests.imap.access import BOB, EVE, OTHERS
from tests.imap.believers import FLAGS, SEARCHES, Context, Message, make_context, numbers_in
from tests.imap.fakes import Slow
from tests.imap.labelled import LabelJudge, label_commands
from tests.imap.notes import (
    HEADERS,
    NOTED,
    by_note,
    by_subject,
    conversations,
    entry_commands,
    headers_in,
    note_commands,
    noted_in,
    noted_with,
    threads_in,
)
from tests.imap.support import PASSWORD, USER, Server, StoreReactor, now
from tests.imap.tenants import Kept, Tenant, Watcher

KINDS = ["plain", "rev2", "condstore", "qresync", "qresync", "uidonly", "both", "notify", "delayed"]
NAMES = ["INBOX", "a", "a/b", "c", "d", "c/e"]
RIGHTS = ["lrswipkxtean", "lrswite", "lrsin", "lr", "lrw", "lrte", "i", "l", ""]
STATUS_ITEMS = "MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ SIZE DELETED"


class _Realm:
    """Gives everybody an account whose calls take their time."""

    def __init__(self, store: Any, root: Slow) -> None:
        self.store = store
        self.root = root

    def requestAvatar(self, avatar_id: bytes, mind: object, *interfaces: object) -> Any:
        account = now(self.store.open_account(name=avatar_id.decode()))
        return IMailAccount, Slow(account, self.root) if self.root.after else account, lambda: None


class World:
    """A server, its users, and their clients.

    :param server: with ``gmail_extensions``.
    :param overlapping: commands of different clients are at work at the same time.
    """

    def __init__(
        self,
        test: SynchronousTestCase,
        server: Server,
        dice: random.Random,
        clients: int,
        overlapping: bool,
    ) -> None:
        self.dice = dice
        self.test = test
        self.server = server
        self.root = Slow(object(), after=overlapping)
        portal: Any = server.factory.portal
        portal.realm = _Realm(server.store, self.root)
        (checker,) = set(portal.checkers.values())
        for name in (BOB, EVE):
            now(server.store.add_account(name=name))
            checker.addUser(name.encode(), PASSWORD)
        for name in ("a", "a/b", "c"):
            now(server.account.create_mailbox(name=name))
        self.grant("a", "lrswipkxtea", BOB)
        self.grant("a/b", "lrswite", BOB)
        self.grant("INBOX", "lrswite", EVE)
        self.number = 0
        self.owners = {name: now(server.store.open_account(name=name)) for name in (USER, BOB, EVE)}
        #: Counters that mailboxes have had, by UIDVALIDITY.
        self.moments: dict[int, set[tuple[int, ...]]] = {}
        self.emails: dict[tuple[int, int], bytes] = {}
        #: Mailboxes that somebody may have lost, by user: gone, or not to be read for a time.
        self.lost: set[tuple[str, bytes]] = set()
        self.looked: dict[bytes, Any] = {}
        #: All names that a mailbox has had, and the mailboxes that a name has meant, of one owner.
        self.names: dict[tuple[str, bytes], set[str]] = {}
        self.meanings: dict[tuple[str, str], set[bytes]] = {}
        for _ in range(dice.randrange(12)):
            server.add(self.message(), mailbox=dice.choice(["INBOX", "a", "a/b"]))
        self.look()
        self.tenants = [self.make(dice) for _ in range(clients)]
        self.kept: dict[int, Kept] = {}
        self.watchers = {
            (USER, ""): Watcher(self.login(USER), test),
            (BOB, OTHERS): Watcher(self.login(BOB), test, OTHERS),
        }
        self.labels = LabelJudge(self, exact=not overlapping)
        self.root.slow = overlapping

    # Clients.

    def login(self, user: str) -> Any:
        client = self.server.connect()
        slow, self.root.slow = self.root.slow, False
        (*_, tagged) = client.command(f"LOGIN {user} {PASSWORD.decode()}")
        self.root.slow = slow
        self.test.assertTrue(tagged.startswith(b"OK"), tagged)
        return client

    def make(self, dice: random.Random, user: str = "", kind: str = "") -> Tenant:
        user = user or dice.choice([USER, USER, BOB, EVE])
        compressed = dice.random() < 0.2
        slow, self.root.slow = self.root.slow, False
        client = self.login(user)
        informed = dice.random() < 0.5
        if informed:
            self.test.assertTrue(client.command("ENABLE METADATA")[-1].startswith(b"OK"))
        tenant = Tenant(client, user, kind or dice.choice(KINDS), self.test, compressed)
        tenant.informed = informed
        tenant.annotates = dice.random() < 0.5
        self.root.slow = slow
        return tenant

    def grant(self, name: str, rights: str, identifier: str) -> None:
        now(
            self.server.account.set_acl(
                name=name, identifier=identifier, rights=frozenset(rights), op=RightsOp.REPLACE
            )
        )

    def message(self) -> bytes:
        self.number += 1
        head = b"Subject: %d\r\nMessage-ID: <%d@x>\r\n" % (self.number, self.number)
        if self.dice.random() < 0.5:
            head += b"References: <%d@x>\r\n" % self.dice.randint(1, self.number)
        return head + b"\r\n"

    def literal(self) -> str:
        """A new message in a command."""
        message = self.message()
        return f"{{{len(message)}+}}\r\n{message.decode()}"

    def name(self, user: str, dice: random.Random, new: bool = False) -> str:
        name = dice.choice(NAMES[1:] if new and dice.random() < 0.95 else NAMES)
        there = [info.name for _, _, info in self.looked.values() if info.name in NAMES]
        if not new and dice.random() < 0.8:
            name = dice.choice(there)
        if user == USER or dice.random() < 0.15:
            return name
        return f"{OTHERS}/{name}"

    # Time.

    def act(self, place: int, dice: random.Random) -> None:
        """One client does something, or something that takes its time is done."""
        tenant = self.tenants[place]
        waits = self.root.calls
        if waits and ((tenant.tag and not tenant.idling) or dice.random() < 0.5):
            self.root.release(dice.randrange(len(waits)))
        elif tenant.bye or (dice.random() < 0.03 and not tenant.tag):
            self.come_back(place, dice)
        elif tenant.idling:
            if dice.random() < 0.4:
                tenant.send(b"DONE\r\n")
        elif not tenant.tag:
            if place in self.kept and dice.random() < 0.7:
                self.resynchronize(tenant, self.kept.pop(place), dice)
            else:
                self.kept.pop(place, None)
                command = self.choose(tenant, dice)
                self.labels.begin(tenant, command)
                tenant.begin(command)
        if dice.random() < 0.06:
            self.meddle(dice)
        self.turn()

    def turn(self) -> None:
        """What can happen now happens, and clients read what has come."""
        self.server.clock.advance(0)
        for reactor in StoreReactor.running:
            reactor.run_until(self._is_still)
        self.look()
        for tenant in self.tenants:
            tenant.listen()
            self.check(tenant)
        for watcher in self.watchers.values():
            watcher.listen()

    def _is_still(self) -> bool:
        if self.root.after:
            return not self.root.busy
        return all(
            tenant.client.protocol._running is None
            for tenant in (*self.tenants, *self.watchers.values())
        )

    def come_back(self, place: int, dice: random.Random) -> None:
        """A client goes away, and comes again."""
        tenant = self.tenants[place]
        if tenant.bye:
            self.check_end(tenant)
        kept = None if tenant.bye else tenant.keep()
        if not tenant.client.closed:
            tenant.client.lose()
        self.tenants[place] = self.make(dice, tenant.user, tenant.kind)
        if kept is not None:
            self.kept[place] = kept

    def resynchronize(self, tenant: Tenant, kept: Kept, dice: random.Random) -> None:
        """The first command of a client that was here before."""
        for info in now(self.owners[tenant.user].list_mailboxes()):
            if info.mailbox_id.encode() == kept.mailbox_id and info.selectable:
                break
        else:
            return
        more = ""
        known = sorted(kept.messages)
        if dice.random() < 0.5 and known:
            more = " " + ",".join(map(str, known))
            if dice.random() < 0.5 and tenant.kind != "both" and kept.is_complete:
                # All are known: so are their numbers.
                some = sorted(dice.sample(range(len(known)), dice.randint(1, len(known))))
                numbers = ",".join(str(at + 1) for at in some)
                more += f" ({numbers} {','.join(str(known[at]) for at in some)})"
        tenant.begin_again(info.name, kept, more)

    def meddle(self, dice: random.Random) -> None:
        """Something comes from elsewhere."""
        choose = dice.random()
        if choose < 0.8:
            # There may be none of that name, or no room.
            with suppress(NoSuchMailbox, OverQuota):
                self.server.add(self.message(), mailbox=dice.choice(NAMES))
        else:
            limit = dice.choice([0, 0, 0, 3, 20])
            store = self.server.store
            now(store.set_quota(account=USER, max_octets=None, max_messages=limit))

    # Commands.

    def choose(self, tenant: Tenant, dice: random.Random) -> str:
        if not tenant.selected or dice.random() < 0.3:
            return self.choose_any(tenant, dice)
        return self.choose_selected(tenant, dice)

    def choose_any(self, tenant: Tenant, dice: random.Random) -> str:
        name, new = self.name(tenant.user, dice), self.name(tenant.user, dice, True)
        text = self.literal()
        other = dice.choice([BOB, EVE, "anyone"])
        select = dice.choice(["SELECT", "SELECT", "EXAMINE"])
        url = "".join("%20" if c == " " else "%40" if c == "@" else c for c in name)
        annotate = " (ANNOTATE)" if tenant.annotates else ""
        commands = [
            (20 if not tenant.selected else 2, f'{select} "{name}"{annotate}'),
            *entry_commands(name, dice),
            (2, f'CREATE "{new}"'),
            (2, f'DELETE "{new}"'),
            (3, f'RENAME "{name}" "{new}"'),
            (1, f'SUBSCRIBE "{name}"'),
            (1, f'UNSUBSCRIBE "{name}"'),
            (3, f'STATUS "{name}" ({STATUS_ITEMS})'),
            (2, f'LIST "" "*" RETURN (SUBSCRIBED STATUS ({STATUS_ITEMS}))'),
            (1, 'LIST (SUBSCRIBED RECURSIVEMATCH) "" "%"'),
            (2, f'SETACL "{name}" {other} "{dice.choice(RIGHTS)}"'),
            (1, f'SETACL "{name}" {other} {dice.choice("+-")}{dice.choice(["r", "lr", "te", "w"])}'),
            (1, f'DELETEACL "{name}" {other}'),
            (1, f'MYRIGHTS "{name}"'),
            (4, f'APPEND "{name}" (\\Seen) {text}'),
            (2, f'APPEND "{name}" {text} {text}'),
            (2, f'APPEND "{name}" CATENATE (URL "/{url}/;UID={dice.randint(1, 9)}" TEXT {text})'),
            (1, f'ESEARCH IN (mailboxes "{name}") RETURN (ALL) UNDELETED'),
            (1, f'GETQUOTAROOT "{name}"'),
            (1, "IDLE"),
        ]  # fmt: skip
        weights = [weight for weight, _ in commands]
        return dice.choices([command for _, command in commands], weights)[0]

    def uids(self, tenant: Tenant, dice: random.Random) -> str:
        known = list(tenant.by_uid) or [message.uid for message in tenant.messages if message.uid]
        first = dice.choice(known) if known and dice.random() < 0.7 else dice.randint(1, 20)
        return dice.choice([f"{first}", f"{first}:{first + 3}", f"{first}:*", "1:*", "$"])

    def choose_selected(self, tenant: Tenant, dice: random.Random) -> str:
        flag, sign = dice.choice(FLAGS), dice.choice("+-")
        silent = dice.choice(["", ".SILENT"]) if tenant.vanishes else ""
        uids = self.uids(tenant, dice)
        written = "1:3" if uids == "$" else uids
        target = self.name(tenant.user, dice)
        text = self.literal()
        since = dice.randint(1, max(2, tenant.modseq))
        commands = [
            "NOOP",
            "NOOP",
            "IDLE",
            "UID FETCH 1:* (FLAGS EMAILID)",
            f"UID FETCH {uids} (FLAGS EMAILID)",
            f"UID FETCH {uids} (FLAGS BODY[])",
            f"UID FETCH {uids} (BODY.PEEK[TEXT] RFC822.SIZE)",
            # Not "*": what that is the client need not know.
            f"UID STORE {written.replace('*', '99')} {sign}FLAGS{silent} ({flag})",
            f"UID STORE {uids} {sign}FLAGS ({flag})",
            f"UID STORE {uids} +FLAGS (\\Deleted)",
            f"UID SEARCH RETURN (SAVE ALL) {dice.choice(SEARCHES)}",
            f"UID SEARCH {dice.choice(SEARCHES)}",
            f"UID SORT RETURN (MIN COUNT) (REVERSE SUBJECT) UTF-8 {dice.choice(SEARCHES)}",
            f"UID EXPUNGE {uids}",
            "EXPUNGE",
            f"UID SEARCH RETURN (PARTIAL -1:-{dice.randint(1, 5)}) {dice.choice(SEARCHES)}",
            f'UID COPY {uids} "{target}"',
            f'UID MOVE {uids} "{target}"',
            f'UID REPLACE {dice.randint(1, 20)} "{target}" {text}',
            dice.choice(["CLOSE", "UNSELECT", "NOOP"]),
            *note_commands(written.replace("*", "99"), dice),
            *note_commands("1:99", dice),
            *label_commands(written.replace("*", "99"), dice),
            *label_commands("1:99", dice),
        ]
        if tenant.kind in ("condstore", "qresync", "both"):
            commands += [
                f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {since})",
                f"UID STORE {written.replace('*', '99')} (UNCHANGEDSINCE {since}) {sign}FLAGS ({flag})",
                f"UID SEARCH RETURN (ALL) MODSEQ {since}",
            ]
        if tenant.kind in ("qresync", "both"):
            commands += [f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {since} VANISHED)"]
        if tenant.numbered and tenant.count:
            number = dice.randint(1, tenant.count)
            commands += [
                f"FETCH {number}:* (UID FLAGS)",
                f"FETCH {number} (UID FLAGS BODY[])",
                f"STORE {number} {sign}FLAGS ({flag})",
                f"SEARCH RETURN (COUNT) {number}:* {dice.choice(SEARCHES)}",
                f'COPY {number}:* "{target}"',
                f'MOVE {number} "{target}"',
                f'REPLACE {number} "{target}" {text}',
            ]
        if len(tenant.contexts) < 4 and dice.random() < 0.15:
            return make_context(tenant, dice)
        return dice.choice(commands)

    # What is true.

    def mailboxes(self) -> dict[bytes, Any]:
        """All mailboxes by identifier, as their owners have them."""
        found = {}
        for owner, account in self.owners.items():
            for info in now(account.list_mailboxes()):
                if info.selectable and not info.name.startswith("Other Users/"):
                    found[info.mailbox_id.encode()] = (owner, account, info)
        return found

    def may_read(self, user: str, mailbox_id: bytes) -> bool:
        owner, account, info = self.looked[mailbox_id]
        entries = [] if user == owner else now(account.get_acl(name=info.name))
        return user == owner or "r" in effective_rights(entries, identifiers_of(user))

    def look(self) -> None:
        """Remember how things are now."""
        before, self.looked = self.looked, self.mailboxes()
        for owner, account, info in self.looked.values():
            self.names.setdefault((owner, info.mailbox_id.encode()), set()).add(info.name)
            self.meanings.setdefault((owner, info.name), set()).add(info.mailbox_id.encode())
            if info.mailbox_id.encode() in before and before[info.mailbox_id.encode()][2] == info:
                continue
            deleted = 0
            if info.messages:
                box = now(account.open_mailbox(name=info.name))
                deleted = now(box.count_deleted()).messages
            moment = (info.messages, info.uid_next, info.uid_validity, info.unseen,
                      info.highest_modseq, info.size, deleted)  # fmt: skip
            self.moments.setdefault((owner, info.uid_validity), set()).add(moment)
        for tenant in getattr(self, "tenants", ()):
            if not tenant.mailbox_id:
                continue
            if tenant.mailbox_id not in self.looked or not self.may_read(
                tenant.user, tenant.mailbox_id
            ):
                self.lost.add((tenant.user, tenant.mailbox_id))

    def check(self, tenant: Tenant) -> None:
        """What a client was told is true, or was."""
        statuses, tenant.statuses = tenant.statuses, []
        for status in statuses:
            if "HIGHESTMODSEQ" not in tenant.command or not status.get(b"UIDVALIDITY"):
                continue
            told = tuple(status[item.encode()] for item in STATUS_ITEMS.split())
            moments = [m for (_, validity), some in self.moments.items()
                       if validity == status[b"UIDVALIDITY"] for m in some]  # fmt: skip
            near = sorted(moments, key=lambda m: -sum(a == b for a, b in zip(m, told, strict=True)))
            self.test.assertIn(told, moments, (tenant.user, tenant.kind, tenant.command, near[:3]))
        owner = self.looked.get(tenant.mailbox_id, ("",))[0]
        for (validity, uid), email in tenant.emails.items():
            known = self.emails.setdefault((owner, validity, uid), email)
            self.test.assertEqual(known, email, (tenant.user, tenant.command, uid))
        tenant.emails = {}
        self.labels.check(tenant)

    def check_end(self, tenant: Tenant) -> None:
        """A session ends by itself only where its mailbox is lost."""
        self.test.assertIn((tenant.user, tenant.mailbox_id), self.lost, tenant.bye)

    def finish(self) -> None:
        """All that was begun ends; then everybody is asked."""
        for tenant in self.tenants:
            if tenant.idling:
                tenant.send(b"DONE\r\n")
        self.root.slow = False
        while self.root.calls:
            self.root.release()
            self.turn()
        for _ in range(5):
            self.turn()
        for place, tenant in enumerate(self.tenants):
            self.test.assertEqual(tenant.tag if not tenant.bye else b"", b"", tenant.command)
            self.compare(tenant)
            self.compare_return(place)
        self.compare_names()
        self.compare_counters()

    def run(self, tenant: Tenant, command: str) -> bytes:
        tenant.begin(command)
        self.turn()
        if not tenant.bye:
            self.test.assertEqual(tenant.tag, b"", command)
        return tenant.answer

    def messages(self, mailbox_id: bytes) -> Sequence[Any]:
        _, account, info = self.looked[mailbox_id]
        box = now(account.open_mailbox(name=info.name))
        return now(box.get_messages(uids=now(box.list_uids())))  # type: ignore[no-any-return]

    def compare(self, tenant: Tenant) -> None:
        """What the client believes is complete, and it is the mailbox."""
        if not tenant.bye:
            self.run(tenant, "NOOP")
        if tenant.bye:
            self.check_end(tenant)
            return
        if tenant.informed:
            self.compare_entries(tenant)
        if not tenant.selected:
            return
        where = (tenant.user, tenant.kind)
        self.test.assertIn(tenant.mailbox_id, self.looked, where)
        self.test.assertTrue(self.may_read(tenant.user, tenant.mailbox_id), where)
        self.run(tenant, "NOOP")
        infos = self.messages(tenant.mailbox_id)
        self.test.assertEqual(tenant.count, len(infos), where)
        known = list(tenant.by_uid.values()) if tenant.vanishes else tenant.messages
        by_uid = {info.uid: info for info in infos}
        for message, info in zip(tenant.messages, infos, strict=False):
            if not tenant.vanishes:
                self.test.assertIn(message.uid, (0, info.uid), where)
                message.uid = info.uid
        for message in known:
            if message.flags is not None:
                flags = {flag.encode() for flag in by_uid[message.uid].flags}
                self.test.assertEqual(message.flags, flags, (*where, message.uid))
        for context in tenant.contexts.values():
            self.compare_context(tenant, context)
        self.compare_orders(tenant)
        self.labels.compare(tenant)

    def compare_orders(self, tenant: Tenant) -> None:
        """Annotations that it knows are true, and so are the orders that it is given."""
        believed = {
            message.uid: message.notes
            for message in (*tenant.messages, *tenant.by_uid.values())
            if message.notes is not None
        }
        self.run(tenant, HEADERS)
        headers = headers_in(tenant.lines)
        self.run(tenant, NOTED)
        notes = noted_in(tenant.lines)
        where = (tenant.user, tenant.kind)
        self.test.assertEqual((len(headers), list(headers)), (tenant.count, list(notes)), where)
        self.test.assertEqual(believed, {uid: notes[uid] for uid in believed}, where)
        for command, expected in (
            ("SORT RETURN (ALL) (REVERSE SUBJECT) UTF-8 ALL", by_subject(headers)),
            ("SORT RETURN (ALL) (ANNOTATION /comment value.priv) UTF-8 ALL", by_note(notes, 0)),
            ("SORT RETURN (ALL) (ANNOTATION /comment value.shared) UTF-8 ALL", by_note(notes, 1)),
            ('SEARCH RETURN (ALL) ANNOTATION /comment value "2"', noted_with(notes, b"2")),
        ):
            self.test.assertEqual(self.find(tenant, command), expected, (*where, command))
        self.run(tenant, "UID THREAD REFERENCES UTF-8 ALL")
        threads = threads_in(self.test, tenant.lines)
        self.test.assertEqual(threads, conversations(headers), (*where, headers))

    def compare_entries(self, tenant: Tenant) -> None:
        """Entries that an owner knows, and is told of, are true."""
        account = self.owners[tenant.user]
        for (octets, entry), value in tenant.entries.known.items():
            name = octets.decode()
            if name:
                (mailbox_id, *others) = self.meanings.get((tenant.user, name)) or [b""]
                names = self.names.get((tenant.user, mailbox_id))
                if others or names != {name} or mailbox_id not in self.looked:
                    # Renamed, gone, or another one by now: that is not told.
                    continue
            there = now(account.get_metadata(mailbox=name or None))
            where = (tenant.user, tenant.kind, name, entry)
            self.test.assertEqual(there.get(entry.decode()), value, where)

    def find(self, tenant: Tenant, search: str) -> list[int]:
        """UIDs that a search finds, in its order."""
        self.run(tenant, f"UID {search}")
        (found,) = [line for line in tenant.lines if line.startswith(b"* ESEARCH")]
        text = re.search(rb" ALL (\S+)", found)
        return numbers_in(text[1]) if text else []

    def compare_context(self, tenant: Tenant, context: Context) -> None:
        again = context.command.replace(" UPDATE", "").removeprefix("UID ")
        expected = self.find(tenant, again)
        held: Any = [item.uid if isinstance(item, Message) else item for item in context.results]
        held = held if context.sorts else sorted(held)
        self.test.assertEqual(held, expected, (tenant.user, tenant.kind, context.command))

    def compare_return(self, place: int) -> None:
        """A client that knew everything, and comes back, knows everything."""
        tenant = self.tenants[place]
        if tenant.bye or not tenant.selected or tenant.kind not in ("qresync", "both"):
            return
        self.run(tenant, "UID FETCH 1:* (FLAGS)")
        kept = tenant.keep()
        assert kept is not None and kept.is_complete, (tenant.exists, tenant.by_uid)
        dice = random.Random(place)
        tenant.client.lose()
        owner, account, info = self.looked[kept.mailbox_id]
        box = now(account.open_mailbox(name=info.name))
        uids = list(now(box.list_uids()))
        if uids:
            now(box.store_flags(uids=dice.sample(uids, 1), op=FlagOp.ADD, flags=frozenset(["new"])))
            now(box.expunge(uids=dice.sample(uids, 1)))
        now(self.server.store.set_quota(account=USER, max_octets=None, max_messages=0))
        if owner == USER:
            self.server.add(self.message(), mailbox=info.name)
        tenant = self.tenants[place] = self.make(dice, tenant.user, tenant.kind)
        self.look()
        self.resynchronize(tenant, kept, random.Random(1))
        self.turn()
        if not tenant.selected:
            # It may not see the mailbox in a list.
            return
        there = {
            item.uid: {f.encode() for f in item.flags} for item in self.messages(kept.mailbox_id)
        }
        held = {uid: message.flags for uid, message in tenant.by_uid.items()}
        where = (tenant.kind, tenant.command, tenant.lines)
        self.test.assertEqual({u: f for u, f in there.items() if u in kept.messages},
                              {u: f for u, f in held.items() if u in kept.messages}, where)  # fmt: skip
        self.test.assertEqual(tenant.exists, len(there), where)

    def compare_names(self) -> None:
        """Who is told of all names, and of all that is new, knows them."""
        gone = {b"\\NonExistent", b"\\Noselect"}

        def there(one: Watcher) -> dict[bytes, bool]:
            names = [name for name, attributes in one.names.items() if not attributes & gone]
            return {name: name in one.subscribed for name in names}

        for (user, top), watcher in self.watchers.items():
            asked = Watcher(self.login(user), self.test, top)
            self.test.assertEqual(there(watcher), there(asked), user)
            for name, status in asked.statuses.items():
                known = {b"UIDNEXT": 1, b"MESSAGES": 0, **watcher.statuses.get(name, {})}
                for item in (b"MESSAGES", b"UIDNEXT"):
                    self.test.assertEqual(known[item], status[item], (user, name, item))

    def compare_counters(self) -> None:
        """The store counts what is there."""
        for mailbox_id, (_, _, info) in self.looked.items():
            infos = self.messages(mailbox_id)
            self.test.assertEqual(info.messages, len(infos))
            self.test.assertEqual(info.unseen, sum("\\Seen" not in one.flags for one in infos))
            self.test.assertEqual(info.size, sum(one.size for one in infos))
            self.test.assertGreater(info.uid_next, max([0, *(one.uid for one in infos)]))
            highest = max([0, *(one.modseq for one in infos)])
            self.test.assertGreaterEqual(info.highest_modseq, highest)
