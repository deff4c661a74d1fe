"""Contract tests for backends: what protocols rely on, to be run against your own store.

Choose the class for what you wrote, give it one hook, and run it with trial or pytest::

    from mailkit.testing import StoreContract
    from twisted.trial.unittest import TestCase

    class MyStoreTests(StoreContract, TestCase):
        async def make_store(self, accounts):
            return MyStore(self.mktemp(), accounts)

:class:`MailboxContract` asks ``make_mailbox`` for a mailbox, :class:`AccountContract` asks
``make_account`` for an account and tests its mailboxes too, :class:`StoreContract` asks
``make_store`` for a store and tests its accounts too, :class:`DirectoryContract` asks
``make_directory`` for a directory, :class:`SharingContract` asks ``make_store`` for a store whose
accounts share mailboxes, :class:`DeliveryContract` asks ``make_delivery`` for a delivery,
:class:`QueueContract` asks ``make_queueing_store`` for a store with an outbound queue,
:class:`UserBaseContract` asks ``make_checker`` for a checker of users that are known elsewhere,
:class:`FileHomeContract` asks ``make_home`` for the files of an account, :class:`HookContract` asks
``make_hook`` for a hook.
A store or a queue that is kept on disk says how it is opened again, by ``reopen_store`` or
``reopen_queueing_store``: nothing else shows that what was answered is kept.
Tests of optional abilities are skipped where an object does not provide the interface; a directory
without aliases says ``has_aliases = False`` in its test class. Every object
is checked with ``verifyObject``, and every method is called by keyword, as protocols do.

For tests of other things: :func:`sample_message`, :func:`sample_messages`, :func:`sample_envelope`,
:func:`spooled` and :func:`read_message`.
"""

from mailkit.testing.account import AccountContract
from mailkit.testing.base import read_message, sample_message, sample_messages, spooled
from mailkit.testing.delivery import DeliveryContract, sample_envelope
from mailkit.testing.directory import DirectoryContract, fill_directory
from mailkit.testing.files import FileHomeContract
from mailkit.testing.hooks import HookContract
from mailkit.testing.mailbox import MailboxContract
from mailkit.testing.queue import QueueContract
from mailkit.testing.sharing import SharingContract
from mailkit.testing.store import StoreContract
from mailkit.testing.users import UserBaseContract

__all__ = [
    "AccountContract",
    "DeliveryContract",
    "DirectoryContract",
    "FileHomeContract",
    "HookContract",
    "MailboxContract",
    "QueueContract",
    "SharingContract",
    "StoreContract",
    "UserBaseContract",
    "fill_directory",
    "read_message",
    "sample_envelope",
    "sample_message",
    "sample_messages",
    "spooled",
]
