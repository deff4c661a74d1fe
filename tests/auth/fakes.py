"""A directory and a store that hold a few names, and an executor that works when told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any

from zope.interface import implementer

from mailkit.errors import AccountExists, MailError, NoSuchAccount
from mailkit.identity import Login
from mailkit.interfaces import (
    IDirectory,
    IDirectoryAdmin,
    ILoginDirectory,
    IMailAccount,
    IMailStore,
)


class ManualExecutor(Executor):
    """Runs work on the caller's thread, when asked; also what a hasher needs of a reactor."""

    def __init__(self) -> None:
        self.results: list[Callable[[], Any]] = []
        self.waiting: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.closed = False
        self.ran = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[Any] = Future()
        self.waiting.append((future, lambda: fn(*args, **kwargs)))
        return future

    def run(self) -> None:
        waiting, self.waiting = self.waiting, []
        for future, work in waiting:
            if not future.set_running_or_notify_cancel():
                continue
            self.ran += 1
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)
        self.deliver()

    def deliver(self) -> None:
        while self.results:
            self.results.pop(0)()

    def callFromThread(self, call: Any, *args: Any) -> None:  # noqa: N802
        self.results.append(lambda: call(*args))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.closed = True
        waiting, self.waiting = self.waiting, []
        for future, _ in waiting:
            future.cancel()
            future.set_running_or_notify_cancel()


class ImmediateExecutor(ManualExecutor):
    """Runs work at once and delivers at once."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = super().submit(fn, *args, **kwargs)
        self.run()
        return future

    def callFromThread(self, call: Any, *args: Any) -> None:  # noqa: N802
        call(*args)


@implementer(IMailAccount)
class FakeAccount:
    def __init__(self, name: str) -> None:
        self.name = name

    async def list_mailboxes(self) -> Sequence[Any]:
        return []

    async def open_mailbox(self, name: str) -> Any:
        raise NotImplementedError(name)


@implementer(IMailStore, IDirectory)
class FakeStore:
    """Accounts by name with their stored passwords; a bare local part finds a lone domain."""

    def __init__(self, **hashes: str | None) -> None:
        self.hashes = {f"{name}@example.org": stored for name, stored in hashes.items()}
        self.trouble: MailError | None = None

    async def open_account(self, name: str) -> FakeAccount:
        if name not in self.hashes:
            raise NoSuchAccount
        return FakeAccount(name)

    async def deliver(self, message: Any, deliveries: Any) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        self.hashes.clear()

    async def find_account(self, login: str) -> str | None:
        if self.trouble is not None:
            raise self.trouble
        login = login.lower()
        domains = {name.partition("@")[2] for name in self.hashes}
        if "@" not in login and login not in self.hashes and len(domains) == 1:
            login = f"{login}@{domains.pop()}"
        return login if login in self.hashes else None

    async def get_password_hash(self, account: str) -> str | None:
        return self.hashes.get(account)

    async def resolve(self, path: Any) -> Any:
        raise NotImplementedError

    async def owns_address(self, account: str, path: Any) -> bool:
        raise NotImplementedError


@implementer(ILoginDirectory)
class FakeLoginStore(FakeStore):
    """The same, asked once for each login."""

    async def find_login(self, login: str) -> Login | None:
        account = await FakeStore.find_account(self, login)
        return None if account is None else Login(account, self.hashes[account])


@implementer(IDirectoryAdmin)
class FakeAdminStore(FakeStore):
    """The same, and accounts can be made."""

    domains: tuple[str, ...] = ()

    async def list_domains(self) -> Sequence[str]:
        return sorted({*self.domains, *(n.partition("@")[2] for n in self.hashes)} - {""})

    async def add_account(self, name: str, password_hash: str | None = None) -> None:
        if name in self.hashes:
            raise AccountExists
        self.hashes[name] = password_hash
