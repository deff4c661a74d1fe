"""Mail servers in a program of yours that twistd runs: twistd -ny service.tac."""

import os

from twisted.application.service import Application

from mailkit.tap.services import MailService

application = Application("my application")

mail = MailService(
    os.environ.get("MAILKIT_STORE", "sqlite:mailkit-data"),
    hostname="localhost",
)
mail.add_smtp("tcp:2525:interface=127.0.0.1")
mail.add_submission("tcp:2587:interface=127.0.0.1")
mail.add_imap("tcp:2143:interface=127.0.0.1")
mail.setServiceParent(application)
