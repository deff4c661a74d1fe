"""Peers that come as system packages: Dovecot 2.3 alone, and behind Postfix. Optional.

Both switch users, so they run only where this program runs as root; everything they write is in
the benchmark's directory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from .peers import DOMAIN, PASSWORD, USERS, Peer, user

#: nobody and nogroup, who own the mail on disk.
_OWNER = 65534

_DOVECOT = """
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/dovecot.log
protocols = imap pop3 lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
auth_cache_size = 16M
auth_cache_ttl = 1 hour
default_client_limit = 4000
default_process_limit = 2000
mail_max_userip_connections = 5000
first_valid_uid = 1
first_valid_gid = 1
mail_location = {location}
maildir_very_dirty_syncs = yes
hostname = mx.{domain}
postmaster_address = postmaster@{domain}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {directory}/passwd
}}
userdb {{
  driver = static
  args = uid={owner} gid={owner} home={directory}/home/%u
}}
service lmtp {{
  process_min_avail = 4
  service_count = 0
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
service auth {{
  client_limit = 10000
}}
service anvil {{
  client_limit = 10000
}}
"""
_DOVECOT_LISTENER = """
service {kind}-login {{
  service_count = 0
  process_min_avail = 2
  client_limit = 3000
  process_limit = 4
  vsz_limit = 1G
  inet_listener {kind} {{
    address = 127.0.0.1
    port = {port}
  }}
  inet_listener {kind}s {{
    port = 0
  }}
}}
service {kind} {{
  service_count = 1000
  process_min_avail = 4
  process_limit = 2000
}}
"""
_POSTFIX_MASTER = """
127.0.0.1:{smtp} inet n - n - 100 smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
_POSTFIX_MAIN = """
compatibility_level = 3.6
queue_directory = {postfix}/queue
data_directory = {postfix}/lib
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
shlib_directory = /usr/lib/postfix
meta_directory = /etc/postfix
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.{domain}
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
disable_dns_lookups = yes
smtp_host_lookup = native
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = {domain}
virtual_mailbox_maps = hash:{postfix}/etc/mailboxes
virtual_transport = lmtp:inet:127.0.0.1:{lmtp}
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
in_flow_delay = 0
initial_destination_concurrency = 20
lmtp_destination_recipient_limit = 50
message_size_limit = 50000000
mailbox_size_limit = 0
maillog_file_prefixes = {postfix}
maillog_file = {postfix}/mail.log
"""


class Dovecot(Peer):
    """Dovecot with Maildir: authentication cache, login processes in high-performance mode."""

    name = "dovecot"
    durable = "yes: fdatasync of mail and index"
    kinds: ClassVar[Sequence[str]] = ("imap", "pop3", "lmtp")
    location = "maildir:~/Maildir"
    programs: ClassVar[Sequence[str]] = ("dovecot",)

    @override
    def missing(self) -> str:
        absent = [name for name in self.programs if shutil.which(name) is None]
        if absent:
            return ", ".join(absent)
        return "" if os.getuid() == 0 else "root, to switch users"

    @override
    def configure(self) -> None:
        place = self.directory
        for part in ("run", "state", "home"):
            (place / part).mkdir()
        os.chown(place / "home", _OWNER, _OWNER)
        logins = (f"{user(n).decode()}:{{PLAIN}}{PASSWORD}::::::\n" for n in range(USERS))
        (place / "passwd").write_text("".join(logins))
        settings = _DOVECOT.format(
            directory=place,
            location=self.location,
            domain=DOMAIN,
            owner=_OWNER,
            lmtp=self.ports["lmtp"],
        )
        for kind in ("imap", "pop3"):
            settings += _DOVECOT_LISTENER.format(kind=kind, port=self.ports[kind])
        (place / "dovecot.conf").write_text(settings)

    @override
    def launch(self) -> None:
        self.spawn("dovecot", "-F", "-c", self.directory / "dovecot.conf")


class DovecotMdbox(Dovecot):
    """Dovecot with its own mailbox format."""

    name = "dovecot-mdbox"
    location = "mdbox:~/mdbox"


class Postfix(Dovecot):
    """Postfix that hands over to Dovecot by LMTP: two process trees."""

    name = "postfix"
    durable = "yes: queue file flushed before 250, then Dovecot"
    kinds: ClassVar[Sequence[str]] = ("smtp", "imap", "pop3", "lmtp")
    programs = ("dovecot", "postfix", "postmap")

    @property
    def _postfix(self) -> Path:
        return self.directory / "postfix"

    @override
    def configure(self) -> None:
        super().configure()
        for part in ("etc", "queue", "lib"):
            (self._postfix / part).mkdir(parents=True)
        shutil.chown(self._postfix / "lib", "postfix")
        for name in ("postfix-files", "postfix-script", "post-install"):
            if (source := Path("/etc/postfix", name)).exists():
                shutil.copy(source, self._postfix / "etc")
        etc = self._postfix / "etc"
        (etc / "master.cf").write_text(_POSTFIX_MASTER.format(**self.ports))
        (etc / "main.cf").write_text(
            _POSTFIX_MAIN.format(postfix=self._postfix, domain=DOMAIN, **self.ports)
        )
        known = (f"{user(n).decode()} ok\n" for n in range(USERS))
        (etc / "mailboxes").write_text("".join(known))
        subprocess.run(["postmap", "-c", str(etc), f"hash:{etc}/mailboxes"], check=True)

    @override
    def launch(self) -> None:
        super().launch()
        self.spawn("postfix", "-c", self._postfix / "etc", "start-fg")

    @override
    def stop(self) -> None:
        if len(self.pids) > 1:
            command = ["postfix", "-c", str(self._postfix / "etc"), "stop"]
            subprocess.run(command, stderr=subprocess.DEVNULL)
        super().stop()
