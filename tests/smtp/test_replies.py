"""What errors and outcomes mean in SMTP."""

from __future__ import annotations

import inspect

from twisted.trial.unittest import SynchronousTestCase

from mailkit import errors
from mailkit.errors import MailError
from mailkit.model import Outcome
from mailkit.smtp import replies
from mailkit.statuscodes import CODES
from tests.smtp.fakes import make_envelope


class ErrorReplyTests(SynchronousTestCase):
    def test_every_error_has_codes_that_agree(self) -> None:
        classes = [
            value
            for value in vars(errors).values()
            if inspect.isclass(value) and issubclass(value, MailError)
        ]
        self.assertGreater(len(classes), 20)
        self.assertEqual(set(classes), set(CODES))
        for class_ in classes:
            reply = replies.for_error(class_("why"))
            self.assertEqual(reply.enhanced[0], str(reply.code)[0], class_)
            self.assertEqual(reply.text, "why")
            if class_.temporary:
                self.assertLess(reply.code, 500, class_)

    def test_classes_of_others(self) -> None:
        class Mine(errors.NoSuchRecipient):
            pass

        class Late(MailError):
            temporary = True

        class Never(MailError):
            pass

        self.assertEqual(replies.for_error(Mine())[:2], (550, "5.1.1"))
        self.assertEqual(replies.for_error(Late())[:2], (451, "4.3.0"))
        self.assertEqual(replies.for_error(Never())[:2], (554, "5.0.0"))

    def test_replies_of_other_servers(self) -> None:
        for (code, enhanced), expected in {
            (550, "5.1.1"): (550, "5.1.1"),
            (452, "4.2.2"): (452, "4.2.2"),
            (550, ""): (550, "5.0.0"),
            (451, "5.1.1"): (451, "4.0.0"),
            (550, "5.1.1\r\n250 OK"): (550, "5.0.0"),
            # What concerns their session, and not ours.
            (421, "4.3.2"): (451, "4.3.2"),
            (503, "5.5.1"): (554, "5.5.1"),
            (530, "5.7.0"): (554, "5.7.0"),
        }.items():
            error = errors.RefusedElsewhere("no\r\n250 yes", code, enhanced)
            self.assertEqual(error.temporary, code < 500)
            reply = replies.for_error(error)
            self.assertEqual(reply[:2], expected)
            self.assertNotIn(b"\r\n250 yes", reply.render())


class OutcomeTests(SynchronousTestCase):
    def after(self, **outcomes: MailError | None) -> replies.Reply:
        envelope = make_envelope(*outcomes)
        found = [Outcome(r, outcomes[r.path.local_part]) for r in envelope.recipients]
        return replies.after_content(found, "t1")

    def test_all_is_well(self) -> None:
        self.assertEqual(self.after(bob=None, eve=None), (250, "2.0.0", "OK, stored as t1"))

    def test_one_recipient_that_failed(self) -> None:
        reply = self.after(bob=errors.OverQuota())
        self.assertEqual(reply, (552, "5.2.2", "The mailbox is full"))

    def test_some_that_failed_are_not_acknowledged(self) -> None:
        reply = self.after(bob=None, eve=errors.OverQuota(), joe=None)
        self.assertEqual(reply[:2], (552, "5.2.2"))
        self.assertIn("<eve@example.org>: The mailbox is full (2 of 3", reply.text)

    def test_a_temporary_failure_counts_more(self) -> None:
        for outcomes in (
            {"bob": errors.OverQuota(), "eve": errors.StoreUnavailable()},
            {"eve": errors.StoreUnavailable(), "bob": errors.OverQuota()},
        ):
            reply = self.after(**outcomes)
            self.assertEqual(reply[:2], (451, "4.3.0"))
            self.assertTrue(reply.text.startswith("<eve@example.org>: "))
            self.assertNotIn("have it", reply.text)
