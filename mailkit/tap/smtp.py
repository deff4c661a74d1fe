"""``twistd mailkit-smtp``: an SMTP server that takes mail for local users."""

from __future__ import annotations

from mailkit.tap.listeners import HELP
from mailkit.tap.options import ListenOptions
from mailkit.tap.relay import TrustOptions
from mailkit.tap.shared_options import SendingOptions, TakingOptions
from mailkit.tap.twistd import make_service


class Options(TakingOptions, TrustOptions, SendingOptions, ListenOptions):
    """Settings of the SMTP server."""

    endpoint_options = {"smtp": "listen"}
    longdesc = (
        "An SMTP server (RFC 5321) that takes mail from anybody for the accounts and aliases of the"
        f" store. Mail for other domains is refused. With --tls it offers STARTTLS.{HELP}"
    )
    examples = """\
  twistd -n mailkit-smtp --listen tcp:2525:interface=127.0.0.1 --store sqlite:mailkit-data
  twistd mailkit-smtp --listen tcp:25 --listen tcp6:25 --tls cert.pem,key.pem
"""


makeService = make_service
