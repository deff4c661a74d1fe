"""``twistd mailkit-lmtp``: an LMTP server to which other mail servers deliver."""

from __future__ import annotations

from mailkit.tap.listeners import HELP
from mailkit.tap.options import ListenOptions
from mailkit.tap.relay import TrustOptions
from mailkit.tap.shared_options import TakingOptions
from mailkit.tap.twistd import make_service


class Options(TakingOptions, TrustOptions, ListenOptions):
    """Settings of the LMTP server."""

    endpoint_options = {"lmtp": "listen"}
    longdesc = (
        "An LMTP server (RFC 2033): mail servers of this site, such as Postfix and Exim, hand over"
        " mail for the accounts and aliases of the store and get a reply for each recipient. Whoever"
        " can connect is believed, so listen on a UNIX socket or a private address; the server"
        f" refuses port 25.{HELP}"
    )
    examples = """\
  twistd mailkit-lmtp --listen unix:/run/mailkit/lmtp:mode=660 --store sqlite:/var/lib/mailkit
  twistd -n mailkit-lmtp --listen tcp:2424:interface=127.0.0.1

  In Postfix's main.cf:
    virtual_transport = lmtp:unix:/run/mailkit/lmtp
    virtual_transport = lmtp:inet:127.0.0.1:2424
"""


makeService = make_service
