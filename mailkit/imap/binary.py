"""Messages that come as a literal8 (RFC 3516 section 4.4), made fit for clients without BINARY."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mailkit.imap.content import MessageContent
from mailkit.mime.encoding import encode_parts, plan_encoding
from mailkit.spool import Spool


async def encode_message(
    message: Spool, new_spool: Callable[[], Spool], drain: Callable[[], Awaitable[None]]
) -> Spool:
    """The message with its binary parts in base64.

    RFC 3516 section 6: whatever is fetched by BODY must do without NUL.

    :param drain: awaited between the pieces.
    :returns: another spool, which the caller closes like the first.
    :raises UnknownTransferEncoding: there is a NUL outside of binary parts.
    :raises OSError: when the disk refuses.
    """
    content = MessageContent(message.open())
    encoded = new_spool()
    try:
        await content.load(drain)
        root = await content.parse(drain)
        data = content.octets()
        for piece in encode_parts(data, plan_encoding(data, root)):
            encoded.write(piece)
            await drain()
    except BaseException:
        encoded.close()
        raise
    finally:
        content.close()
    return encoded
