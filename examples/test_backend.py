"""The contract tests, run against the backend: python -m pytest test_backend.py."""

from backend import SentMail
from backend_users import SentMailOfUsers
from twisted.trial.unittest import TestCase

from mailkit.testing import DirectoryContract, MailboxContract


class SentMailTests(MailboxContract, TestCase):
    async def make_mailbox(self, messages):
        mailbox = SentMail(":memory:")
        for message in messages:
            with message.content.open() as file:
                row = (message.internal_date or 0, file.read())
            mailbox._db.execute("INSERT INTO sent (at, mail) VALUES (?, ?)", row)
        return mailbox


class SentMailOfUsersTests(DirectoryContract, TestCase):
    has_aliases = False

    async def make_directory(self, accounts, aliases):
        store = SentMailOfUsers(":memory:")
        store._db.executemany("INSERT INTO users VALUES (?, ?)", accounts.items())
        return store
