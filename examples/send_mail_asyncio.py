"""Send one mail under asyncio: ``send_mail_asyncio.py SERVER SENDER RECIPIENT...``."""

import asyncio
import sys
from email.message import EmailMessage

from mailkit.smtp.client import SendFailed, asyncio_sendmail


async def main(server: str, sender: str, *recipients: str) -> None:
    message = EmailMessage()
    message["From"], message["To"] = sender, ", ".join(recipients)
    message["Subject"] = "Grüße"
    message.set_content("How are you?\n")
    try:
        result = await asyncio_sendmail(server, sender, recipients, message)
    except SendFailed as failure:
        result = failure.result
    for outcome in result.outcomes:
        print(outcome.recipient.path, outcome.status.value, outcome.code, outcome.text)


asyncio.run(main(*sys.argv[1:]))
