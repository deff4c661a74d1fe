"""Dovecot's LMTP, IMAP, POP3 and submission on free ports of loopback, apart from the machine's mail."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support import HOST, PATIENCE, free_ports, listens

#: Why a test is skipped; empty where it can be run.
MISSING = (
    "dovecot-lmtpd is not installed"
    if shutil.which("dovecot") is None or not Path("/usr/lib/dovecot/lmtp").exists()
    else "Dovecot wants to be started as root"
    if os.geteuid() != 0
    else ""
)
#: Why a test of its IMAP server is skipped.
IMAP_MISSING = (
    "dovecot-imapd is not installed"
    if not Path("/usr/lib/dovecot/imap-login").exists()
    else MISSING
)
#: Why a test of its submission server is skipped.
SUBMISSION_MISSING = (
    "dovecot-submissiond is not installed"
    if not Path("/usr/lib/dovecot/submission-login").exists()
    else IMAP_MISSING
)
#: Why a test of its POP3 server is skipped.
POP3_MISSING = (
    "dovecot-pop3d is not installed"
    if not Path("/usr/lib/dovecot/pop3-login").exists()
    else IMAP_MISSING
)
#: Who owns the mail: nobody.
_UID = 65534

_CONFIGURATION = """\
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/dovecot.log
protocols = {protocols}
listen = 127.0.0.1
auth_mechanisms = {mechanisms}
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:~/Maildir
hostname = dovecot.example.test
postmaster_address = postmaster@example.test
lmtp_save_to_detail_mailbox = no
{tokens}passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {directory}/passwd
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {directory}/passwd
}}
service auth {{
  unix_listener {directory}/auth {{
    mode = 0666
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
  unix_listener {directory}/lmtp {{
    mode = 0666
  }}
}}
"""


_WITHOUT_IMAP = """\
ssl = no
mail_plugins = quota
plugin {
  quota = maildir:User quota
  quota_rule = *:storage=100K
}
"""
_TOKENS = """\
passdb {{
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = {directory}/oauth2.conf
}}
"""
_TOKENS_VERIFIED = """\
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={directory}/keys/
"""
_SUBMISSION = """\
submission_relay_host = 127.0.0.1
submission_relay_port = 1
service submission-login {{
  inet_listener submission {{
    port = {submission}
  }}
}}
"""
_POP3 = """\
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
"""
_IMAP = """\
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
auth_failure_delay = 0
mail_max_userip_connections = 100
mail_attribute_dict = file:%h/attributes
imap_metadata = yes
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
"""


class Dovecot:
    """Delivers to the users that it is given, each into a Maildir of at most 100 KiB.

    :param tls: files of a certificate and its key: then it serves IMAP too, and the Maildirs have
        no limit. Every password is ``x``.
    :param mechanisms: of SASL, with TLS.
    :param token_key: tokens of OAuth 2.0 are taken too: JWTs that are signed with it (HS256), with the
        user in ``email``.
    :param submission: serve submission too: logins, for what is submitted goes nowhere.
    :param pop3: serve POP3 too.
    """

    def __init__(
        self,
        *users: str,
        tls: tuple[str, str] | None = None,
        mechanisms: str = "plain",
        token_key: bytes = b"",
        submission: bool = False,
        pop3: bool = False,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="dovecot-"))
        self.directory.chmod(0o755)
        self.port, self.imap_port, self.imaps_port, self.submission_port = free_ports(4)
        self.pop3_port, self.pop3s_port = free_ports(2)
        #: Paths of the UNIX sockets: for mail, and for other servers that check passwords.
        self.socket = str(self.directory / "lmtp")
        self.auth_socket = str(self.directory / "auth")
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("run", "state", "home"):
            (self.directory / name).mkdir()
        os.chown(self.directory / "home", _UID, _UID)
        (self.directory / "passwd").write_text(
            "".join(
                f"{user}:{{PLAIN}}x:{_UID}:{_UID}::{self.directory}/home/{user}::\n"
                for user in users
            )
        )
        self._ports = [self.port]
        more = _WITHOUT_IMAP
        if tls is not None:
            more = _IMAP.format(
                certificate=tls[0], key=tls[1], imap=self.imap_port, imaps=self.imaps_port
            )
            self._ports += [self.imap_port, self.imaps_port]
        protocols = "lmtp imap" if tls is not None else "lmtp"
        if submission:
            more += _SUBMISSION.format(submission=self.submission_port)
            self._ports.append(self.submission_port)
            protocols += " submission"
        if pop3:
            more += _POP3.format(pop3=self.pop3_port, pop3s=self.pop3s_port)
            self._ports += [self.pop3_port, self.pop3s_port]
            protocols += " pop3"
        (self.directory / "dovecot.conf").write_text(
            _CONFIGURATION.format(
                directory=self.directory,
                port=self.port,
                protocols=protocols,
                mechanisms=mechanisms,
                tokens=self._take_tokens(token_key) if token_key else "",
            )
            + more
        )

    def _take_tokens(self, key: bytes) -> str:
        """Files for that, and what the configuration says of it."""
        path = self.directory / "keys/default/HS256/default"
        path.parent.mkdir(parents=True)
        path.write_bytes(base64.b64encode(key))
        (self.directory / "oauth2.conf").write_text(
            _TOKENS_VERIFIED.format(directory=self.directory)
        )
        return _TOKENS.format(directory=self.directory)

    @property
    def log(self) -> str:
        path = self.directory / "dovecot.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def messages(self, user: str) -> list[bytes]:
        """What the user has got, in no order; line ends are bare LF."""
        directory = self.directory / "home" / user / "Maildir" / "new"
        return [path.read_bytes() for path in directory.iterdir()] if directory.exists() else []

    def start(self) -> Dovecot:
        """Start it and wait until it listens.

        :raises AssertionError: it does not.
        """
        with open(self.directory / "output", "ab") as output:
            self._process = subprocess.Popen(
                ["dovecot", "-F", "-c", str(self.directory / "dovecot.conf")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        give_up = time.monotonic() + PATIENCE
        while not all(listens(port) for port in self._ports):
            if self._process.poll() is not None or time.monotonic() > give_up:
                said = (self.directory / "output").read_text("utf-8", "replace") + self.log
                self.stop()
                raise AssertionError(f"Dovecot did not start on {HOST}:\n{said}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """End it and remove all that it has written."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(PATIENCE)
        shutil.rmtree(self.directory, ignore_errors=True)
