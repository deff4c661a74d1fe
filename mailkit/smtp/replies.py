"""Replies of the server: what an error means in SMTP, and texts that are sent often."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mailkit import errors
from mailkit.errors import MailError
from mailkit.model import Outcome
from mailkit.smtp.grammar import Reply
from mailkit.statuscodes import codes_of

# RFC 2920 section 3.2 (10): the text shows which command it answers.
SENDER_OK = Reply(250, "2.1.0", "Sender OK").render()
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient OK").render()
START_CONTENT = Reply(354, "", "Send the message, end it with <CRLF>.<CRLF>").render()
RESET = Reply(250, "2.0.0", "Reset").render()
OK = Reply(250, "2.0.0", "OK").render()

UNKNOWN_COMMAND = Reply(500, "5.5.2", "Command not recognized, try HELP")
LINE_TOO_LONG = Reply(500, "5.5.2", "Line too long")
INTERNAL_ERROR = Reply(451, "4.3.0", "Something went wrong here, please try again later")
AUTHENTICATION_REQUIRED = Reply(530, "5.7.0", "Authentication required")

BARE_LINE_END = Reply(
    550, "5.5.2", "The message has a CR or LF that stands alone; line ends must be CRLF"
)
MAIL_LOOP = Reply(554, "5.4.6", "Too many Received fields, this looks like a mail loop")
NO_SPACE = Reply(452, "4.3.1", "There is no room for the message here, please try again later")


def too_large(limit: int) -> Reply:
    """RFC 1870 section 6.1 and RFC 3463 X.3.4."""
    return Reply(552, "5.3.4", f"The message is larger than {limit} octets")


# RFC 3463 section 2.
_ENHANCED = re.compile(r"[45]\.\d{1,3}\.\d{1,3}", re.ASCII)


def header_too_large(limit: int) -> Reply:
    """The same for the header alone."""
    return Reply(552, "5.3.4", f"The message header is larger than {limit} octets")


def for_error(error: MailError) -> Reply:
    """The reply that tells a client of an error."""
    if isinstance(error, errors.RefusedElsewhere):
        return _passed_on(error)
    return Reply(*codes_of(error), error.text)


def _passed_on(error: errors.RefusedElsewhere) -> Reply:
    """The reply of another server. What it says of its own session means nothing in ours."""
    code = error.code if error.code // 10 in (45, 55) else 451 if error.temporary else 554
    first = str(code)[0]
    enhanced = error.enhanced if _ENHANCED.fullmatch(error.enhanced) else ""
    if not enhanced.startswith(first):
        enhanced = f"{first}.0.0"
    return Reply(code, enhanced, error.text)


def for_outcome(outcome: Outcome, transaction_id: str) -> Reply:
    """What became of one recipient; the text names it."""
    if outcome.error is None:
        return Reply(250, "2.0.0", f"<{outcome.recipient.path}> OK, stored as {transaction_id}")
    reply = for_error(outcome.error)
    return reply._replace(text=f"<{outcome.recipient.path}>: {reply.text}")


def after_content(outcomes: Sequence[Outcome], transaction_id: str) -> Reply:
    """The one reply after the final dot.

    A delivery that can report to the sender, or try again by itself, tells no error of what it
    takes care of (RFC 5321 section 4.4). What it does tell is not acknowledged: one failure fails
    the transaction and the sender keeps the message. A temporary failure counts more than a
    permanent one: the sender tries again, and rather gets it to somebody twice than to somebody
    never. The text names the recipient.
    """
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if not failed:
        return Reply(250, "2.0.0", f"OK, stored as {transaction_id}")
    if len(outcomes) == 1 and outcomes[0].error is not None:
        return for_error(outcomes[0].error)
    reply = min((for_outcome(o, transaction_id) for o in failed), key=lambda r: r.code // 100)
    if len(failed) < len(outcomes):
        text = f"{reply.text} ({len(outcomes) - len(failed)} of {len(outcomes)} recipients have it)"
        return reply._replace(text=text)
    return reply
