"""What holds for any octets, and for every message that the email package can write."""

from __future__ import annotations

import datetime
import email
import email.policy
import email.utils
import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from email.headerregistry import Address as EmailAddress
from email.message import EmailMessage

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit import mime
from mailkit.mime.content import decode_quoted_printable, decode_uuencode
from mailkit.mime.lexical import parse_parameterized, parse_parameters, strip_comments
from mailkit.mime.words import decode_base64
from tests.mime.imap_grammar import read_body, read_envelope
from tests.mime.test_corpus import structure
from tests.mime.test_headers import reassemble
from tests.mime.test_parts import check_offsets

steady = settings(deadline=None, max_examples=100, derandomize=True, database=None)

#: Pieces that broken messages are made of.
PIECES = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\0", b"\xff", b"\xc3\xa4", b":", b";", b",",
    b"<", b">", b"@", b"(", b")", b'"', b"\\", b"=", b"?", b"*", b"'", b"%41", b"--", b"--b", b"--b--",
    b"--bb", b"--bb--", b"\r\n--b\r\n", b"\r\n--b--\r\n", b"\n--bb\n", b"a", b"b", b"1", b"joe@example.org",
    b"Subject", b"From: ", b"To: ", b"Cc: ", b"Sender: ", b"Date: ", b"Message-ID: <a@b>\r\n",
    b"Content-Type: ", b"Content-Type: text/plain\r\n", b"Content-Type: message/rfc822\r\n\r\n",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", b"multipart/digest; boundary=bb\r\n\r\n",
    b'Content-Type: multipart/mixed; boundary="bb"\r\n\r\n', b"; charset=", b"utf-8", b"utf-7", b"name*0*=",
    b"name*1=", b"Content-Transfer-Encoding: base64\r\n", b"quoted-printable", b"Content-Disposition: a; b=c\r\n",
    b"=?utf-8?Q?=C3=A4?=", b"=?utf-8?B?w6Q=?=", b"=?x?b?", b"Group: ", b"1 Jan 2020 00:00:00 +0000",
    b"Content-Language: de, en\r\n", b"begin 644 x\n", b"x" * 1001,
]  # fmt: skip
octets = st.binary(max_size=300) | st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)


