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
            share = partial(self._factory.locks.share, store.try_lock, store.others_know)
            ends.append(store.when_shared(share))
        if IProcessChannel.providedBy(store):
            self._channel = store
            ends.append(store.listen(_TOPIC, self._told))

        def end() -> None:
            while ends:
                ends.pop()()

        return end

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
