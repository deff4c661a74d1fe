"""Reading messages: octets in, structure with offsets out, never an exception on any input."""

from mailkit.mime.addresses import MAX_ADDRESSES, Address, parse_addresses
from mailkit.mime.attachments import has_attachment
from mailkit.mime.content import (
    MAX_TEXT_OCTETS,
    decode_body,
    decode_transfer,
    header_text,
    iter_text,
    part_text,
)
from mailkit.mime.dates import (
    format_date,
    format_imap_datetime,
    parse_date,
    parse_imap_date,
    parse_imap_datetime,
    parse_sent_date,
)
from mailkit.mime.envelope import (
    MessageEnvelope,
    envelope_octets,
    read_envelope,
    render_envelope,
    summarize_fields,
    summarize_header,
)
from mailkit.mime.headers import (
    BLANK_LINE,
    MAX_HEADER_FIELDS,
    MAX_HEADER_OCTETS,
    Header,
    HeaderField,
    Octets,
    parse_header,
    unfold,
)
from mailkit.mime.ids import message_id, parse_message_ids, references
from mailkit.mime.nstring import imap_string
from mailkit.mime.parts import (
    MAX_DEPTH,
    MAX_PARTS,
    Limits,
    Part,
    parse_message,
    parse_steps,
    section_header,
    section_range,
)
from mailkit.mime.preview import preview_text
from mailkit.mime.reports import (
    Action,
    DeliveryReport,
    FeedbackReport,
    ReportedAddress,
    ReportedRecipient,
    parse_report,
)
from mailkit.mime.structure import body_from_bodystructure, body_octets, bodystructure_octets
from mailkit.mime.subject import base_subject, split_subject
from mailkit.mime.usual import read_bodystructure
from mailkit.mime.words import decode_charset, decode_text, parameter_text

__all__ = [
    "BLANK_LINE",
    "MAX_ADDRESSES",
    "MAX_DEPTH",
    "MAX_HEADER_FIELDS",
    "MAX_HEADER_OCTETS",
    "MAX_PARTS",
    "MAX_TEXT_OCTETS",
    "Action",
    "Address",
    "DeliveryReport",
    "FeedbackReport",
    "Header",
    "HeaderField",
    "Limits",
    "MessageEnvelope",
    "Octets",
    "Part",
    "ReportedAddress",
    "ReportedRecipient",
    "base_subject",
    "body_from_bodystructure",
    "body_octets",
    "bodystructure_octets",
    "decode_body",
    "decode_charset",
    "decode_text",
    "decode_transfer",
    "envelope_octets",
    "format_date",
    "format_imap_datetime",
    "has_attachment",
    "header_text",
    "imap_string",
    "iter_text",
    "message_id",
    "parameter_text",
    "parse_addresses",
    "parse_date",
    "parse_header",
    "parse_imap_date",
    "parse_imap_datetime",
    "parse_message",
    "parse_message_ids",
    "parse_report",
    "parse_sent_date",
    "parse_steps",
    "part_text",
    "preview_text",
    "read_bodystructure",
    "read_envelope",
    "references",
    "render_envelope",
    "section_header",
    "section_range",
    "split_subject",
    "summarize_fields",
    "summarize_header",
    "unfold",
]