@contextmanager
def mapped(data: bytes) -> Iterator[mmap.mmap]:
    """The same octets in a file that is mapped to memory."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as found:
            yield found


class AnyOctetsTests(SynchronousTestCase):
    @given(octets)
    @steady
    def test_messages(self, data: bytes) -> None:
        root = mime.parse_message(data)
        check_offsets(self, data, root)
        read_envelope(mime.envelope_octets(data, root.header))
        body = mime.body_octets(data, root)
        read_body(body, extended=False)
        extended = mime.bodystructure_octets(data, root)
        read_body(extended, extended=True)
        self.assertEqual(mime.body_from_bodystructure(extended), body)
        read_body(mime.bodystructure_octets(data, root, rev2=True), extended=True, rev2=True)
        for text in mime.iter_text(data, root):
            text.encode("utf-8")
        for part in root.walk():
            (part.filename or "").encode("utf-8")
            (part.charset or "").encode("utf-8")
            mime.decode_body(data, part)
            self.assertLessEqual(len(mime.decode_body(data, part, 5)), 5)

    @given(octets)
    @steady
    def test_headers(self, data: bytes) -> None:
        header = mime.parse_header(data)
        self.assertEqual(reassemble(data, header), data[: header.body_start])
        self.assertEqual(header.raw_fields([], exclude=True), data[: header.body_start])
        fields = list(header)
        self.assertEqual(len(fields), len(header))
        for field in fields:
            self.assertTrue(data[field.start : field.end].startswith(field.name))
            self.assertEqual(mime.unfold(data[field.value_start : field.end]), field.value)
            name = field.name.rstrip()
            if name:
                self.assertIn(field.value, header.get_all(name))
                self.assertEqual(header.get(name.upper()), header.get_all(name.lower())[0])
        names = {field.name for field in fields[::2] if field.name}
        some = header.raw_fields(names, blank_line=False)
        others = header.raw_fields(names, exclude=True, blank_line=False)
        self.assertEqual(len(some) + len(others) + len(header.blank_line), header.body_start)
        mime.message_id(header)
        mime.references(header)
        mime.header_text(header).encode("utf-8")

    @given(octets.filter(bool))
    @steady
    def test_memory_maps_are_read_the_same(self, data: bytes) -> None:
        root = mime.parse_message(data)
        with mapped(data) as found:
            other = mime.parse_message(found)
            self.assertEqual(structure(other), structure(root))
            self.assertEqual(list(mime.parse_header(found)), list(mime.parse_header(data)))
            self.assertEqual(
                mime.bodystructure_octets(found, other), mime.bodystructure_octets(data, root)
            )
            self.assertEqual(list(mime.iter_text(found, other)), list(mime.iter_text(data, root)))

    @given(octets, octets, octets)
    @steady
    def test_what_is_around_a_message_does_not_count(
        self, before: bytes, data: bytes, behind: bytes
    ) -> None:
        start, end = len(before), len(before) + len(data)
        whole = before + data + behind
        inside = mime.parse_message(whole, start, end)
        alone = mime.parse_message(data)
        self.assertEqual(structure(inside), structure(alone))
        self.assertEqual(
            [(p.header_start - start, p.body_start - start, p.end - start) for p in inside.walk()],
            [(p.header_start, p.body_start, p.end) for p in alone.walk()],
        )

    @given(octets)
    @steady
    def test_values(self, value: bytes) -> None:
        for address in mime.parse_addresses(value):
            address.addr_spec.encode("utf-8")
            self.assertTrue(address.domain is not None or address.display_name is None)
        mime.decode_text(value).encode("utf-8")
        moment = mime.parse_date(value)
        self.assertTrue(moment is None or moment.tzinfo is not None)
        mime.parse_imap_date(value)
        mime.parse_imap_datetime(value)
        for name, _value in parse_parameters(value):
            mime.parameter_text(((name, value),), name)
        parse_parameterized(value)
        strip_comments(value)
        decode_base64(value)
        decode_quoted_printable(value)
        decode_uuencode(value)

    @given(
        st.text(max_size=40)
        | st.lists(
            st.sampled_from(
                ["re", "fwd", "fw", ":", " ", "\t", "[", "]", "[fwd:", "(fwd)", "x", "[a]", "Re: "]
            )
        ).map("".join)
    )
    @steady
    def test_base_subjects(self, subject: str) -> None:
        base, _ = mime.split_subject(subject)
        self.assertEqual(base, base.strip(" "))
        self.assertEqual(mime.base_subject(base), base)
        self.assertEqual(mime.base_subject(f"Re: {subject} (fwd)"), base)
        self.assertEqual(mime.split_subject(f"Re: {subject}")[1], True)

    @given(octets)
    @steady
    def test_imap_strings(self, value: bytes) -> None:
        envelope = read_envelope(
            b"(%b NIL NIL NIL NIL NIL NIL NIL NIL NIL)" % mime.imap_string(value)
        )
        self.assertEqual(envelope[0], value.replace(b"\0", b""))


words = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp", "Zs", "Cn", "Cf")),
    min_size=1,
    max_size=12,
)
phrases = st.lists(words, min_size=1, max_size=5).map(" ".join)
atoms = st.text("abcdefghijklmnopqrstuvwxyz0123456789+-_", min_size=1, max_size=10)
names = phrases.filter(lambda phrase: "=?" not in phrase)
addresses = st.builds(
    EmailAddress, names | st.just(""), atoms, st.lists(atoms, min_size=1, max_size=3).map(".".join)
)
dates = st.datetimes(
    datetime.datetime(1900, 1, 1),
    datetime.datetime(2100, 1, 1),
    timezones=st.integers(-12 * 60, 14 * 60).map(
        lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes))
    ),
).map(lambda moment: moment.replace(microsecond=0))
policies = st.sampled_from([email.policy.SMTP, email.policy.SMTPUTF8, email.policy.default])


@st.composite
def leaves(draw: st.DrawFn) -> EmailMessage:
    """A text or an attachment."""
    message = EmailMessage()
    if draw(st.booleans()):
        text = draw(st.lists(phrases, max_size=5).map("\n".join))
        message.set_content(text, subtype=draw(st.sampled_from(["plain", "html"])))
    else:
        content = draw(st.binary(max_size=200))
        message.set_content(content, "application", "octet-stream", filename=draw(names))
    return message


def combine(children: st.SearchStrategy[EmailMessage]) -> st.SearchStrategy[EmailMessage]:
    """A multipart of such messages."""

    def build(parts: list[EmailMessage], subtype: str, embed: bool) -> EmailMessage:
        message = EmailMessage()
        message["Content-Type"] = f"multipart/{subtype}"
        for part in parts:
            if embed:
                wrapper = EmailMessage()
                wrapper.set_content(part)
                part = wrapper
            message.attach(part)
        return message

    subtypes = st.sampled_from(["mixed", "alternative", "x-other"])
    return st.builds(build, st.lists(children, min_size=1, max_size=3), subtypes, st.booleans())


#: Header fields with what address lists are made of, most of them well-formed.
address_fields = st.lists(
    st.tuples(
        st.sampled_from((b"From", b"To", b"cc", b"Bcc", b"SENDER", b"Reply-To", b"Subject", b"X")),
        st.lists(
            st.sampled_from(PIECES)
            | st.sampled_from((b"Joe <joe@example.org>", b", ", b'"J, X" <j.x@b>', b"a@b,"))
            | st.sampled_from((b'"a\0b" <a@b>', b'"\r" <a@b>', b"\xe4@b", b'"\xe4" <a@b>', b","))
            | st.binary(max_size=3),
            max_size=6,
        ).map(b"".join),
    ),
    max_size=8,
).map(lambda fields: b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n")


class EnvelopeTests(SynchronousTestCase):
    @given(address_fields | octets)
    @settings(steady, max_examples=400)
    def test_both_ways_to_render_an_envelope(self, data: bytes) -> None:
        header = mime.parse_header(data)
        found = mime.envelope_octets(data)
        self.assertEqual(found, mime.render_envelope(mime.read_envelope(header)))
        read_envelope(found)

    @given(address_fields | octets)
    @steady
    def test_values_one_by_one_and_together(self, data: bytes) -> None:
        header = mime.parse_header(data)
        names = [*header.names, b"none", b"to"]
        self.assertEqual(header.get_first(names), [header.get(name) for name in names])


trees = st.recursive(leaves(), combine, max_leaves=5)


class WellFormedTests(SynchronousTestCase):
    """Agreement with the email package, in both directions."""

    @given(st.lists(addresses, min_size=1, max_size=4), phrases, dates)
    @steady
    def test_headers(
        self, people: list[EmailAddress], subject: str, date: datetime.datetime
    ) -> None:
        # Raw UTF-8: when they fold encoded words, blanks and commas get lost.
        policy = email.policy.SMTPUTF8
        message = EmailMessage(policy)
        message["From"] = people[0]
        message["To"] = people
        message["Subject"] = subject
        message["Date"] = date
        data = message.as_bytes()
        header = mime.parse_header(data)
        envelope = mime.read_envelope(header)
        self.assertEqual(
            [
                (mime.decode_text(found.display_name or b""), found.addr_spec)
                for found in envelope.to
            ],
            [(person.display_name, person.addr_spec) for person in people],
        )
        self.assertEqual(envelope.from_, envelope.to[:1])
        self.assertEqual(mime.decode_text(header.get(b"subject") or b""), subject)
        found = mime.parse_date(header.get(b"date") or b"")
        self.assertEqual(found, date)
        read_envelope(mime.envelope_octets(data))

    @given(addresses, phrases)
    @steady
    def test_encoded_words(self, person: EmailAddress, subject: str) -> None:
        message = EmailMessage(email.policy.SMTP)
        message["Reply-To"] = person
        message["Subject"] = subject
        envelope = mime.read_envelope(mime.parse_header(message.as_bytes()))
        self.assertEqual([found.addr_spec for found in envelope.reply_to], [person.addr_spec])
        name = mime.decode_text(envelope.reply_to[0].display_name or b"")
        # They lose blanks when they fold.
        self.assertEqual(name.replace(" ", ""), person.display_name.replace(" ", ""))
        text = mime.decode_text(envelope.subject or b"")
        self.assertEqual(text.replace(" ", ""), subject.replace(" ", ""))

    @given(trees, policies)
    @steady
    def test_structures(self, message: EmailMessage, policy: email.policy.EmailPolicy) -> None:
        data = message.as_bytes(policy=policy)
        root = mime.parse_message(data)
        theirs = email.message_from_bytes(data, policy=email.policy.default)
        ours = list(root.walk())
        self.assertEqual(len(ours), sum(1 for _ in theirs.walk()))
        for part, other in zip(ours, theirs.walk(), strict=True):
            self.assertEqual(
                f"{part.type.decode()}/{part.subtype.decode()}", other.get_content_type()
            )
            if part.children:
                continue
            payload = other.get_payload(decode=True)
            assert isinstance(payload, bytes)
            self.assertEqual(mime.decode_body(data, part), payload)
            self.assertEqual(part.filename, other.get_filename())
            if part.type == b"text":
                assert isinstance(other, EmailMessage)
                self.assertEqual(
                    mime.part_text(data, part).replace("\r\n", "\n"),
                    other.get_content().replace("\r\n", "\n"),
                )
        read_body(mime.bodystructure_octets(data, root), extended=True)

    @given(
        st.lists(st.tuples(names | st.just(""), atoms, atoms), max_size=5),
        st.sampled_from([", ", ",\t", " , "]),
    )
    @steady
    def test_address_lists(self, people: list[tuple[str, str, str]], comma: str) -> None:
        pairs = [(name, f"{local}@{domain}") for name, local, domain in people]
        value = comma.join(email.utils.formataddr(pair) for pair in pairs).encode()
        self.assertEqual(
            [
                (mime.decode_text(a.display_name or b""), a.addr_spec)
                for a in mime.parse_addresses(value)
            ],
            pairs,
        )
