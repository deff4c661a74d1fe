"""Save what is new in a maildrop and leave it there: ``fetch_pop3.py SERVER USER PASSWORD DIR``."""

import asyncio
import sys
from pathlib import Path
from urllib.parse import quote

from mailkit.pop3.client import ClientSettings, Credentials, TLSPolicy, asyncio_connect


async def main(server: str, user: str, password: str, directory: str) -> None:
    # A server elsewhere wants TLSPolicy.verified(implicit=True), which is the default.
    settings = ClientSettings(TLSPolicy.opportunistic(), Credentials(user, password))
    session = await asyncio_connect(server, settings)
    paths = {
        number: Path(directory, quote(unique_id, safe="") + ".eml")
        for number, unique_id in (await session.uidl()).items()
    }
    async for message in session.fetch([n for n, path in paths.items() if not path.exists()]):
        if message.content is not None:
            paths[message.number].write_bytes(message.content.octets())
            print(paths[message.number], message.content.size)
    await session.quit()


asyncio.run(main(*sys.argv[1:]))
