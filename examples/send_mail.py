"""Send one mail under Twisted: ``send_mail.py SERVER SENDER RECIPIENT...``."""

import sys
from email.message import EmailMessage

from twisted.internet import task
from twisted.internet.defer import Deferred

from mailkit.smtp.client import SendFailed, sendmail


async def main(server: str, sender: str, *recipients: str) -> None:
    message = EmailMessage()
    message["From"], message["To"] = sender, ", ".join(recipients)
    message["Subject"] = "Grüße"
    message.set_content("How are you?\n")
    try:
        result = await sendmail(server, sender, recipients, message)
    except SendFailed as failure:
        result = failure.result
    for outcome in result.outcomes:
        print(outcome.recipient.path, outcome.status.value, outcome.code, outcome.text)


task.react(lambda reactor: Deferred.fromCoroutine(main(*sys.argv[1:])))
