"""Events by HTTP: what is posted, how it is signed, and that each arrives."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, BinaryIO

from twisted.internet.defer import Deferred
from twisted.logger import Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mailkit._typing import override
from mailkit.model import OriginalRecipient, Path, Recipient
from mailkit.posting import Answer, Poster, PostFailed
from mailkit.queue import webhooks
from mailkit.queue.values import Order, RecipientState
from mailkit.queue.webhooks import (
    EVENTS,
    INTERVALS,
    LIFETIME,
    MAX_GIVEN_UP,
    MAX_PARALLEL,
    MAX_PAUSE,
    Webhook,
    WebhookSender,
    read_webhook_secret,
    sign,
    verify,
)
from mailkit.testing.queue import queue_envelope

from .support import START, QueueTestCase, reply

URL = "https://app.example.org/mail"
SECRET = b"0123456789abcdef01234567"


def logger_of(lines: list[str]) -> Logger:
    """Puts what is logged into a list."""
    observer: Any = lambda event: lines.append(formatEvent(event))  # noqa: E731
    return Logger(observer=observer)


class ScriptedPoster(Poster):
    """Answers as it is told."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[tuple[dict[str, str], bytes]] = []
        #: A status, or why there is no answer.
        self.answer: int | str = 204
        self.wait = 0.0
        self.gate: Deferred[None] | None = None
        self.active = self.most = 0

    @override
    async def post(self, fields: Mapping[bytes, bytes], content: BinaryIO) -> Answer:
        named = {name.decode(): value.decode() for name, value in fields.items()}
        self.requests.append((named, content.read()))
        if self.gate is not None:
            self.active += 1
            self.most = max(self.most, self.active)
            waiting: Deferred[None] = Deferred()
            self.gate.addCallback(lambda _: waiting.callback(None))
            await waiting
            self.active -= 1
        if isinstance(self.answer, str):
            raise PostFailed(self.answer)
        return Answer(self.answer, self.wait)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, body in self.requests]

    @property
    def types(self) -> list[str]:
        return [body["type"] for body in self.bodies]


