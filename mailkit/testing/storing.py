"""Contract tests of mailboxes that change flags without telling of each message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailkit.interfaces import IQuietMailbox
from mailkit.model import DELETED, FLAGGED, SEEN, FlagOp, Flags
from mailkit.testing.reading import ReadingContract


def _applied(op: FlagOp, old: Flags, given: Flags) -> Flags:
    match op:
        case FlagOp.ADD:
            return old | given
        case FlagOp.REMOVE:
            return old - given
    return given


class QuietContract(ReadingContract):
    """What a mailbox must do that provides IQuietMailbox; part of ``MailboxContract``."""

    async def _open_quiet(self, count: int) -> Any:
        """A mailbox with messages that have no flags."""
        mailbox: Any = await self.open_sample(count)
        self.need(IQuietMailbox, mailbox)
        uids = list(await mailbox.list_uids())
        await mailbox.store_flags(uids=uids, op=FlagOp.REPLACE, flags=frozenset())
        return mailbox

    async def _store_quietly(
        self, mailbox: Any, uids: Sequence[int], op: FlagOp, *flags: str
    ) -> list[int]:
        """Change flags, look whether all is as it should be; gives the UIDs that have changed."""
        before = await mailbox.get_info()
        given = frozenset(flags)
        known = await self.infos(mailbox)
        expected = {
            each.uid: _applied(op, each.flags, given) if each.uid in uids else each.flags
            for each in known
        }
        changed = [each.uid for each in known if expected[each.uid] != each.flags]
        result = await mailbox.store_quietly(uids=uids, op=op, flags=given)
        after = await mailbox.get_info()
        messages = await self.infos(mailbox)
        self.assertEqual({each.uid: each.flags for each in messages}, expected)
        self.assertEqual(after.unseen, sum(SEEN not in flags for flags in expected.values()))
        self.assertEqual(result.found, len(expected.keys() & set(uids)))
        self.assertEqual((list(result.changed), list(result.modified)), (changed, []))
        self.assertEqual(result.before, before.highest_modseq)
        self.assertEqual([each.uid for each in messages if each.modseq == result.modseq], changed)
        if changed:
            self.assertGreater(result.modseq, result.before)
            self.assertEqual(after.highest_modseq, result.modseq)
        else:
            self.assertEqual(result.modseq, 0)
            self.assertEqual(after, before)
        changes = await mailbox.get_changes(since=result.before)
        self.assertEqual(list(changes.changed), changed)
        return changed

    async def test_quiet_changes_are_those_of_store_flags(self) -> None:
        mailbox = await self._open_quiet(6)
        uids = list(await mailbox.list_uids())
        for some, op, flags, changed in (
            (uids, FlagOp.ADD, (SEEN,), uids),
            (uids, FlagOp.ADD, (SEEN,), []),
            (uids[1:3], FlagOp.REMOVE, (SEEN,), uids[1:3]),
            (uids[::2], FlagOp.ADD, (FLAGGED, "Blue"), uids[::2]),
            # Some change, others do not, and what they become differs.
            (uids, FlagOp.ADD, (SEEN, FLAGGED), uids[1:4] + uids[5:]),
            (uids, FlagOp.REPLACE, (SEEN, FLAGGED, "Blue"), uids[1::2]),
            (uids[3:4], FlagOp.REPLACE, (), uids[3:4]),
            (uids[1:], FlagOp.REMOVE, ("NeverSeen",), []),
            (range(uids[0], uids[-1] + 1), FlagOp.REMOVE, (SEEN, "Blue"), uids[:3] + uids[4:]),
            ([uids[-1] + 7], FlagOp.ADD, (DELETED,), []),
            ([], FlagOp.ADD, (DELETED,), []),
        ):
            self.assertEqual(await self._store_quietly(mailbox, some, op, *flags), changed)

    async def test_quiet_changes_around_messages_that_are_gone(self) -> None:
        mailbox = await self._open_quiet(7)
        uids = list(await mailbox.list_uids())
        await mailbox.expunge(uids=[uids[0], uids[3]])
        left = uids[1:3] + uids[4:]
        for some, op, flag, changed in (
            # With and without those that are gone, and not all of the others.
            (uids, FlagOp.ADD, SEEN, left),
            (left, FlagOp.REMOVE, SEEN, left),
            ([left[0], *left[2:]], FlagOp.ADD, FLAGGED, [left[0], *left[2:]]),
            ([uids[0]], FlagOp.ADD, SEEN, []),
        ):
            self.assertEqual(await self._store_quietly(mailbox, some, op, flag), changed)

    async def test_quiet_changes_leave_alone_what_others_have_changed(self) -> None:
        # RFC 7162 section 3.1.3
        mailbox = await self._open_quiet(3)
        one, two, three = await mailbox.list_uids()
        known = (await mailbox.get_info()).highest_modseq
        await mailbox.store_flags(uids=[two], op=FlagOp.ADD, flags=frozenset({FLAGGED}))
        before = (await mailbox.get_info()).highest_modseq
        result = await mailbox.store_quietly(
            uids=[one, two, three], op=FlagOp.ADD, flags=frozenset({SEEN}), unchanged_since=known
        )
        self.assertEqual((result.found, list(result.changed)), (2, [one, three]))
        self.assertEqual((list(result.modified), result.before), ([two], before))
        flags = [set(each.flags) for each in await self.infos(mailbox)]
        self.assertEqual(flags, [{SEEN}, {FLAGGED}, {SEEN}])
        result = await mailbox.store_quietly(
            uids=[two], op=FlagOp.ADD, flags=frozenset({SEEN}), unchanged_since=before
        )
        self.assertEqual((list(result.changed), list(result.modified)), ([two], []))
