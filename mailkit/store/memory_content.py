"""The octets of messages in memory, and what is made of them."""

from __future__ import annotations

from mailkit.mime import bodystructure_octets, envelope_octets, parse_header, parse_message
from mailkit.model import SUMMARY_FIELDS, MessageSummary
from mailkit.spool import Spool


class Content:
    """The octets of a message, shared by its copies."""

    __slots__ = ("_summary", "email_id", "octets")

    def __init__(self, spool: Spool, email_id: str) -> None:
        octets = spool.data
        if octets is None:
            with spool.open() as file:
                octets = file.read()
        self.octets = octets
        self.email_id = email_id
        self._summary: MessageSummary | None = None

    def summary(self, structure: bool) -> MessageSummary:
        """The summary without a UID, made when first asked for.

        :param structure: with BODYSTRUCTURE.
        """
        summary = self._summary
        if summary is None:
            header = parse_header(self.octets)
            summary = self._summary = MessageSummary(
                0,
                envelope_octets(self.octets, header),
                b"",
                header.raw_fields(SUMMARY_FIELDS, blank_line=False),
            )
        if structure and not summary.body_structure:
            made = bodystructure_octets(self.octets, parse_message(self.octets))
            summary = self._summary = summary._replace(body_structure=made)
        return summary