class WebhookTestCase(QueueTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.posters: dict[str, ScriptedPoster] = {}
        self.sender = self.start_sender(Webhook(URL, [SECRET]))

    def start_sender(self, *hooks: Webhook) -> WebhookSender:
        sender = WebhookSender(self.queue, hooks, self.clock, self.poster)
        sender.start()
        end = self.manager.outcomes.listen(lambda _: sender.look())
        self.addCleanup(end)
        self.addCleanup(sender.stop)
        return sender

    def poster(self, url: str) -> ScriptedPoster:
        # The one that a sender before has had.
        return self.posters.setdefault(url, ScriptedPoster(url))

    @property
    def app(self) -> ScriptedPoster:
        return self.posters[URL]


class PostingTests(WebhookTestCase):
    async def test_what_is_posted(self) -> None:
        recipient = Recipient(
            Path("eve", "example.net"), orcpt=OriginalRecipient("rfc822", "e@example.com")
        )
        envelope = queue_envelope(account="ann@example.org", envid="QQ1", transaction_id="4bx")
        envelope.recipients = [recipient]
        id = await self.submit_envelope(envelope)
        self.clock.advance(0)
        queued, delivered = self.app.bodies
        self.assertEqual(
            (queued["type"], delivered["type"]), ("message.queued", "message.delivered")
        )
        self.assertEqual(
            delivered,
            {
                "type": "message.delivered",
                "timestamp": "2023-11-14T22:13:20Z",
                "data": {
                    "id": id,
                    "recipient": "eve@example.net",
                    "original_recipient": "e@example.com",
                    "state": "delivered",
                    "sender": "ann@example.org",
                    "account": "ann@example.org",
                    "transaction_id": "4bx",
                    "message_id": "<1@example.org>",
                    "envelope_id": "QQ1",
                    "queued": "2023-11-14T22:13:20Z",
                    "attempt": {
                        "time": "2023-11-14T22:13:20Z",
                        "seconds": 0.1,
                        "host": "mx.example.net",
                        "address": "192.0.2.3:25",
                        "tls": "",
                        "security": "",
                        "code": 250,
                        "enhanced": "",
                        "text": "fine",
                        "command": "",
                        "passed_over": "",
                        "route": "",
                    },
                },
            },
        )
        self.assertNotIn("attempt", queued["data"])

    async def test_signature(self) -> None:
        await self.submit("eve@example.net")
        fields, body = self.app.requests[0]
        # As the standard words it.
        content = f"{fields['webhook-id']}.{fields['webhook-timestamp']}.".encode() + body
        code = base64.b64encode(hmac.digest(SECRET, content, hashlib.sha256)).decode()
        self.assertEqual(fields["webhook-signature"], f"v1,{code}")
        self.assertEqual(fields["webhook-timestamp"], str(START))
        self.assertEqual(len({fields["webhook-id"] for fields, _ in self.app.requests}), 2)

    async def test_every_event_once(self) -> None:
        for number in range(30):
            await self.submit(f"{number}@example.net", f"{number}@example.com")
        self.pass_time(60)
        self.assertEqual(len(self.app.requests), 120)
        self.assertEqual(await self.queue.list_events(listener=URL, limit=1), [])

    async def test_all_kinds(self) -> None:
        self.transport.answer = lambda recipient: reply(451, "later")
        id = await self.submit("eve@example.net")
        await self.queue.order(order=Order.HOLD, id=id, now=START)
        await self.queue.order(order=Order.CANCEL, id=id, now=START)
        self.transport.answer = lambda recipient: reply(550, "no")
        await self.submit("joe@example.net")
        self.pass_time(60)
        self.assertEqual(
            self.app.types,
            [
                "message.queued",
                "message.deferred",
                "message.held",
                "message.cancelled",
                "message.queued",
                "message.failed",
            ],
        )
        # Nothing about the report, which goes to Ann.
        self.assertEqual(len(self.reports()), 1)

    async def test_wanted_kinds_alone(self) -> None:
        await self.sender.stop()
        self.sender = self.start_sender(Webhook(URL, [SECRET], ["delivered"]))
        await self.submit("eve@example.net")
        self.assertEqual(self.app.types, ["message.delivered"])
        self.assertEqual(await self.queue.list_events(listener=URL, limit=1), [])

    async def test_not_too_many_at_a_time(self) -> None:
        self.app.gate = gate = Deferred()
        for number in range(10):
            await self.submit(f"{number}@example.net")
        self.pass_time(30)
        self.app.gate = None
        gate.callback(None)
        self.pass_time(30)
        self.assertEqual(len(self.app.requests), 20)
        self.assertLessEqual(self.app.most, MAX_PARALLEL)

    async def test_secrets_are_changed_one_after_the_other(self) -> None:
        await self.sender.stop()
        self.sender = self.start_sender(Webhook(URL, [b"new" * 8, SECRET]))
        await self.submit("eve@example.net")
        fields, body = self.app.requests[0]
        for secret in (b"new" * 8, SECRET):
            self.assertTrue(
                verify(
                    secret,
                    fields["webhook-id"],
                    fields["webhook-timestamp"],
                    fields["webhook-signature"],
                    body,
                    START,
                )
            )


class TroubleTests(WebhookTestCase):
    async def test_it_is_tried_again(self) -> None:
        self.app.answer = "connection refused"
        await self.submit("eve@example.net")
        first = len(self.app.requests)
        # Queued and delivered.
        self.assertEqual(first, 2)
        self.app.answer = 500
        self.pass_time(1.3 * INTERVALS[0], 0.5)
        self.assertGreater(len(self.app.requests), first)
        tried = len(self.app.requests)
        # It does not ask for more: others may be at work there.
        await self.submit("joe@example.net")
        self.assertEqual(len(self.app.requests), tried)
        self.app.answer = 200
        self.pass_time(1.3 * INTERVALS[1], 0.5)
        ids = {fields["webhook-id"] for fields, _ in self.app.requests}
        self.assertEqual(len(ids), 4)
        # Signed anew, at its time.
        again = [
            fields["webhook-timestamp"]
            for fields, _ in self.app.requests
            if fields["webhook-id"] == self.app.requests[0][0]["webhook-id"]
        ]
        self.assertEqual(len(again), len(set(again)))
        self.assertEqual(await self.queue.list_events(listener=URL, limit=1), [])

    async def test_a_receiver_that_asks_to_be_left_alone(self) -> None:
        self.app.answer, self.app.wait = 429, 600.0
        await self.submit("eve@example.net")
        tried = len(self.app.requests)
        self.pass_time(599)
        self.assertEqual(len(self.app.requests), tried)
        # That holds once: the next one comes after 30 seconds.
        self.app.wait = 0.0
        self.pass_time(160, 5.0)
        self.assertEqual(len(self.app.requests), 3 * tried)
        # Nor for ever.
        self.app.wait = 1e9
        self.pass_time(365)
        self.assertEqual(len(self.app.requests), 4 * tried)
        self.app.answer = 200
        self.pass_time(MAX_PAUSE - 400)
        self.assertEqual(len(self.app.requests), 4 * tried)
        self.pass_time(0.3 * MAX_PAUSE)
        self.assertEqual(await self.queue.list_events(listener=URL, limit=1), [])

    async def test_what_was_taken_is_not_posted_again(self) -> None:
        await self.submit("eve@example.net", "joe@example.net")
        self.pass_time(10)
        taken = len(self.app.requests)
        original = self.app.post

        async def choosy(fields: Mapping[bytes, bytes], content: BinaryIO) -> Answer:
            status = await original(fields, content)
            return Answer(503) if b"sue@" in self.app.requests[-1][1] else status

        self.app.post = choosy  # type: ignore[method-assign]
        await self.submit("sue@example.net", "tom@example.net")
        self.pass_time(1.3 * INTERVALS[0] + 5, 0.5)
        del self.app.post
        self.pass_time(200)
        counts: dict[str, int] = {}
        for body in self.app.bodies[taken:]:
            to = body["data"]["recipient"]
            counts[to] = counts.get(to, 0) + 1
        self.assertEqual(counts["tom@example.net"], 2)
        self.assertGreater(counts["sue@example.net"], 2)

    async def test_given_up(self) -> None:
        self.app.answer = 410
        await self.submit("eve@example.net")
        self.pass_time(LIFETIME + 12 * 3600, 600)
        self.assertEqual(await self.queue.list_events(listener=URL, limit=1), [])
        self.assertLess(len(self.app.requests), 80)

    async def test_nobody_is_there_for_days(self) -> None:
        # Each of them alone would wait for an answer, and the log would have a line for each.
        lines: list[str] = []
        self.patch(WebhookSender, "log", logger_of(lines))
        self.app.answer = "no answer in 30 seconds"
        for number in range(2 * MAX_GIVEN_UP):
            await self.submit(f"{number}@example.net")
        await self.sender.stop()
        self.clock.advance(LIFETIME + 1)
        await self.submit("new@example.net")
        self.app.requests.clear()
        lines.clear()
        self.sender = self.start_sender(Webhook(URL, [SECRET]))
        self.clock.advance(0)
        self.assertEqual(len(self.app.requests), MAX_GIVEN_UP + 2)
        waiting = await self.queue.list_events(listener=URL, limit=9)
        self.assertEqual([str(each.recipient.path) for each in waiting], ["new@example.net"] * 2)
        self.assertEqual(len([line for line in lines if "given up" in line]), 1, lines)
        self.assertIn(f"{4 * MAX_GIVEN_UP - 1} others", lines[0])
        self.assertEqual(len(lines), 2, lines)

    async def start_late(self, count: int) -> None:
        """Submit messages, and be away until their events, two of each, are old."""
        self.app.answer = "connection refused"
        for number in range(count):
            await self.submit(f"{number}@example.net")
        await self.sender.stop()
        self.clock.advance(LIFETIME + 1)
        self.app.requests.clear()

    async def count_waiting(self) -> int:
        return len(await self.queue.list_events(listener=URL, limit=1000))

    async def test_old_events_wait_for_a_busy_receiver(self) -> None:
        await self.start_late(MAX_GIVEN_UP)
        self.app.answer, self.app.wait = 429, 60.0
        self.sender = self.start_sender(Webhook(URL, [SECRET]))
        self.clock.advance(0)
        self.assertEqual(len(self.app.requests), MAX_PARALLEL)
        self.assertEqual(await self.count_waiting(), 2 * MAX_GIVEN_UP)
        self.clock.advance(59)
        self.assertEqual(len(self.app.requests), MAX_PARALLEL)
        self.app.answer = 200
        self.pass_time(15)
        self.assertEqual(len(self.app.requests), 2 * MAX_GIVEN_UP + MAX_PARALLEL)
        self.assertEqual(await self.count_waiting(), 0)

    async def test_a_receiver_that_takes_some_at_a_time(self) -> None:
        await self.start_late(20)
        original = self.app.post
        times: list[float] = []

        async def slow(fields: Mapping[bytes, bytes], content: BinaryIO) -> Answer:
            # One in a second.
            await original(fields, content)
            times.append(self.clock.seconds())
            return Answer(429, 1.0) if times[-1] in times[:-1] else Answer(200)

        self.app.answer = 200
        self.app.post = slow  # type: ignore[method-assign]
        self.sender = self.start_sender(Webhook(URL, [SECRET]))
        self.pass_time(40 * 1.2 * INTERVALS[0] + 20, 0.5)
        del self.app.post
        self.assertEqual(await self.count_waiting(), 0)

    async def test_a_receiver_that_is_busy_for_ever(self) -> None:
        await self.start_late(2)
        self.app.answer = 503
        self.sender = self.start_sender(Webhook(URL, [SECRET]))
        self.pass_time(LIFETIME - 3600, 600)
        self.assertEqual(await self.count_waiting(), 4)
        self.pass_time(12 * 3600, 600)
        self.assertEqual(await self.count_waiting(), 0)

    async def test_no_old_event_is_given_up_unposted_where_somebody_answers(self) -> None:
        await self.start_late(MAX_GIVEN_UP)
        self.app.answer = 500
        self.sender = self.start_sender(Webhook(URL, [SECRET]))
        self.clock.advance(0)
        self.assertEqual(len(self.app.requests), 2 * MAX_GIVEN_UP)
        self.assertEqual(await self.count_waiting(), 0)

    async def test_what_was_given_up_holds_nothing_back(self) -> None:
        self.app.answer = 500
        await self.submit("sue@example.net")
        self.pass_time(LIFETIME + 12 * 3600, 600)
        self.assertEqual(await self.count_waiting(), 0)
        self.app.answer = 200
        self.app.requests.clear()
        await self.submit("eve@example.net")
        self.assertEqual(len(self.app.requests), 2)

    async def test_events_that_are_refused_take_no_old_ones_along(self) -> None:
        original = self.app.post

        async def choosy(fields: Mapping[bytes, bytes], content: BinaryIO) -> Answer:
            status = await original(fields, content)
            return Answer(500) if b"sue@" in self.app.requests[-1][1] else status

        self.app.answer = 500
        for number in range(MAX_GIVEN_UP):
            await self.submit("sue@example.net")
            await self.submit(f"{number}@example.net")
        await self.sender.stop()
        self.clock.advance(LIFETIME + 1)
        self.app.requests.clear()
        self.app.answer = 200
        self.app.post = choosy  # type: ignore[method-assign]
        self.sender = self.start_sender(Webhook(URL, [SECRET]))
        self.clock.advance(0)
        del self.app.post
        self.assertEqual(len(self.app.requests), 4 * MAX_GIVEN_UP)
        self.assertEqual(await self.queue.list_events(listener=URL, limit=1), [])

    async def test_after_a_restart(self) -> None:
        self.app.answer = 500
        await self.submit("eve@example.net")
        await self.sender.stop()
        await self.submit("joe@example.net")
        before = len(self.app.requests)
        self.app.answer = 200
        self.start_sender(Webhook(URL, [SECRET]))
        self.assertEqual(
            [body["data"]["recipient"] for body in self.app.bodies[before:]],
            ["eve@example.net"] * 2 + ["joe@example.net"] * 2,
        )

    async def test_stopped_while_a_request_is_under_way(self) -> None:
        self.app.gate = Deferred()
        await self.submit("eve@example.net")
        await self.sender.stop()
        self.assertEqual(len(await self.queue.list_events(listener=URL, limit=9)), 2)

    async def test_one_receiver_does_not_stop_another(self) -> None:
        await self.sender.stop()
        other = "https://other.example.org/"
        self.sender = self.start_sender(Webhook(URL, [SECRET]), Webhook(other, [SECRET]))
        self.app.answer = 500
        await self.submit("eve@example.net")
        self.assertEqual(len(self.posters[other].requests), 2)
        self.assertEqual(len(await self.queue.list_events(listener=URL, limit=9)), 2)

    async def test_nobody_listens_any_more(self) -> None:
        await self.sender.stop()
        self.sender = self.start_sender()
        await self.submit("eve@example.net")
        self.assertEqual(await self.queue.get_last_event(), 0)

    async def test_backlog_is_bounded(self) -> None:
        self.patch(webhooks, "MAX_BACKLOG", 6)
        self.app.answer = 500
        for number in range(10):
            await self.submit(f"{number}@example.net")
        self.app.answer = 200
        self.pass_time(30)
        self.assertLess(len({fields["webhook-id"] for fields, _ in self.app.requests}), 12)
        self.assertIn("9@example.net", [body["data"]["recipient"] for body in self.app.bodies])

    async def test_forgotten_message(self) -> None:
        self.app.answer = 500
        id = await self.submit("eve@example.net")
        self.assertEqual(await self.states(id), [RecipientState.DELIVERED])
        await self.queue.forget(before=START + 1)
        self.app.answer = 200
        self.pass_time(60)
        self.assertEqual(await self.queue.list_events(listener=URL, limit=1), [])


class SecretTests(SynchronousTestCase):
    def test_example(self) -> None:
        # The test vector of the standard's own libraries.
        secret = read_webhook_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        self.assertEqual(
            sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        )

    def test_verify(self) -> None:
        signature = sign(SECRET, "evt_1", START, b"{}")
        good = (SECRET, "evt_1", str(START), f"v1,x v1a,y {signature}", b"{}", float(START + 299))
        self.assertTrue(verify(*good))
        for place, value in (
            (0, b"x" * 24),
            (1, "evt_2"),
            (2, str(START + 1)),
            (2, "x"),
            (2, "\u0661"),
            (2, "9" * 5000),
            (3, ""),
            (3, "v1,\u00e4"),
            (4, b"{ }"),
            (5, float(START + 301)),
            (5, float(START - 301)),
        ):
            changed: Any = [*good[:place], value, *good[place + 1 :]]
            self.assertFalse(verify(*changed), (place, value))

    def test_bad_webhooks(self) -> None:
        Webhook(URL, [SECRET], list(EVENTS))
        for url, secrets, events in (
            ("ftp://example.org/", [SECRET], None),
            (URL, [], None),
            (URL, [SECRET, b"short"], None),
            (URL, [SECRET], ["opened"]),
        ):
            self.assertRaises(ValueError, Webhook, url, secrets, events)
        self.assertRaises(ValueError, read_webhook_secret, "whsec_?")
