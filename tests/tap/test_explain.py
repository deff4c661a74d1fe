"""``mailkit explain``, and what ``mailkit queue`` tells programs."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from click.testing import CliRunner, Result
from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from mailkit.model import (
    AppendMessage,
    HookRecord,
    LocalDelivery,
    OriginalRecipient,
    Path,
    Recipient,
)
from mailkit.queue.values import Attempt, NewMessage, RecipientState, Update
from mailkit.smtp.trace import hooks_field
from mailkit.spool import Spool
from mailkit.store.sqlite import SQLiteStore, StoreSettings, finding
from mailkit.store.sqlite.ahead import Ahead
from mailkit.tap.command import main
from mailkit.testing.queue import queue_envelope

reactor: Any = _reactor
ANN = "ann@example.org"
BOTH, LOCAL = "<both@example.org>", "<L\u00f6cal@example.org>"


def message(id: str) -> Spool:
    header = (
        f"Received: from client.example.org by mail.example.org;\r\n\tnow \x1b[31m\r\n"
        f"X-Mailkit-Hooks: Judge message quarantine (spam)\r\n\t12ms\r\n"
        f"Authentication-Results: mail.example.org; spf=pass\r\nSubject: Lunch\r\nMessage-ID: {id}\r\n"
    )
    return Spool.from_bytes(header.encode() + b"\r\nhi\r\n")


class ExplainTests(TestCase):
    async def setUp(self) -> None:
        self.directory = os.path.abspath(self.mktemp())
        # Texts are kept of no message, but where a test opens the store again for that.
        self.nothing_ahead = self.patch(Ahead, "_loop", lambda ahead: None)
        self.store = SQLiteStore(self.directory, settings=StoreSettings(ahead_delay=0.01))
        self.addCleanup(lambda: self.store.close())
        await self.store.add_account(name=ANN)
        now = int(time.time())
        envelope = queue_envelope(
            account=ANN,
            transaction_id="4bxQ",
            history=[HookRecord("Helo", "helo", "accept", "known \x1b[0m host", 0.0123)],
        )
        envelope.recipients = [
            Recipient(
                Path("eve", "example.net"), orcpt=OriginalRecipient("rfc822", "e@example.com")
            ),
            Recipient(Path("joe", "example.com")),
        ]
        new = NewMessage(envelope, now, now + 600, message_id=BOTH)
        await self.store.queue.enqueue(
            message=message(BOTH), new=[new], deliveries=[LocalDelivery(ANN)]
        )
        account = await self.store.open_account(name=ANN)
        inbox = await account.open_mailbox(name="INBOX")
        await inbox.append(messages=[self.appended(LOCAL), self.appended("<other@example.org>")])
        eve, joe = (await self.store.queue.get_message(id="1")).recipients
        attempt = Attempt(
            now, 1.5, "mx.example.net", "192.0.2.1:25", "TLSv1.3", "", 451, "4.2.1", "busy", "RCPT"
        )._replace(route="route 2 (smtp:mx.example.net)")
        report = Attempt(
            now, 0.0, "mx.example.com", enhanced="5.1.1", command="report", text="gone"
        )
        await self.store.queue.record(
            updates=[
                Update(eve.id, RecipientState.DEFERRED, now + 300, attempt),
                Update(joe.id, RecipientState.DELIVERED, attempt=attempt._replace(code=250)),
            ]
        )
        update = Update(joe.id, RecipientState.BOUNCED, attempt=report)
        await self.store.queue.record(updates=[update])

    @staticmethod
    def appended(id: str) -> AppendMessage:
        return AppendMessage(message(id))

    def run_command(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["--store", f"sqlite:{self.directory}", *arguments])

    def output(self, *arguments: str) -> str:
        result = self.run_command(*arguments)
        self.assertEqual(result.exit_code, 0, result.output)
        # No octets of others steer the terminal.
        self.assertTrue(result.output.replace("\n", "").isprintable(), result.output)
        return result.output

    def test_the_story_of_a_queued_message(self) -> None:
        text = self.output("explain", BOTH)
        for expected in (
            "by submission from 192.0.2.1 (client.example.org) over TLS; the log calls it 4bxQ.",
            "Its sender is <ann@example.org>, logged in as ann@example.org.",
            "Asked at helo, Helo said accept after 12.3 ms: known  [0m host.",
            "For <eve@example.net> it could not be delivered yet, and is tried again (the sender"
            " wrote to e@example.com); next attempt ",
            "mx.example.net 192.0.2.1:25 by route 2 (smtp:mx.example.net), TLSv1.3, RCPT after 1.5 s:"
            " 451 4.2.1 busy",
            "For <joe@example.com> it was taken by the next server, and came back later.",
            "report from mx.example.com: 5.1.1 gone",
            "ann@example.org has it in INBOX, UID 1, since ",
            "  Received: from client.example.org by mail.example.org;",
            "  Authentication-Results: mail.example.org; spf=pass",
            "  X-Mailkit-Hooks: Judge message quarantine (spam) 12ms",
        ):
            self.assertIn(expected, text)
        self.assertEqual(self.output("explain", "both@example.org"), text)
        self.assertEqual(self.output("explain", "1"), text)

    async def test_why_the_sender_is_believed(self) -> None:
        for protocol, account, trusted, text in (
            ("smtp", ANN, True, "as a client says that may send without a login"),
            ("smtp", None, False, "not logged in."),
            ("submission", ANN, False, f"logged in as {ANN}."),
            ("local", ANN, False, f"and a program has submitted it for {ANN}."),
            ("report", None, False, "for this server has written it."),
        ):
            envelope = queue_envelope("eve@example.net", account=account, trusted=trusted)
            envelope.connection = envelope.connection._replace(protocol=protocol)
            new = NewMessage(envelope, 0, int(time.time()) + 600)
            spool = message("<x@example.org>")
            queued = await self.store.queue.enqueue(message=spool, new=[new])
            told = self.output("explain", queued.ids[0])
            self.assertIn(f"Its sender is <{ANN}>, {text}", told)
            self.assertEqual("logged in as" in told, protocol == "submission")
            story = json.loads(self.output("explain", queued.ids[0], "--json"))
            self.assertIs(story["queue"][0]["trusted"], trusted)

    def test_a_message_that_was_never_queued(self) -> None:
        text = self.output("explain", LOCAL)
        self.assertIn("INBOX, UID 2, since", text)
        self.assertIn(f"The queue does not know {LOCAL}", text)

    async def test_what_hooks_said_last_is_told(self) -> None:
        records = [HookRecord("lists", "mail", "accept", "x" * 300, 0.01)] * 49
        records.append(HookRecord("milter", "message", "quarantine", "12.3 of 6", 0.03))
        subject = b"Message-ID: <long@example.org>\r\nSubject: " + b"y" * 301 + b"\r\n\r\n"
        account = await self.store.open_account(name=ANN)
        inbox = await account.open_mailbox(name="INBOX")
        spool = Spool.from_bytes(hooks_field(records) + subject)
        await inbox.append(messages=[AppendMessage(spool)])
        told = self.output("explain", "<long@example.org>")
        self.assertIn("; milter message quarantine (12.3 of 6) 30ms\n", told)
        (place,) = json.loads(self.output("explain", "<long@example.org>", "--json"))["mailboxes"]
        self.assertEqual(place["hooks"].count("; "), 49)
        self.assertTrue(place["hooks"].endswith("; milter message quarantine (12.3 of 6) 30ms"))
        # What is cut off is not passed over in silence.
        self.assertEqual(place["subject"], "y" * 300 + "...")

    async def test_found_by_the_texts_that_are_kept(self) -> None:
        await self.store.close()
        self.nothing_ahead.restore()
        self.store = SQLiteStore(self.directory, settings=StoreSettings(ahead_delay=0.01))
        self.store.open()
        count = "SELECT count(*) FROM field_text"
        while self.store.core.reader.connection.execute(count).fetchone() != (3,):
            await deferLater(reactor, 0.01)
        # No body is opened that has none.
        self.patch(finding, "_WITHOUT_TEXT", finding._WITHOUT_TEXT.replace("b.refs > 0", "0"))
        self.assertIn("INBOX, UID 1", self.output("explain", BOTH))
        self.assertIn("INBOX, UID 2", self.output("explain", LOCAL))

    def test_unknown(self) -> None:
        for id in ("<nobody@example.org>", "nonsense", ""):
            result = self.run_command("explain", id)
            self.assertEqual(result.exit_code, 1, result.output)
            self.assertIn("No mailbox here has it.", result.output)
        result = self.run_command("explain", "99")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("99:", result.output)

    def test_only_the_newest(self) -> None:
        self.patch(finding, "MAX_OPENED", 1)
        self.assertIn("Only the newest messages", self.run_command("explain", BOTH).output)

    def test_json(self) -> None:
        story = json.loads(self.output("explain", BOTH, "--json"))
        self.assertEqual(story["message_id"], BOTH)
        self.assertTrue(story["all_messages_searched"])
        (entry,) = story["queue"]
        self.assertEqual(entry["hooks"][0]["hook"], "Helo")
        eve, joe = entry["recipients"]
        self.assertEqual((eve["state"], eve["original"]), ("deferred", "e@example.com"))
        self.assertEqual([each["command"] for each in joe["attempts"]], ["RCPT", "report"])
        (place,) = story["mailboxes"]
        self.assertEqual((place["account"], place["mailbox"], place["uid"]), (ANN, "INBOX", 1))
        self.assertEqual(place["subject"], "Lunch")

    def test_queue_json(self) -> None:
        (line,) = self.output("queue", "list", "--json").splitlines()
        # Joe's part is over.
        (recipient,) = json.loads(line)["recipients"]
        self.assertEqual(recipient["address"], "eve@example.net")
        (line,) = self.output("queue", "list", "--all", "--json").splitlines()
        self.assertEqual(len(json.loads(line)["recipients"]), 2)
        self.assertEqual(self.output("queue", "list", "--json", "--domain", "nowhere.example"), "")
        shown = json.loads(self.output("queue", "show", "1", "--json"))
        self.assertEqual(shown["recipients"][0]["attempts"][0]["text"], "busy")
