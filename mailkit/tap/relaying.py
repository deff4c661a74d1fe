"""``twistd mailkit-relay``: the outbound queue alone, for servers and programs of this site."""

from __future__ import annotations

from mailkit._typing import override
from mailkit.tap.networks import parse_networks
from mailkit.tap.relay import EXCHANGERS, TrustOptions
from mailkit.tap.settings_file import SettingsFileOptions
from mailkit.tap.shared_options import SubmissionOptions, TakingOptions
from mailkit.tap.twistd import make_service


class Options(SettingsFileOptions, TakingOptions, TrustOptions, SubmissionOptions):
    """Settings of the relay."""

    endpoint_options = {
        "smtp": "listen",
        "lmtp": "listen-lmtp",
        "submission": "listen-submission",
        "submissions": "listen-submissions",
    }
    works_alone = True
    longdesc = (
        "An outbound queue: takes mail from the servers and programs of this site (--relay-from), and from"
        " users who log in, and sends it to anybody, now or later. With the store of other servers beside it"
        " (--relay queue) it sends what they queue; with a store of its own they hand their mail to it"
        " (--relay SERVER)."
    )
    examples = """\
  Send what a mail server with the same store queues:
    twistd mailkit --store sqlite:/var/lib/mailkit --smtp tcp:25 --submission tcp:587 --relay queue
    twistd mailkit-relay --store sqlite:/var/lib/mailkit

  Send for this machine, and for the servers of a network, with a store of its own:
    twistd mailkit-relay --store sqlite:/var/lib/mailkit-relay --relay-from 127.0.0.1 \\
      --relay-from 192.0.2.0/24 --listen tcp:25:interface=192.0.2.1

  A mail server that hands its mail to that one:
    twistd mailkit --store sqlite:/var/lib/mailkit --smtp tcp:25 --submission tcp:587 \\
      --relay 192.0.2.1:25
"""

    def opt_listen(self, endpoint: str) -> None:
        """Take mail by SMTP at this ENDPOINT from clients that --relay-from names; may be repeated."""
        self.add_endpoint("smtp", endpoint)

    def opt_listen_lmtp(self, endpoint: str) -> None:
        """The same by LMTP, best at unix:PATH with --relay-from unix; may be repeated."""
        self.add_endpoint("lmtp", endpoint)

    def opt_listen_submission(self, endpoint: str) -> None:
        """Take mail from users who log in (port 587); may be repeated."""
        self.add_endpoint("submission", endpoint)

    def opt_listen_submissions(self, endpoint: str) -> None:
        """The same with TLS from the first octet (port 465); may be repeated."""
        self.add_endpoint("submissions", endpoint)

    @override
    def settle(self) -> None:
        if self["relay"] is None:
            self["relay"] = EXCHANGERS
        with self.naming("relay-from"):
            parse_networks(self.lists["relay-from"], {})
        # Clients that are trusted send as much as they like.
        networks = [each for each in self.lists["relay-from"] if each.lower() != "unix"]
        self.tables["checks"].setdefault("rates", {"exempt": networks} if networks else True)


makeService = make_service
