"""What the client makes of a message for a server that cannot take it as it is."""

from __future__ import annotations

from mailkit.smtp.client.convert import Conversion


def convert(
    message: bytes,
    keep_8bit: bool = False,
    *,
    may_shorten: bool = False,
    max_line: int | None = None,
) -> bytes:
    """The message as it would be sent.

    :raises Unsendable: it cannot be made to fit.
    """
    conversion = Conversion(message, keep_8bit, may_shorten, max_line=max_line)
    try:
        for _ in conversion.run():
            pass
        with conversion.spool.open() as reader:
            return reader.read()
    finally:
        conversion.spool.close()
