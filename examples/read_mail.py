"""Show what is new, then wait for more: ``read_mail.py SERVER USER PASSWORD [SECONDS]``."""

import sys

from twisted.internet import task
from twisted.internet.defer import Deferred

from mailkit.imap.client import ClientSettings, Credentials, TLSPolicy, connect
from mailkit.query import HasFlag, Not


async def main(server: str, user: str, password: str, seconds: str = "0") -> None:
    # A server elsewhere wants TLSPolicy.verified(implicit=True), which is the default.
    settings = ClientSettings(TLSPolicy.opportunistic(), Credentials(user, password))
    session = await connect(server, settings)
    await session.select("INBOX", read_only=True)
    unseen = await session.search(Not(HasFlag("\\Seen")))
    async for message in session.fetch(unseen, ["ENVELOPE", "RFC822.SIZE"]):
        print(message.uid, message.size, message.subject)
    async with session.idle() as changes:
        while change := await changes.next(float(seconds)):
            print(change)
    await session.logout()


task.react(lambda reactor: Deferred.fromCoroutine(main(*sys.argv[1:])))
