"""Mail for an avatar of a realm of yours: python receive_avatar.py tcp:2525:interface=127.0.0.1."""

import sys

from twisted.cred.checkers import AllowAnonymousAccess, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet import endpoints, task
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from zope.interface import implementer

from mailkit.errors import NoSuchRecipient
from mailkit.interfaces import IMessageDelivery
from mailkit.model import Outcome
from mailkit.smtp.protocol import SMTPFactory


@implementer(IMessageDelivery)
class ConsoleDelivery:
    def __init__(self, user):
        self.user = user

    async def check_sender(self, envelope):
        """validateFrom: what is not refused by a MailError is welcome."""

    async def check_recipient(self, envelope, recipient):
        if recipient.path.local_part != "console":
            raise NoSuchRecipient

    async def deliver(self, envelope, message):
        with message.open() as file:
            print(self.user, envelope.reverse_path, file.read(), flush=True)
        return [Outcome(recipient) for recipient in envelope.recipients]


@implementer(IRealm)
class ConsoleRealm:
    def requestAvatar(self, avatar_id, mind, *interfaces):
        if IMessageDelivery not in interfaces:
            raise NotImplementedError
        return IMessageDelivery, ConsoleDelivery(avatar_id), lambda: None


users = InMemoryUsernamePasswordDatabaseDontUse(guest=b"password")
factory = SMTPFactory(Portal(ConsoleRealm(), [AllowAnonymousAccess(), users]))


async def main(reactor, endpoint):
    try:
        await endpoints.serverFromString(reactor, endpoint).listen(factory)
    except CannotListenError as error:
        sys.exit(str(error))
    await Deferred()


task.react(main, sys.argv[1:])
