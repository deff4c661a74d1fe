"""Take, send and read mail in a program of your own, over one store: python embed_server.py
DIRECTORY SMTP SUBMISSION IMAP, the last three each an endpoint such as tcp:2525:interface=127.0.0.1."""

import sys

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThread

from mailkit.auth.passwords import hash_password
from mailkit.auth.portal import make_portal
from mailkit.delivery.local import LocalMessageDelivery
from mailkit.errors import AccountExists
from mailkit.imap.protocol import IMAPFactory
from mailkit.smtp.protocol import SMTPFactory
from mailkit.smtp.submission import SubmissionFactory
from mailkit.store.sqlite import SQLiteStore


async def main(reactor, directory, smtp, submission, imap):
    store = SQLiteStore(directory)
    # Or the flushes of what was accepted would be cut off.
    reactor.addSystemEventTrigger(
        "during", "shutdown", lambda: Deferred.fromCoroutine(store.close())
    )
    try:
        hashed = await deferToThread(hash_password, "secret")
        await store.add_account(name="ann@example.org", password_hash=hashed)
    except AccountExists:
        pass

    def deliver(account, connection):
        # The store is its own directory: it knows the accounts, too.
        return LocalMessageDelivery(store, store, account)

    portal = make_portal(store, deliveries=deliver)
    try:
        for endpoint, factory in (
            (smtp, SMTPFactory(portal)),
            (submission, SubmissionFactory(portal)),
            (imap, IMAPFactory(portal)),
        ):
            await serverFromString(reactor, endpoint).listen(factory)
    except CannotListenError as error:
        sys.exit(str(error))
    await Deferred()


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
