"""What the contract tests of accounts share."""

from __future__ import annotations

import unittest
from collections.abc import Sequence
from typing import cast

from mailkit._typing import override
from mailkit.interfaces import (
    IFetchMemory,
    IMailAccount,
    IMailbox,
    IMailboxAdmin,
    ISpooling,
    IURLKeys,
    IWatchableAccount,
    IWritableMailbox,
)
from mailkit.model import INBOX, AppendMessage, MailboxInfo
from mailkit.testing.base import read_message, sample_messages
from mailkit.testing.mailbox import MailboxContract


class AdminAccount(IMailAccount, IMailboxAdmin):
    """Both interfaces, for annotations."""


class AccountBase(MailboxContract):
    """What the tests of accounts share."""

    async def make_account(self) -> IMailAccount:
        """The hook: a new account whose INBOX is empty."""
        raise NotImplementedError

    @override
    async def make_mailbox(self, messages: Sequence[AppendMessage]) -> IMailbox:
        """INBOX of a new account, filled by ``append``; override it where that cannot be."""
        account = await self.make_account()
        mailbox = await account.open_mailbox(name=INBOX)
        if messages:
            if not IWritableMailbox.providedBy(mailbox):
                self.fail("INBOX cannot be written: make_mailbox must be overridden to fill it")
            await mailbox.append(messages=messages)
        return mailbox

    async def open_account(self) -> IMailAccount:
        """A new account, checked."""
        account = await self.make_account()
        self.check_provides(
            account,
            [IMailAccount],
            [IMailboxAdmin, ISpooling, IURLKeys, IWatchableAccount, IFetchMemory],
        )
        return account

    async def open_admin(self) -> AdminAccount:
        """A new account whose mailboxes can be made and deleted."""
        account = await self.open_account()
        return cast(AdminAccount, self.need(IMailboxAdmin, account))

    async def other_mailbox(self, account: IMailAccount) -> str:
        """The name of an empty mailbox besides INBOX: a new one, or one that is there.

        :raises SkipTest: the account has INBOX alone.
        """
        if IMailboxAdmin.providedBy(account):
            await cast(AdminAccount, account).create_mailbox(name="Other")
            return "Other"
        for info in await account.list_mailboxes():
            if info.name != INBOX and info.selectable and not info.messages:
                return info.name
        raise unittest.SkipTest("there is no second mailbox, and none can be made")

    async def names(self, account: IMailAccount) -> list[str]:
        """Names of all mailboxes, in the order in which the account gives them."""
        return [info.name for info in await account.list_mailboxes()]

    async def find(self, account: IMailAccount, name: str) -> MailboxInfo | None:
        """State of the mailbox of that name, as the account lists it."""
        found = [info for info in await account.list_mailboxes() if info.name == name]
        self.assertLessEqual(len(found), 1)
        return found[0] if found else None

    async def fill(self, account: IMailAccount, name: str, count: int) -> list[int]:
        """Put sample messages into a mailbox.

        :returns: their UIDs.
        """
        mailbox = await account.open_mailbox(name=name)
        writable = cast(IWritableMailbox, self.need(IWritableMailbox, mailbox))
        return list((await writable.append(messages=sample_messages(count))).uids)

    async def contents(self, account: IMailAccount, name: str) -> list[bytes]:
        """Octets of all messages of a mailbox."""
        mailbox = await account.open_mailbox(name=name)
        return [await read_message(mailbox, uid) for uid in await mailbox.list_uids()]
