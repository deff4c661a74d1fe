"""``twistd mailkit``: all servers over one store, set up by options or by one TOML file."""

from __future__ import annotations

from mailkit.tap.capabilities import CapabilityOptions
from mailkit.tap.factories import PORT_NAMES
from mailkit.tap.ftp_settings import FTPOptions
from mailkit.tap.guests import GuestOptions
from mailkit.tap.imap_settings import IMAPOptions
from mailkit.tap.listeners import HELP
from mailkit.tap.pop3_settings import POP3Options
from mailkit.tap.relay import TrustOptions
from mailkit.tap.settings_file import SettingsFileOptions
from mailkit.tap.shared_options import SubmissionOptions, TakingOptions
from mailkit.tap.sharing import SharingOptions
from mailkit.tap.twistd import make_service


class Options(
    SettingsFileOptions,
    TakingOptions,
    TrustOptions,
    SubmissionOptions,
    CapabilityOptions,
    IMAPOptions,
    POP3Options,
    FTPOptions,
    SharingOptions,
    GuestOptions,
):
    """Settings of the whole mail server."""

    endpoint_options = {name: name for name in PORT_NAMES}
    longdesc = (
        "A mail server: SMTP and LMTP for incoming mail, submission for users who send, POP3 and IMAP for"
        " users who read, FTP for their files, over one store. Accounts are made with the command `mailkit account add"
        " ADDRESS`, also while the server runs. Names that end in s (submissions, pop3s, imaps, ftps) are"
        " for TLS from the first octet. An ENDPOINT is Twisted's: tcp:2525:interface=127.0.0.1,"
        f" tcp6:25, unix:/run/mail, systemd:domain=INET:index=0.{HELP}"
    )
    examples = """\
  Try it out on this machine, without TLS:
    mailkit account add ann@example.org
    twistd -n mailkit --smtp tcp:2525:interface=127.0.0.1 --imap tcp:2143:interface=127.0.0.1

  Serve a domain (as root, who may use these ports; then as the user mail):
    twistd --uid mail --gid mail mailkit --store sqlite:/var/lib/mailkit \\
      --tls /etc/mail/cert.pem,/etc/mail/key.pem --smtp tcp:25 --submission tcp:587 \\
      --submissions tcp:465 --imap tcp:143 --imaps tcp:993

  The same from a file:
    twistd --uid mail --gid mail mailkit --config /etc/mailkit.toml

      store = "sqlite:/var/lib/mailkit"
      tls = ["/etc/mail/cert.pem", "/etc/mail/key.pem"]
      smtp = ["tcp:25", "tcp6:25"]
      imaps = "tcp:993"
      max-message-size = "50M"
"""

    def opt_smtp(self, endpoint: str) -> None:
        """Take mail from other servers at this ENDPOINT (port 25); may be repeated."""
        self.add_endpoint("smtp", endpoint)

    def opt_lmtp(self, endpoint: str) -> None:
        """Take mail from your own mail servers by LMTP, best at unix:PATH; may be repeated."""
        self.add_endpoint("lmtp", endpoint)

    def opt_submission(self, endpoint: str) -> None:
        """Take mail from users who log in (port 587); may be repeated."""
        self.add_endpoint("submission", endpoint)

    def opt_submissions(self, endpoint: str) -> None:
        """The same with TLS from the first octet (port 465); may be repeated."""
        self.add_endpoint("submissions", endpoint)

    def opt_pop3(self, endpoint: str) -> None:
        """Serve POP3 (port 110); may be repeated."""
        self.add_endpoint("pop3", endpoint)

    def opt_pop3s(self, endpoint: str) -> None:
        """Serve POP3 with TLS from the first octet (port 995); may be repeated."""
        self.add_endpoint("pop3s", endpoint)

    def opt_imap(self, endpoint: str) -> None:
        """Serve IMAP (port 143); may be repeated."""
        self.add_endpoint("imap", endpoint)

    def opt_imaps(self, endpoint: str) -> None:
        """Serve IMAP with TLS from the first octet (port 993); may be repeated."""
        self.add_endpoint("imaps", endpoint)

    def opt_ftp(self, endpoint: str) -> None:
        """Serve accounts' files by FTP (port 21); may be repeated."""
        self.add_endpoint("ftp", endpoint)

    def opt_ftps(self, endpoint: str) -> None:
        """Serve FTP with TLS from the first octet (port 990); may be repeated."""
        self.add_endpoint("ftps", endpoint)


makeService = make_service
