"""Every message of the corpus, most of them broken: valid protocol syntax, sane offsets."""

from __future__ import annotations

import email
import email.policy
from email.message import Message

from twisted.trial.unittest import SynchronousTestCase

from mailkit.mime import (
    body_from_bodystructure,
    body_octets,
    bodystructure_octets,
    envelope_octets,
    iter_text,
    parse_header,
    parse_message,
    read_bodystructure,
    render_envelope,
    section_range,
    summarize_header,
)
from mailkit.mime import read_envelope as plain_envelope
from mailkit.mime.parts import Part
from mailkit.model import SUMMARY_FIELDS
from tests.mime import corpus
from tests.mime.imap_grammar import read_body, read_envelope
from tests.mime.test_headers import reassemble
from tests.mime.test_parts import check_offsets

#: Where the email package sees another structure, and why ours is meant.
DIFFERENT = {
    # A delimiter line right behind another one: an empty part, as Dovecot has it.
    "mail-parser/malformed/000.eml",
    "mime4j/mimetools-testmsgs/2002_06_12_doublebound.msg",
    "mime4j/mimetools-testmsgs/double-bound.msg",
    # The same boundary inside and outside: the innermost multipart gets the delimiter lines.
    "mail-parser/malformed/003.eml",
    "mail-parser/malformed/013.eml",
    # A delimiter line of the outer multipart inside a header.
    "mail-parser/malformed/007.eml",
    # Lines without a colon do not end a header.
    "mail-parser/malformed/017.eml",
    "mail-parser/malformed/019.eml",
    # Folded boundary parameters, digests in them.
    "mime4j/mimetools-testmsgs/multi-badnames.msg",
    "mime4j/mimetools-testmsgs/multi-clen.msg",
    "mime4j/mimetools-testmsgs/multi-digest.msg",
    "mime4j/mimetools-testmsgs/multi-simple.msg",
    # Words behind the boundary in a delimiter line (RFC 2046 section 5.1.1).
    "mime4j/testmsgs/ending-boundaries.msg",
}


def messages() -> list[tuple[str, bytes]]:
    """Every message as it is stored, and with the other kind of line ends."""
    found = []
    for name, data in corpus.messages():
        crlf = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        found.append((name, data))
        found.append(
            (name + " (other line ends)", crlf if crlf != data else data.replace(b"\r\n", b"\n"))
        )
    return found


def structure(part: Part) -> tuple[str, tuple[object, ...]]:
    children = tuple(structure(child) for child in part.children)
    return f"{part.type.decode('latin-1')}/{part.subtype.decode('latin-1')}", children


def email_structure(message: Message) -> tuple[str, tuple[object, ...]]:
    """The same of a message of the email package, which opens more kinds of messages."""
    kind = message.get_content_type()
    payload = message.get_payload()
    if not isinstance(payload, list) or (
        kind.startswith("message/") and kind not in ("message/rfc822", "message/global")
    ):
        return kind, ()
    return kind, tuple(email_structure(child) for child in payload if isinstance(child, Message))


class CorpusTests(SynchronousTestCase):
    skip = corpus.MISSING

    def test_there_are_messages(self) -> None:
        self.assertGreater(len(messages()), 400)

    def test_header_fields_make_up_the_header(self) -> None:
        for name, data in messages():
            header = parse_header(data)
            self.assertEqual(reassemble(data, header), data[: header.body_start], name)
            self.assertEqual(header.raw_fields([], exclude=True), data[: header.body_start], name)

    def test_parts_lie_inside_each_other(self) -> None:
        for _name, data in messages():
            check_offsets(self, data, parse_message(data))

    def test_envelopes_are_valid(self) -> None:
        for name, data in messages():
            found = envelope_octets(data)
            read_envelope(found)
            both = render_envelope(plain_envelope(parse_header(data)))
            self.assertEqual(found, both, name)
            fields = parse_header(data).raw_fields(SUMMARY_FIELDS, blank_line=False)
            summary = summarize_header(parse_header(data), SUMMARY_FIELDS)
            self.assertEqual(summary, (found, fields), name)

    def test_structures_are_valid(self) -> None:
        for name, data in messages():
            root = parse_message(data)
            body = body_octets(data, root)
            structure = bodystructure_octets(data, root)
            read_body(body, extended=False)
            found = read_body(structure, extended=True)
            self.assertEqual(body_from_bodystructure(structure), body, name)
            header = parse_header(data)
            self.assertEqual(read_bodystructure(data, header, len(data)), structure, name)
            self.assertEqual(len(found.children), len(root.children) or root.is_multipart, name)

    def test_structures_are_the_same_for_both_line_ends(self) -> None:
        found = messages()
        for (name, data), (_, other) in zip(found[::2], found[1::2], strict=True):
            if b"\r" in data.replace(b"\r\n", b"") or b"\n" in data.replace(b"\r\n", b""):
                continue  # Bare or mixed line ends.
            self.assertEqual(structure(parse_message(data)), structure(parse_message(other)), name)

    def test_sections_of_all_parts(self) -> None:
        for name, data in messages():
            root = parse_message(data)
            count = 0
            waiting: list[tuple[int, ...]] = [()]
            while waiting:
                numbers = waiting.pop()
                part = root.find(numbers)
                assert part is not None
                count += 1
                found = section_range(data, root, numbers)
                self.assertEqual(
                    found, (part.body_start if numbers else part.header_start, part.end), name
                )
                message = part.embedded if numbers and part.embedded else part
                for number in range(1, len(message.children) + 1):
                    if message.is_multipart:
                        waiting.append((*numbers, number))
            parts = list(root.walk())
            embedded = sum(part.embedded is not None for part in parts)
            if root.embedded is None:
                self.assertEqual(count, len(parts) - embedded, name)

    def test_texts_are_text(self) -> None:
        for _name, data in messages():
            for text in iter_text(data, parse_message(data)):
                text.encode("utf-8")

    def test_structure_agrees_with_the_email_package(self) -> None:
        different = set()
        for name, data in corpus.messages():
            theirs = email_structure(email.message_from_bytes(data))
            if structure(parse_message(data)) != theirs:
                different.add(name)
        self.assertEqual(different - DIFFERENT, set())

    def test_subjects_agree_with_the_email_package(self) -> None:
        compared = 0
        for name, data in corpus.messages():
            raw = parse_header(data).get(b"subject")
            if not raw or not raw.isascii():
                continue
            theirs = email.message_from_bytes(data, policy=email.policy.compat32)["subject"]
            if theirs is None:
                continue  # Their header ends at a line without a colon.
            self.assertEqual(raw.decode(), "".join(str(theirs).splitlines()).strip(), name)
            compared += 1
        self.assertGreater(compared, 100)
