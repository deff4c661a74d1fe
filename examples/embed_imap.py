"""Serve IMAP from a program of your own: python embed_imap.py tcp:2143:interface=127.0.0.1."""

import sys

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet import endpoints, reactor

from mailkit.auth.portal import make_portal
from mailkit.imap.protocol import IMAPFactory
from mailkit.store.memory import MemoryStore

users = InMemoryUsernamePasswordDatabaseDontUse(**{"ann@example.org": b"secret"})
portal = make_portal(MemoryStore(), [users])
endpoints.serverFromString(reactor, sys.argv[1]).listen(IMAPFactory(portal))
reactor.run()
