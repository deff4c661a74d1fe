"""Save the attachments of all mail: ``save_attachments.py SERVER USER PASSWORD DIRECTORY``."""

import asyncio
import sys
from pathlib import Path

from mailkit.imap.client import ClientSettings, Credentials, TLSPolicy, asyncio_connect


async def main(server: str, user: str, password: str, directory: str) -> None:
    # A server elsewhere wants TLSPolicy.verified(implicit=True), which is the default.
    settings = ClientSettings(TLSPolicy.opportunistic(), Credentials(user, password))
    session = await asyncio_connect(server, settings)
    await session.select("INBOX", read_only=True)
    for message in await session.fetch("1:*", ["BODYSTRUCTURE", "ENVELOPE"]):
        for part in message.structure.walk():
            if part.disposition == "attachment":
                item = f"BODY.PEEK[{part.section}]"
                (found,) = await session.fetch(message.uid, item)
                # A name is whatever the sender has written: it must not lead elsewhere.
                name = Path((part.filename or "unnamed").replace("\0", "")).name or "unnamed"
                path = Path(directory, f"{message.uid}-{part.section}-{name}")
                path.write_bytes(part.decode(found.content(part.section).octets()))
                print(path.name, "of", message.subject)
    await session.logout()


asyncio.run(main(*sys.argv[1:]))
