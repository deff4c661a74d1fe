"""Mail that is sent only if the order is stored: python outbox.py SERVER[:PORT] ADDRESS."""

import sqlite3
import sys

from twisted.internet.task import react

from mailkit import outbox
from mailkit.smtp.client import make_envelope
from mailkit.tap.outbound import Relay
from mailkit.tap.sending import SendingService

MESSAGE = b"From: shop@example.org\r\nSubject: Your order\r\n\r\nThank you!\r\n"


def order(connection, customer, price):
    """A program's own business; it may as well be another process."""
    with connection:  # A transaction: all of it, or nothing.
        connection.execute("INSERT INTO orders VALUES (?, ?)", (customer, price))
        outbox.add(connection, make_envelope("shop@example.org", customer), MESSAGE)
        if price < 0:
            raise ValueError("we don't pay for it")


async def main(reactor):
    server, customer = sys.argv[1:]
    connection = sqlite3.connect("shop.sqlite")
    connection.execute("CREATE TABLE IF NOT EXISTS orders (customer TEXT, price INTEGER)")
    outbox.create_table(connection)

    relay = Relay(server, None, {"outbox": "sqlite:shop.sqlite"})
    sending = SendingService("sqlite:queue", relay, hostname="shop.example.org")
    sending.startService()
    events = sending.events()
    try:
        order(connection, customer, -1)
    except ValueError as error:
        print("no order, no mail:", error)
    order(connection, customer, 17)
    async for event in events:
        if event.attempt:
            print(f"{event.recipient.path}: {event.state.value}")
            break
    await sending.stopService()


react(main)
