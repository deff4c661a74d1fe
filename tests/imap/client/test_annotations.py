"""The client's annotations of messages (RFC 5257), against our own server and against others' answers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.annotations import Annotation
from mailkit.imap.client import AnnotationValues, Message, NewMessage, NotOffered, Refused
from mailkit.imap.client.reader import Response
from mailkit.imap.client.responses import parse_response
from mailkit.store.annotations import MAX_VALUE
from tests.imap.client.support import Client, login
from tests.imap.support import Server

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"
ANNOTATION = "ANNOTATION (* (value size))"


class SessionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.server.add(MESSAGE, MESSAGE)
        self.client = login(self.server)
        self.client.run(self.client.session.select("INBOX", annotate=True))

    def fetched(self, client: Client, uid: int) -> dict[str, AnnotationValues]:
        (message,) = client.run(client.session.fetch([uid], [ANNOTATION]))
        assert message.annotations is not None
        return dict(message.annotations)

    def test_store_and_fetch(self) -> None:
        session, run = self.client.session, self.client.run
        strange = bytes(range(256))
        answer = run(
            session.store_annotations(
                "1:2",
                [
                    Annotation("/comment", b'say "x"'),
                    Annotation("/comment", strange, shared=True),
                    Annotation("/vendor/acme/a b", b""),
                ],
            )
        )
        self.assertEqual((answer.messages, answer.modified), ([], []))
        self.assertEqual(
            self.fetched(self.client, 2),
            {
                "/comment": AnnotationValues(b'say "x"', strange, 7, 256),
                "/vendor/acme/a b": AnnotationValues(b"", None, 0, 0),
            },
        )
        run(session.store_annotations([2], [Annotation("/comment", None)]))
        run(session.store_annotations([2], [Annotation("/vendor/acme/a b", None)]))
        self.assertEqual(
            self.fetched(self.client, 2), {"/comment": AnnotationValues(None, strange, 0, 256)}
        )

    def test_unchanged_since(self) -> None:
        session, run = self.client.session, self.client.run
        run(session.store_annotations([2], [Annotation("/comment", b"x")]))
        messages = run(session.fetch("1:2", ["MODSEQ"]))
        since = messages[0].modseq
        assert since is not None
        note = [Annotation("/comment", b"y")]
        answer = run(session.store_annotations("1:2", note, unchanged_since=since))
        self.assertEqual(answer.modified, [2])
        self.assertEqual([each.uid for each in answer.messages if each.modseq != since], [1, 2])

    def test_append(self) -> None:
        run, session = self.client.run, self.client.session
        notes = [Annotation("/comment", b"\r\n"), Annotation("/comment", b"y", True)]
        result = run(
            session.append("INBOX", MESSAGE, NewMessage(MESSAGE, ["\\Seen"], 5, annotations=notes))
        )
        assert result is not None
        self.assertEqual(self.fetched(self.client, result.uids[0]), {})
        self.assertEqual(
            self.fetched(self.client, result.uids[1]),
            {"/comment": AnnotationValues(b"\r\n", b"y", 2, 1)},
        )

    def test_changes_by_others(self) -> None:
        heard: list[Message] = []
        end = self.client.session.add_listener(
            lambda change: heard.append(change) if isinstance(change, Message) else None
        )
        other = login(self.server)
        other.run(other.session.select("INBOX"))
        other.run(other.session.store_annotations([1], [Annotation("/comment", b"x")]))
        self.client.run(self.client.session.noop())
        end()
        self.assertEqual([each.annotations for each in heard], [{"/comment": AnnotationValues()}])

    def test_limits(self) -> None:
        selected = self.client.session.selected
        assert selected is not None
        self.assertEqual(selected.max_annotation, MAX_VALUE)
        large = [Annotation("/comment", b"x" * (MAX_VALUE + 1))]
        results = self.client.start(self.client.session.store_annotations([1], large))
        results[0].trap(Refused)
        self.assertEqual(results[0].value.code_name, "ANNOTATE")
        selected = self.client.run(self.client.session.select("INBOX", read_only=True))
        self.assertEqual(selected.max_annotation, 0)

    def test_a_server_without(self) -> None:
        client = login(Server(without=frozenset({"ANNOTATE-EXPERIMENT-1"})))
        client.start(client.session.select("INBOX", annotate=True))[0].trap(NotOffered)
        selected = client.run(client.session.select("INBOX"))
        self.assertIsNone(selected.max_annotation)
        note = [Annotation("/comment", b"x")]
        client.start(client.session.store_annotations([1], note))[0].trap(NotOffered)


class ResponseTests(SynchronousTestCase):
    def annotations(self, octets: bytes) -> object:
        message = parse_response(Response(b"* 1 FETCH (ANNOTATION %b)" % octets, {}))
        assert isinstance(message, Message)
        return message.annotations

    def test_what_servers_say(self) -> None:
        for octets, expected in (
            (b"()", {}),
            (b"(/comment /b)", {"/comment": AnnotationValues(), "/b": AnnotationValues()}),
            # As Cyrus has it.
            (
                b'(/comment (value.priv "My comment" size.priv "10" value.shared NIL'
                b' size.shared "0"))',
                {"/comment": AnnotationValues(b"My comment", None, 10, 0)},
            ),
            (
                b'("/a b" (VALUE.PRIV ~{3}\r\na\0b other.priv "x" size.priv "many") /c (size.priv 7))',
                {
                    "/a b": AnnotationValues(b"a\0b"),
                    "/c": AnnotationValues(private_size=7),
                },
            ),
        ):
            self.assertEqual(self.annotations(octets), expected, octets)
