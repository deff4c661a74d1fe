"""A program that sends mail and cannot lose it: python send_queued.py SERVER[:PORT] ADDRESS..."""

import sys

from twisted.internet.task import react

from mailkit.smtp.client import make_envelope
from mailkit.tap.outbound import Relay
from mailkit.tap.sending import SendingService

MESSAGE = b"From: tickets@example.org\r\nSubject: Your ticket\r\n\r\nWe are working on it.\r\n"


async def main(reactor):
    server, *customers = sys.argv[1:]
    sending = SendingService("sqlite:outbox", Relay(server), hostname="tickets.example.org")
    sending.startService()
    events = sending.events()
    # Durable when this returns: what is not sent yet goes out at the next start.
    id = await sending.submit(make_envelope("tickets@example.org", customers), MESSAGE)
    waiting = len(customers)
    async for event in events:
        # Others are about reports that the queue sends itself.
        if event.id == id and event.attempt:
            print(f"{event.recipient.path}: {event.state.value} {event.attempt.text}")
            waiting -= 1
        if not waiting:
            break
    await sending.stopService()


react(main)
