"""The servers under test: mailkit and Python's other mail servers.

A peer serves accounts ``user0@example.test`` and so on, all with one password, and takes mail for
them without a login. It listens on free ports of 127.0.0.1 and keeps all it writes in one
directory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from . import process
from .corpus import Mail
from .imap import IMAP
from .sessions import connect

DOMAIN = "example.test"
PASSWORD = "pw"
#: Accounts of each server.
USERS = 60
_SERVERS = Path(__file__).resolve().parent.parent / "servers"
#: Seconds that a server may take to listen, and to end.
_READY = 30
_END = 10


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has; all at once, or the same one might come twice."""
    with contextlib.ExitStack() as stack:
        listening = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in listening:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in listening]


def user(number: int) -> bytes:
    """Address and login of an account."""
    return b"user%d@%s" % (number, DOMAIN.encode())


class Peer(ABC):
    """A server, started afresh in an empty directory for each workload.

    :param python: interpreter in whose environment the Python servers are installed.
    """

    name: ClassVar[str]
    #: What is on disk when it has said OK; begins with ``no`` where a crash loses mail.
    durable: ClassVar[str]
    #: Which of smtp, lmtp, imap and pop3 it serves.
    kinds: ClassVar[Sequence[str]]
    #: A restart loses the mail.
    memory_only: ClassVar[bool] = False

    def __init__(self, python: str) -> None:
        self.python = python
        self.ports: dict[str, int] = {}
        self.directory = Path()
        self._running: list[subprocess.Popen[bytes]] = []

    def missing(self) -> str:
        """What must be installed before it can run; empty when all is there."""
        return ""

    def configure(self) -> None:
        """Write what the server needs into :attr:`directory`, once before it starts."""

    @abstractmethod
    def launch(self) -> None:
        """Start the server's processes on :attr:`ports`, with :meth:`spawn`."""

    def start(self, directory: Path) -> None:
        """Start in an empty directory and wait until all ports answer."""
        self.directory = directory
        directory.mkdir(parents=True)
        directory.chmod(0o755)
        self.ports = dict(zip(self.kinds, _free_ports(len(self.kinds)), strict=True))
        self.configure()
        self.launch()
        self._wait()

    def restart(self) -> None:
        """The same mail, fresh processes."""
        self.stop()
        self.launch()
        self._wait()

    def spawn(self, *command: str | Path | int) -> None:
        """Start a process that stays in the foreground and ends on SIGTERM."""
        with open(self.directory / "server.log", "ab") as log:
            self._running.append(
                subprocess.Popen(
                    [str(word) for word in command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.directory,
                    start_new_session=True,
                )
            )

    def _wait(self) -> None:
        deadline = time.monotonic() + _READY
        for kind in self.kinds:
            while True:
                try:
                    with connect(self.ports[kind], timeout=5) as connection:
                        connection.recv(1)
                    break
                except OSError:
                    ended = any(running.poll() is not None for running in self._running)
                    if ended or time.monotonic() > deadline:
                        log = (self.directory / "server.log").read_text(errors="replace")
                        raise RuntimeError(f"{kind} is not up:\n{log[-1500:]}") from None
                    time.sleep(0.05)

    def stop(self) -> None:
        """End the processes; those that do not end are killed."""
        for running in reversed(self._running):
            running.terminate()
        for running in reversed(self._running):
            try:
                running.wait(_END)
            except subprocess.TimeoutExpired:
                for pid in process.tree([running.pid]):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                running.wait()
        self._running = []

    @property
    def pids(self) -> list[int]:
        """The processes that :meth:`spawn` started; others may be below them."""
        return [running.pid for running in self._running]

    def maildir(self, number: int) -> Path:
        """Where a server without IMAP keeps the mail of an account."""
        raise LookupError(f"{self.name} has no Maildir")

    def counter(self, numbers: Sequence[int]) -> Callable[[], int]:
        """A function that counts the messages that readers of these INBOXes see."""
        if "imap" in self.kinds:
            readers = [IMAP(self.ports["imap"], user(n), PASSWORD.encode()) for n in numbers]
            return lambda: sum(reader.count() for reader in readers)
        folders = [self.maildir(n) / part for n in numbers for part in ("new", "cur")]
        return lambda: sum(len(os.listdir(folder)) for folder in folders if folder.is_dir())

    def seed(self, number: int, mails: Sequence[Mail]) -> None:
        """Put mail that came in earlier into an INBOX."""
        if "imap" in self.kinds:
            connection = IMAP(self.ports["imap"], user(number), PASSWORD.encode())
            connection.append(mails)
            connection.close()
        else:
            _write_maildir(self.maildir(number), mails)


def _write_maildir(path: Path, mails: Sequence[Mail]) -> None:
    for part in ("tmp", "new", "cur", ".Trash/cur"):
        (path / part).mkdir(parents=True, exist_ok=True)
    for number, mail in enumerate(mails):
        flags = "".join(sorted(flag[1] for flag in mail.flags))
        name = f"{mail.arrived}.M{number}Q{time.monotonic_ns()}.bench:2,{flags}"
        (path / "cur" / name).write_bytes(mail.content.replace(b"\r\n", b"\n"))


class Mailkit(Peer):
    """``twistd mailkit`` with the embedded store; passwords are argon2id, as always."""

    name = "mailkit"
    durable = "yes: flushed before 250 and before the tagged OK"
    kinds = ("smtp", "lmtp", "imap", "pop3")
    #: Processes that serve.
    workers = 1

    def __init__(self, python: str) -> None:
        super().__init__(python)
        self._template: Path | None = None

    @override
    def configure(self) -> None:
        store = self.directory / "store"
        if self._template is None:
            # Hashing passwords takes a while: made once, copied for the next workload.
            self._template = self.directory.parent / f"{self.name}-accounts"
            addresses = [user(number).decode() for number in range(USERS)]
            command = [self.python, str(_SERVERS / "mailkit_accounts.py")]
            command += [f"sqlite:{self._template}", PASSWORD, *addresses]
            subprocess.run(command, check=True, capture_output=True)
        shutil.copytree(self._template, store)

    @override
    def launch(self) -> None:
        listen: list[str] = []
        for kind, port in self.ports.items():
            listen += [f"--{kind}", f"tcp:{port}:interface=127.0.0.1"]
        self.spawn(
            *(Path(self.python).parent / "twistd", "-n", "--pidfile=", "mailkit"),
            *("--store", f"sqlite:{self.directory / 'store'}", *listen),
            *("--max-message-size", "200M", "--workers", self.workers),
        )


class MailkitWorkers(Mailkit):
    """The same in several processes."""

    name = "mailkit-workers"
    workers = 2


class Aiosmtpd(Peer):
    """aiosmtpd with a handler that makes each message durable in the recipient's Maildir."""

    name = "aiosmtpd"
    durable = "yes: fsync of file and directory a recipient, in threads"
    kinds = ("smtp",)
    flags: ClassVar[Sequence[str]] = ("--fsync",)

    @override
    def maildir(self, number: int) -> Path:
        return self.directory / "mail" / f"user{number}"

    @override
    def launch(self) -> None:
        script = _SERVERS / "aiosmtpd_maildir.py"
        mail = self.directory / "mail"
        self.spawn(self.python, script, self.ports["smtp"], mail, USERS, *self.flags)


class AiosmtpdUnsynced(Aiosmtpd):
    """The same without any flush."""

    name = "aiosmtpd-unsynced"
    durable = "no: written, not flushed"
    flags = ()


class Pymap(Peer):
    """pymap with its backend in memory."""

    name = "pymap"
    durable = "no: memory"
    kinds = ("imap",)
    memory_only = True

    @override
    def launch(self) -> None:
        self.spawn(
            *(self.python, _SERVERS / "pymap_dict.py", USERS, DOMAIN, PASSWORD),
            *("--host", "127.0.0.1", "--port", self.ports["imap"], "--no-tls", "dict"),
        )


class TwistedMail(Peer):
    """What ``twistd mail --esmtp`` builds: SMTP and POP3 over Maildir."""

    name = "twisted.mail"
    durable = "no: written, not flushed"
    kinds = ("smtp", "pop3")

    @override
    def maildir(self, number: int) -> Path:
        return self.directory / "mail" / f"user{number}"

    @override
    def launch(self) -> None:
        self.spawn(
            *(self.python, _SERVERS / "twisted_mail.py", self.ports["smtp"], self.ports["pop3"]),
            *(self.directory / "mail", DOMAIN, USERS, PASSWORD),
        )


class TwistedIMAP(Peer):
    """``twisted.mail.imap4.IMAP4Server`` over lists in memory."""

    name = "twisted.mail-imap"
    durable = "no: memory"
    kinds = ("imap",)
    memory_only = True

    @override
    def launch(self) -> None:
        self.spawn(
            *(self.python, _SERVERS / "twisted_imap.py", self.ports["imap"]),
            *(DOMAIN, USERS, PASSWORD),
        )
