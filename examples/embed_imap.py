"""Serve IMAP from a program of your own: python embed_imap.py tcp:2143:interface=127.0.0.1."""

import sys

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet import defer, endpoints, error, task

from mailkit.auth.portal import make_portal
from mailkit.imap.protocol import IMAPFactory
from mailkit.store.memory import MemoryStore

users = InMemoryUsernamePasswordDatabaseDontUse(**{"ann@example.org": b"secret"})
factory = IMAPFactory(make_portal(MemoryStore(), [users]))


async def main(reactor, endpoint):
    try:
        await endpoints.serverFromString(reactor, endpoint).listen(factory)
    except error.CannotListenError as taken:
        sys.exit(str(taken))
    await defer.Deferred()


task.react(main, sys.argv[1:])
