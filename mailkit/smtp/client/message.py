"""A message made ready for one server: judged, and converted where the server needs that."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

from mailkit.client.channel import Channel
from mailkit.mime import Octets
from mailkit.model import Envelope
from mailkit.smtp.client.commands import ContentNeeds, body_value
from mailkit.smtp.client.content import Content, Survey, is_plain, normalised
from mailkit.smtp.client.convert import Conversion
from mailkit.smtp.client.extensions import Extensions
from mailkit.smtp.client.settings import BareLineEnds
from mailkit.spool import MEMORY_LIMIT, Spool

# Steps between two turns of the event loop: about a megabyte.
_STEPS_A_TURN = 16


class OutgoingMessage:
    """A message and what is known of it.

    :param normalise: its line ends are to be corrected while it is sent.
    :param octets: all of them, as they are sent, where they are few.
    """

    def __init__(
        self,
        content: Content,
        needs: ContentNeeds,
        normalise: bool,
        octets: bytes | None = None,
    ) -> None:
        self.content = content
        self.needs = needs
        self.normalise = normalise
        #: All that is to be sent; None where it is read piece by piece.
        self.octets = octets
        #: The value of BODY; nothing to leave it out.
        self.body = ""
        self.converted = False
        self._spool: Spool | None = None

    def pieces(self) -> Iterator[bytes]:
        """The octets to send: ``needs.size`` of them."""
        if self.octets is not None:
            return iter((self.octets,) if self.octets else ())
        pieces = self.content.pieces()
        return normalised(pieces) if self.normalise else pieces

    def fits(self, extensions: Extensions) -> bool:
        """Whether the server can take it as it is; then :attr:`body` is set."""
        body = body_value(self.needs, extensions)
        self.body = body or ""
        return body is not None

    async def convert(
        self, extensions: Extensions, channel: Channel, may_shorten: bool = False
    ) -> None:
        """Make of it what the server can take.

        :param may_shorten: it is a report, which need not return a message whole.
        :raises Unsendable: that cannot be done.
        """
        await self._convert(extensions.eight_bit_mime, channel, may_shorten)
        fits = self.fits(extensions)
        assert fits

    async def _convert(self, keep_8bit: bool, channel: Channel, may_shorten: bool) -> None:
        with tempfile.TemporaryFile() as file:
            data = await self._load(file, channel)
            conversion = Conversion(data, keep_8bit, may_shorten)
            try:
                for count, _ in enumerate(conversion.run(), 1):
                    if count % _STEPS_A_TURN == 0:
                        await channel.turn()
            except BaseException:
                conversion.spool.close()
                raise
            finally:
                if isinstance(data, mmap.mmap):
                    data.close()
        self._spool = conversion.spool
        self.content, self.normalise, self.converted = Content(self._spool), False, True
        self.octets = None
        self.needs = ContentNeeds(
            self._spool.size, keep_8bit and self.needs.eight_bit, self.needs.utf8_header
        )

    async def _load(self, file: BinaryIO, channel: Channel) -> Octets:
        """All octets at random access: in memory if they are few."""
        if self.needs.size <= MEMORY_LIMIT:
            return b"".join(self.pieces())
        for count, piece in enumerate(self.pieces(), 1):
            file.write(piece)
            if count % _STEPS_A_TURN == 0:
                await channel.turn()
        file.flush()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def close(self) -> None:
        """Forget what was made by converting."""
        if self._spool is not None:
            self._spool.close()


async def survey(
    content: Content, envelope: Envelope, bare_line_ends: BareLineEnds, channel: Channel
) -> OutgoingMessage:
    """Look through a message.

    :raises Unsendable: nobody could get it.
    """
    pieces = content.pieces()
    first = next(pieces, b"")
    second = next(pieces, b"")
    if not second and is_plain(first):
        return OutgoingMessage(content, ContentNeeds(len(first)), False, first)
    looking = Survey("keep" if envelope.body == "BINARYMIME" else bare_line_ends)
    for count, piece in enumerate(chain((first, second), pieces), 1):
        looking.feed(piece)
        if count % _STEPS_A_TURN == 0:
            await channel.turn()
    needs, normalise = looking.finish()
    whole = not second and not normalise
    return OutgoingMessage(content, needs, normalise, first if whole else None)
