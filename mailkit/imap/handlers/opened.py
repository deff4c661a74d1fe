"""Messages that are read one after the other, while others may remove them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailkit.errors import NoSuchMessage
from mailkit.imap.content import MessageContent
from mailkit.interfaces import IMailbox


@asynccontextmanager
async def opened(mailbox: IMailbox, uid: int) -> AsyncIterator[MessageContent | None]:
    """A message for a ``with`` block; None for one that has been removed."""
    try:
        file = await mailbox.open_message(uid=uid)
    except NoSuchMessage:
        yield None
        return
    content = MessageContent(file)
    try:
        yield content
    finally:
        content.close()
