"""Labels of messages (X-GM-EXT-1) among users who share mailboxes, and what is true of them.

A label is worked out here from what the mailboxes hold: which other ones of the same account have a
message with the same EMAILID, and which flags stand for a label.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tests.imap.believers import numbers_in

if TYPE_CHECKING:
    from tests.imap.tenants import Tenant
    from tests.imap.world import World

Labels = frozenset[str]

_USES = {"\\Drafts": "\\Draft", "\\Sent": "\\Sent", "\\Junk": "\\Spam", "\\Trash": "\\Trash"}
_FLAGS = {"\\Flagged": "\\Starred", "$Important": "\\Important"}
_GIVEN = ["INBOX", "a", "a/b", "c", "d", "c/e", "\\Inbox", "\\Sent", "\\Starred", "\\Important"]
#: Searches of people, and the label that each means.
_RAW = {"in:inbox": "\\Inbox", "label:A-B": "a/b", "is:starred": "\\Starred", "in:sent": "\\Sent"}
_TOLD = re.compile(rb'X-GM-LABELS \(((?:"(?:[^"\\]|\\.)*"| )*)\)')
_LABEL = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_UID = re.compile(rb"\A\* (\d+) UIDFETCH |\bUID (\d+)")
_STORE = re.compile(r"UID STORE (\S+) ([+-]?)X-GM-LABELS(\.SILENT)? \((.*)\)")
_FETCH = "UID FETCH 1:* (UID X-GM-LABELS)"


def label_commands(uids: str, dice: random.Random) -> list[str]:
    """About labels of the selected mailbox."""
    given = " ".join(
        label if label.startswith("\\") else f'"{label}"'
        for label in dice.sample(_GIVEN, dice.choice([0, 1, 1, 2, 3]))
    )
    silent = dice.choice(["", "", ".SILENT"])
    return [
        f"UID STORE {uids} +X-GM-LABELS{silent} ({given})",
        f"UID STORE {uids} -X-GM-LABELS{silent} ({given})",
        f"UID STORE {uids} {dice.choice(['', '+'])}X-GM-LABELS{silent} ({given})",
        f"UID FETCH {uids} (UID FLAGS X-GM-LABELS)",
        f"UID SEARCH RETURN (SAVE ALL) X-GM-LABELS {dice.choice(['a', 'INBOX', 'c'])}",
    ]


def labels_told(lines: Iterable[bytes]) -> dict[int, Labels]:
    """By UID, what FETCH responses tell of labels."""
    found = {}
    for line in lines:
        uid, told = _UID.search(line), _TOLD.search(line)
        if uid and told:
            labels = [label.replace(b"\\\\", b"\\").decode() for label in _LABEL.findall(told[1])]
            found[int(uid[1] or uid[2])] = frozenset(labels)
    return found


def _label_of(info: Any) -> str:
    """What a mailbox is called as a label."""
    return "\\Inbox" if info.name == "INBOX" else _USES.get(info.special_use, info.name)


def _given_in(text: str) -> Labels:
    given = [word.strip('"') for word in text.split()]
    return frozenset("\\Inbox" if label == "INBOX" else label for label in given)


class LabelJudge:
    """Sees whether what clients are told of labels, and make of them, is right.

    :param exact: commands are not at work at the same time, so that each can be followed.
    """

    def __init__(self, world: World, exact: bool) -> None:
        self._world = world
        self._exact = exact
        #: What was true before a command.
        self._before: dict[Tenant, tuple[str, Mapping[int, Labels], Mapping[int, str]]] = {}

    def truth(self, tenant: Tenant) -> tuple[dict[int, Labels], dict[int, str]]:
        """Labels, and lasting names, of all messages in its mailbox by UID."""
        world = self._world
        owner, _, own = world.looked[tenant.mailbox_id]
        holders: dict[str, set[str]] = {}
        for mailbox_id, (other, _, info) in world.looked.items():
            # Those of others have labels for their owner alone.
            if other == owner == tenant.user and mailbox_id != tenant.mailbox_id and info.messages:
                for message in world.messages(mailbox_id):
                    holders.setdefault(message.email_id, set()).add(_label_of(info))
        messages = world.messages(tenant.mailbox_id) if own.messages else ()
        flagged = {
            message.uid: {label for flag, label in _FLAGS.items() if flag in message.flags}
            for message in messages
        }
        return (
            {one.uid: frozenset(flagged[one.uid] | holders.get(one.email_id, set()))
             for one in messages},
            {one.uid: one.email_id for one in messages},
        )  # fmt: skip

    def begin(self, tenant: Tenant, command: str) -> None:
        """A client is about to say this."""
        self._before.pop(tenant, None)
        there = tenant.selected and tenant.mailbox_id in self._world.looked
        if self._exact and there and "X-GM-LABELS" in command:
            labels, emails = self.truth(tenant)
            state = tenant.client.protocol.selection.state
            # What came since it was last told of messages is none of the command's.
            known = set(state.uids_of([(0, len(state))]))
            before = {uid: some for uid, some in labels.items() if uid in known}
            self._before[tenant] = command, before, emails

    def check(self, tenant: Tenant) -> None:
        """What a command that has ended said, and did."""
        if tenant.tag or tenant not in self._before:
            return
        command, before, emails = self._before.pop(tenant)
        if not tenant.selected or tenant.mailbox_id not in self._world.looked:
            return
        after, _ = self.truth(tenant)
        told = labels_told(tenant.lines)
        test, where = self._world.test, (tenant.user, tenant.kind, command, tenant.answer)
        for uid, labels in told.items():
            test.assertEqual(labels, after.get(uid, labels), (*where, uid))
        if store := _STORE.fullmatch(command):
            wanted = before.keys() & set(numbers_in(store[1].encode()))
            self._check_store(tenant, store, wanted, before, after, emails)
            if tenant.answer.startswith(b"OK") and not store[3]:
                test.assertEqual(told.keys() & wanted, wanted & after.keys(), where)

    def _check_store(
        self,
        tenant: Tenant,
        store: re.Match[str],
        wanted: set[int],
        before: Mapping[int, Labels],
        after: Mapping[int, Labels],
        emails: Mapping[int, str],
    ) -> None:
        own = _label_of(self._world.looked[tenant.mailbox_id][2])
        given = _given_in(store[4]) - {own}
        done = tenant.answer.startswith(b"OK")
        touched = {emails[uid] for uid in wanted} if done else set()
        for uid in before.keys() & after.keys():
            where = (tenant.user, tenant.kind, store[0], tenant.answer, uid, before[uid])
            if done and uid in wanted:
                expected = {"+": before[uid] | given, "-": before[uid] - given, "": given}[store[2]]
                self._world.test.assertEqual(after[uid], expected, where)
            elif emails[uid] not in touched:
                self._world.test.assertEqual(after[uid], before[uid], where)

    def compare(self, tenant: Tenant) -> None:
        """All that is told in the end is true, and searches find it."""
        world, where = self._world, (tenant.user, tenant.kind)
        world.run(tenant, _FETCH)
        truth, _ = self.truth(tenant)
        world.test.assertEqual(labels_told(tenant.lines), truth, where)
        owner, _, info = world.looked[tenant.mailbox_id]
        own = _label_of(info) if owner == tenant.user else ""
        searches = {f"X-GM-LABELS {label}": label for label in _GIVEN if label != "INBOX"}
        searches |= {f'X-GM-RAW "{text}"': label for text, label in _RAW.items()}
        for search, label in searches.items():
            expected = [uid for uid, labels in truth.items() if label in labels or label == own]
            found = world.find(tenant, f"SEARCH RETURN (ALL) {search}")
            world.test.assertEqual(found, expected, (*where, search))
