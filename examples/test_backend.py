"""The contract tests, run against the backend: python -m pytest test_backend.py."""

from backend import SentMail
from twisted.trial.unittest import TestCase

from mailkit.testing import MailboxContract


class SentMailTests(MailboxContract, TestCase):
    async def make_mailbox(self, messages):
        mailbox = SentMail(":memory:")
        for message in messages:
            with message.content.open() as file:
                row = (message.internal_date or 0, file.read())
            mailbox._db.execute("INSERT INTO sent (at, mail) VALUES (?, ?)", row)
        return mailbox
