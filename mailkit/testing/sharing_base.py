"""What the contract tests of stores whose accounts share mailboxes have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from mailkit.errors import MailError
from mailkit.interfaces import IAccessControl, IAccessDirectory, IMailStore
from mailkit.model import DELETED, FLAGGED, SEEN
from mailkit.rights import RightsOp, parse_rights
from mailkit.testing.base import Contract, sample_messages

ANN, BOB, EVE = "ann@example.org", "bob@example.org", "eve@example.net"
PLANS = "Plans"

#: Flags of the messages that are in Ann's mailbox.
FLAGS = frozenset({SEEN, DELETED, FLAGGED, "Mine"})


class SharingBase(Contract):
    """Two accounts, and a mailbox of the one that the other may use."""

    async def make_store(self, accounts: Sequence[str]) -> IMailStore:
        """The hook: a new store with just these accounts, their INBOXes empty."""
        raise NotImplementedError

    async def open_pair(self) -> tuple[Any, Any]:
        """Ann, who has a mailbox of two messages with all sorts of flags, and Bob."""
        self.store: Any = await self.make_store(accounts=[ANN, BOB, EVE])
        self.close_later(self.store.close)
        ann: Any = await self.store.open_account(name=ANN)
        bob: Any = await self.store.open_account(name=BOB)
        self.need(IAccessControl, ann)
        self.check_provides(ann, [IAccessControl], [])
        self.check_provides(self.store, [IMailStore], [IAccessDirectory])
        await ann.create_mailbox(name=PLANS)
        plans: Any = await ann.open_mailbox(name=PLANS)
        messages = [message._replace(flags=FLAGS) for message in sample_messages(2)]
        await plans.append(messages=messages)
        self.plans = bob.namespaces.other_users + f"{ANN}/{PLANS}"
        return ann, bob

    async def grant(self, account: Any, rights: str, identifier: str = BOB) -> None:
        """Let the rights of an identifier in the account's mailbox be these."""
        await account.set_acl(
            name=PLANS, identifier=identifier, rights=parse_rights(rights), op=RightsOp.REPLACE
        )

    async def refused(self, error: type[MailError], step: Awaitable[object]) -> None:
        with self.assertRaises(error):
            await step

    async def names(self, account: Any) -> list[str]:
        return [info.name for info in await account.list_mailboxes()]

    async def flags(self, account: Any, name: str) -> list[frozenset[str]]:
        """Flags of all messages in a mailbox."""
        mailbox = await account.open_mailbox(name=name)
        return [info.flags for info in await mailbox.get_messages(uids=await mailbox.list_uids())]
