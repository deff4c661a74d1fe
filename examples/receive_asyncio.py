"""Mail for a program of asyncio: python receive_asyncio.py tcp:2525:interface=127.0.0.1."""

import asyncio
import email
import email.policy
import functools
import sys

from twisted.internet import asyncioreactor

# Before anything imports the reactor, which is this event loop from then on.
asyncioreactor.install(asyncio.new_event_loop())

from twisted.internet import endpoints, task
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError

from mailkit.delivery.callback import CallableDelivery, delivery_portal
from mailkit.smtp.protocol import SMTPFactory


def from_asyncio(function):
    """Let mailkit call a coroutine of asyncio, which it could not wait for otherwise."""

    @functools.wraps(function)
    def call(*arguments, **named):
        return Deferred.fromFuture(asyncio.ensure_future(function(*arguments, **named)))

    return call


def keep(sender, mail):
    print(sender, mail["Subject"], flush=True)


@from_asyncio
async def take(envelope, message):
    """What would be ``handle_DATA`` of aiosmtpd. The client hears OK when this returns."""
    with message.open() as file:
        mail = email.message_from_binary_file(file, policy=email.policy.default)
    await asyncio.to_thread(keep, str(envelope.reverse_path), mail)


delivery = CallableDelivery(take, domains=["example.org"])
factory = SMTPFactory(delivery_portal(delivery))


async def main(reactor, endpoint):
    try:
        await endpoints.serverFromString(reactor, endpoint).listen(factory)
    except CannotListenError as error:
        sys.exit(str(error))
    await Deferred()


task.react(main, sys.argv[1:])
