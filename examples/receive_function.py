"""A function of yours gets every mail: python receive_function.py tcp:2525:interface=127.0.0.1."""

import email
import email.policy
import sqlite3
import sys

from twisted.internet import endpoints, task
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError

from mailkit.delivery.callback import CallableDelivery, delivery_portal
from mailkit.errors import MessageRefused
from mailkit.smtp.protocol import SMTPFactory

tickets = sqlite3.connect("tickets.db")
tickets.execute("CREATE TABLE IF NOT EXISTS tickets (customer, subject, mail)")


async def open_ticket(envelope, message):
    """The client hears OK when this returns: by then the message must be safe."""
    with message.open() as file:
        octets = file.read()
    subject = email.message_from_bytes(octets, policy=email.policy.default)["Subject"]
    if not subject:
        raise MessageRefused("Please write again, with a subject")
    customer = str(envelope.reverse_path)
    with tickets:
        tickets.execute("INSERT INTO tickets VALUES (?, ?, ?)", (customer, str(subject), octets))


delivery = CallableDelivery(open_ticket, domains=["support.example.org"])
factory = SMTPFactory(delivery_portal(delivery))


async def main(reactor, endpoint):
    try:
        await endpoints.serverFromString(reactor, endpoint).listen(factory)
    except CannotListenError as error:
        sys.exit(str(error))
    await Deferred()


task.react(main, sys.argv[1:])
