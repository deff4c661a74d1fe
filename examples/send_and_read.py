"""Ann writes to Bob by submission, Bob reads by IMAP: try it beside `make run`."""

import email
import email.policy
import imaplib
import smtplib
import ssl
import sys
from email.message import EmailMessage

HOST = "127.0.0.1"
# Ports of submission and IMAP, both with TLS from the first octet; others may be given.
submissions, imaps = (int(port) for port in sys.argv[1:3] or (2465, 2993))
# The demonstration's own certificate; one of a public authority needs no argument here.
trusted = ssl.create_default_context(cafile="mailkit-data/tls/certificate.pem")

message = EmailMessage()
message["From"] = "ann@example.test"
message["To"] = "bob@example.test"
message["Subject"] = "Grüße"
message.set_content("How are you, Bob?\n")
with smtplib.SMTP_SSL(HOST, submissions, context=trusted) as client:
    client.login("ann@example.test", "ann-demo")
    client.send_message(message)

with imaplib.IMAP4_SSL(HOST, imaps, ssl_context=trusted) as mailbox:
    mailbox.login("bob@example.test", "bob-demo")
    mailbox.select("INBOX")
    _, (numbers,) = mailbox.search(None, "ALL")
    _, ((_, octets), _) = mailbox.fetch(numbers.split()[-1].decode(), "(BODY[])")
    received = email.message_from_bytes(octets, policy=email.policy.default)
    print(received["Received"])
    print(received["Subject"], "--", received.get_content())
