"""Contract tests of directories that say what POP3 makes of accounts' mail."""

from __future__ import annotations

from typing import Any

from mailkit.errors import InvalidMailboxName, LimitExceeded, NoSuchAccount
from mailkit.interfaces import (
    ILoginDirectory,
    IMaildropAccount,
    IMaildropDirectory,
    IMailStore,
    IRecallingMaildrop,
    ISizedMailbox,
)
from mailkit.model import INBOX, MaildropLimits, MaildropSettings
from mailkit.testing.directory_base import ANN, BOB, DirectoryBase


class MaildropTests(DirectoryBase):
    """What a directory must do that provides IMaildropDirectory."""

    async def open_maildrops(self) -> Any:
        return self.need(IMaildropDirectory, await self.open_directory())

    async def test_maildrop_settings(self) -> None:
        directory = await self.open_maildrops()
        usual = MaildropSettings()
        self.assertEqual(await directory.get_maildrop_settings(account=ANN), usual)
        self.assertEqual(await directory.find_maildrop_limits(), MaildropLimits())
        settings = MaildropSettings(("inbox", "Junk", "INBOX"), True, True, 30, 600)
        await directory.set_maildrop_settings(account="Ann@example.org", settings=settings)
        kept = settings._replace(mailboxes=(INBOX, "Junk"))
        self.assertEqual(await directory.get_maildrop_settings(account=ANN), kept)
        self.assertEqual(await directory.get_maildrop_settings(account=BOB), usual)
        self.assertEqual(await directory.find_maildrop_limits(), MaildropLimits(30, 600))
        other = usual._replace(expire=3, login_delay=0)
        await directory.set_maildrop_settings(account=BOB, settings=other)
        self.assertEqual(await directory.find_maildrop_limits(), MaildropLimits(3, 600))
        await directory.set_maildrop_settings(account=ANN, settings=usual)
        self.assertEqual(await directory.find_maildrop_limits(), MaildropLimits(3, 0))

    async def test_maildrop_settings_that_are_none(self) -> None:
        directory = await self.open_maildrops()
        for values in (
            {"mailboxes": ()},
            {"mailboxes": tuple(f"m{number}" for number in range(100))},
            {"expire": 0},
            {"expire": 10**9},
            {"login_delay": -1},
            {"login_delay": 10**9},
        ):
            settings = MaildropSettings(**values)
            with self.assertRaises(LimitExceeded):
                await directory.set_maildrop_settings(account=ANN, settings=settings)
        settings = MaildropSettings(mailboxes=("a//b",))
        with self.assertRaises(InvalidMailboxName):
            await directory.set_maildrop_settings(account=ANN, settings=settings)
        with self.assertRaises(NoSuchAccount):
            await directory.get_maildrop_settings(account="eve@example.org")
        with self.assertRaises(NoSuchAccount):
            await directory.set_maildrop_settings(
                account="eve@example.org", settings=MaildropSettings()
            )

    async def test_accounts_know_their_maildrop_settings(self) -> None:
        directory = await self.open_maildrops()
        store: Any = self.need(IMailStore, directory)
        account: Any = self.need(IMaildropAccount, await store.open_account(name=ANN))
        self.assertEqual(await account.get_maildrop_settings(), MaildropSettings())
        settings = MaildropSettings(keep=True)
        await directory.set_maildrop_settings(account=ANN, settings=settings)
        # Also for those who have the account open.
        self.assertEqual(await account.get_maildrop_settings(), settings)

    async def test_maildrops_that_are_recalled_are_those_that_are_asked_for(self) -> None:
        directory = await self.open_maildrops()
        store: Any = self.need(IMailStore, directory)
        logins: Any = self.need(ILoginDirectory, directory)
        settings = MaildropSettings(keep=True)
        for wanted in (None, settings, None):
            if wanted is not None:
                await directory.set_maildrop_settings(account=ANN, settings=wanted)
            login = await logins.find_login(login=ANN)
            account: Any = self.need(
                IRecallingMaildrop, await store.open_account(name=login.account)
            )
            found = account.recall_maildrop()
            self.assertEqual(await account.get_maildrop_settings(), wanted or MaildropSettings())
            if wanted is not None:
                self.assertIsNone(found)
                await directory.set_maildrop_settings(account=ANN, settings=MaildropSettings())
            elif found is not None:
                mailbox: Any = await account.open_mailbox(name=INBOX)
                sized: Any = self.need(ISizedMailbox, mailbox)
                self.assertEqual(found[1:], await sized.get_sizes())
                self.assertEqual(list(found[2]), list(await mailbox.list_uids()))
