"""The POP3 servers of a store's other processes, which have maildrops too."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from mailkit.interfaces import IProcessChannel, IProcessLocks
from mailkit.pop3.liveness import PROBE_SECONDS

if TYPE_CHECKING:
    from mailkit.pop3.protocol import POP3Factory

_TOPIC = "mailkit.pop3"
#: Seconds after which somebody who waits for a maildrop of another process looks again.
LOOK_SECONDS = 0.5
#: Seconds after the start in which the kernel is asked for maildrops though nobody else has come: a
#: process that has lost the store's owner turns to the next one within three of them.
SETTLE_SECONDS = 10.0


class Neighbours:
    """What is told to the other processes of a store, and what they tell.

    Who wants a maildrop, so that the process that has it asks whether its client is still there; and
    who has logged in, as long as the login delay lasts.
    """

    def __init__(self, factory: POP3Factory) -> None:
        self._factory = factory
        self._channel: IProcessChannel | None = None

    def share(self, store: Any) -> Callable[[], None]:
        """Have one session an account in all processes that have the store open, where it can tell.

        :returns: a function that ends listening to them.
        """
        ends = []
        if IProcessLocks.providedBy(store):
            ends.append(self._share_locks(store))
        if IProcessChannel.providedBy(store):
            self._channel = store
            ends.append(store.listen(_TOPIC, self._told))

        def end() -> None:
            while ends:
                ends.pop()()

        return end

    def _share_locks(self, store: Any) -> Callable[[], None]:
        factory = self._factory
        assert factory.clock is not None
        share = partial(factory.locks.share, store.try_lock, store.others_know)
        # A process that has lost its owner may have maildrops, and be about to turn to this one.
        share()
        ends: list[Callable[[], None]] = []

        def settle() -> None:
            alone = True

            def shared() -> None:
                nonlocal alone
                alone = False
                share()

            ends[:] = [store.when_shared(shared)]
            if alone:
                factory.locks.keep_alone()

        waiting = factory.clock.callLater(SETTLE_SECONDS, settle)
        ends.append(waiting.cancel)
        return lambda: ends.pop()()

    def ask(self, account: str) -> bool:
        """Have whoever has a maildrop find out about its client; whether that is possible."""
        if self._channel is None:
            return False
        self._channel.send_message(_TOPIC, {"wanted": account})
        return True

    def tell_login(self, account: str, delay: int) -> None:
        """The account may log in again after so many seconds."""
        if self._channel is not None:
            self._channel.send_message(_TOPIC, {"login": account, "delay": delay})

    def _told(self, message: Any) -> None:
        factory = self._factory
        assert factory.clock is not None
        if "login" in message:
            factory.locks.logged_in(message["login"], factory.clock.seconds(), message["delay"])
            return
        holder = factory.sessions.get(message["wanted"])
        if holder is None or holder.gives_way():
            return
        if holder.ask():
            factory.clock.callLater(PROBE_SECONDS, holder.end_asking)
