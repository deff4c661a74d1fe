"""What POP3 says of an account's messages."""

from __future__ import annotations

from mailkit.model import MaildropSettings
from mailkit.pop3.protocol import POP3Factory
from mailkit.store.sqlite import SQLiteStore
from tests.pop3.fakes import Client

from .helpers import ANN


async def list_unique_ids(store: SQLiteStore) -> list[bytes]:
    """What UIDL tells of the messages in INBOX and Junk, of each alone as of all."""
    account = await store.open_account(name=ANN)
    settings = MaildropSettings(mailboxes=("INBOX", "Junk"))
    await store.set_maildrop_settings(account=ANN, settings=settings)
    from twisted.internet import reactor

    client = Client(POP3Factory(None, clock=reactor), "127.0.0.1")  # type: ignore[arg-type]
    await client.connection.open_maildrop(account)
    lines = client.ask(b"UIDL").split(b"\r\n")[1:-2]
    for line in lines:
        assert client.ask(b"UIDL " + line.split()[0]) == b"+OK " + line + b"\r\n"
    client.ask(b"QUIT")
    client.lose()
    return [line.split()[1] for line in lines]
