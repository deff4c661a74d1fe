"""Asking a listener's hooks about one client: in order, with time-outs, and keeping what they say.

See :mod:`mailkit.hooks` for what hooks are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from types import CoroutineType
from typing import Any, Literal, NamedTuple, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailkit.clocks import steady_seconds
from mailkit.coroutines import go_on
from mailkit.errors import MailError
from mailkit.hooks import (
    Accept,
    AddHeader,
    AddRecipient,
    ChangeHeader,
    ChangeSender,
    Defer,
    Discard,
    Edit,
    MailSession,
    Quarantine,
    Reject,
    RemoveRecipient,
    Step,
    check_answers,
    find_steps,
    release,
)
from mailkit.model import Envelope, HookRecord
from mailkit.smtp import replies
from mailkit.smtp.grammar import Refused, Reply

HookFailure = Literal["defer", "accept"]


class HookSettings(NamedTuple):
    """How the hooks of a listener are asked."""

    #: Seconds that a hook may take for a step other than ``message``.
    timeout: float = 30.0
    #: Seconds that a hook may take for a complete message.
    message_timeout: float = 60.0
    #: What a hook that fails or takes too long counts as: a temporary refusal, or nothing.
    failure: HookFailure = "defer"
    #: Tell in a header field of the message what the hooks have said.
    trace: bool = True
    #: Octets of the header of a message; one with a larger header is refused.
    max_header: int = 256 * 1024
    #: Answers that are kept with a message, half as many of the step ``rcpt``; those that follow
    #: are not.
    max_records: int = 200
    #: Calls of ``delivered`` and ``disconnect`` at work at the same time; for another one the
    #: oldest is cancelled.
    max_background: int = 1000


#: The settings where nothing else is said.
HOOK_SETTINGS = HookSettings()

#: Steps whose ``Accept`` holds for more than one message.
_OF_CONNECTION = frozenset((Step.CONNECT, Step.EHLO, Step.AUTH))

FAILED = Reply(451, "4.3.0", "A check failed here, please try again later")


class ClientGone(CancelledError):
    """The client has gone while a hook was at work."""


class _TookTooLong(Exception):
    pass


class _Bound(NamedTuple):
    """A step of a hook."""

    #: Where the hook stands in the list.
    place: int
    name: str
    ask: Callable[..., Any]
    #: Seconds that it may take; None for what the listener's settings say.
    timeout: float | None


class HookSet:
    """The hooks of a listener, sorted by step, for all its connections.

    :param hooks: objects with any steps of ``IMailHook``, or functions for the step ``message``.
    :raises ValueError: one of them is neither, or a setting makes no sense.
    """

    log = Logger()

    def __init__(
        self, hooks: Sequence[object], settings: HookSettings, clock: IReactorTime
    ) -> None:
        if settings.failure not in ("defer", "accept"):
            raise ValueError("the failure of a hook counts as 'defer' or 'accept'")
        if not isinstance(hooks, Sequence):
            raise ValueError(f"hooks is a list of hooks, not {hooks!r} alone")
        self.settings = settings
        self.clock = clock
        #: Tells how long hooks take.
        self.seconds = steady_seconds(clock)
        #: Who is asked, by step; a step that concerns nobody is not there.
        self.steps: dict[Step, list[_Bound]] = {}
        #: Where the last of them stands.
        self.last_place = max(0, len(hooks) - 1)
        self._background: dict[Deferred[Any], None] = {}
        for place, hook in enumerate(hooks):
            for step, ask in find_steps(hook).items():
                self.steps.setdefault(step, []).append(
                    _Bound(place, _name(hook), ask, getattr(hook, "timeouts", {}).get(step))
                )

    @property
    def at_work(self) -> bool:
        """Calls of ``delivered`` or ``disconnect`` are not done yet."""
        return bool(self._background)

    def cancel(self) -> None:
        """Cancel these calls."""
        for task in list(self._background):
            task.cancel()

    def notify(self, step: Step, **arguments: Any) -> None:
        """Tell all hooks of something, without waiting for them."""
        for hook in self.steps.get(step, ()):
            try:
                result = hook.ask(**arguments)
                if _is_awaitable(result):
                    self._let_run(hook, step, result)
            except Exception:
                self._log_failure(hook, step, Failure())

    def _let_run(self, hook: _Bound, step: Step, result: Awaitable[Any]) -> None:
        task = _begin(result)
        call = self.clock.callLater(self.settings.timeout, task.cancel)

        def done(_: object) -> None:
            self._background.pop(task, None)
            if call.active():
                call.cancel()

        while len(self._background) >= self.settings.max_background:
            oldest = next(iter(self._background))
            del self._background[oldest]
            oldest.cancel()
        self._background[task] = None
        task.addErrback(lambda failure: self._log_failure(hook, step, failure))
        task.addBoth(done)

    def _log_failure(self, hook: _Bound, step: Step, failure: Failure) -> None:
        if isinstance(failure.value, CancelledError):
            self.log_slow(hook.name, step)
        else:
            self.log.failure(
                "hook {hook} failed in {step}", failure, hook=hook.name, step=step.value
            )

    def log_slow(self, hook: str, step: Step) -> None:
        """A hook has taken too long."""
        self.log.warn("hook {hook} took too long in {step}", hook=hook, step=step.value)


def _name(hook: object) -> str:
    name = getattr(hook, "name", None) or getattr(hook, "__name__", None)
    return name if isinstance(name, str) else type(hook).__name__


def _is_awaitable(result: object) -> bool:
    return type(result) is CoroutineType or hasattr(result, "__await__")


def _begin(result: Awaitable[Any]) -> Deferred[Any]:
    """What is under way, as a Deferred that can be cancelled."""
    if isinstance(result, Deferred):
        return result
    return Deferred.fromCoroutine(cast(Any, _await(result)))


async def _await(result: Awaitable[Any]) -> Any:
    return await result


async def _fail(error: Exception) -> None:
    raise error


class _Said(NamedTuple):
    """A hook has something to say, or is at work."""

    #: Which of those that have the step.
    number: int
    #: When it was asked.
    started: float
    #: What it has returned.
    result: Any


class HookRunner:
    """Asks the hooks about one client.

    :ivar session: what the hooks see of the client.
    :ivar edits: what hooks want to be changed in the transaction, each with the hook's name.
    :ivar discard: why the message is to be thrown away, or None.
    """

    log = Logger()

    def __init__(self, hooks: HookSet, session: MailSession) -> None:
        self.hooks = hooks
        self.session = session
        self.edits: list[tuple[str, Edit]] = []
        self.discard: str | None = None
        # The place of the last hook that is asked: an Accept makes it the hook's own.
        self._last_at_connect = self._last_of_connection = self._last = hooks.last_place
        # What was said before there was a transaction.
        self._records: list[HookRecord] = []

    def wants(self, step: Step) -> bool:
        """Some hook has this step."""
        return step in self.hooks.steps

    def forget_client(self) -> None:
        """STARTTLS: whatever rests on what the client said before does not hold any more."""
        self._last_of_connection = self._last_at_connect
        self._records = [r for r in self._records if r.step == Step.CONNECT.value]

    def forget_hello(self) -> None:
        """Another EHLO: what was said of the last one is not kept."""
        self._records = [r for r in self._records if r.step != Step.EHLO.value]

    def begin(self, envelope: Envelope) -> None:
        """A transaction begins."""
        self._last = self._last_of_connection
        self.edits = []
        self.discard = None
        envelope.history += self._records

    def ask(
        self, step: Step, envelope: Envelope | None = None, **arguments: Any
    ) -> Coroutine[Any, Any, None] | None:
        """Ask the hooks that have this step, one after the other.

        :param envelope: the transaction, from ``mail`` on.
        :returns: None when all of them had nothing to say, at once. Else what asks the rest, and
            raises:
        :raises Refused: one has refused.
        :raises ClientGone: the client has not waited for them.
        """
        hooks = self.hooks.steps.get(step)
        if hooks is None:
            return None
        arguments["session"] = self.session
        if envelope is not None:
            arguments["envelope"] = envelope
        said = self._ask_from(0, hooks, envelope, arguments)
        if said is None:
            return None
        return self._take_said(said, step, hooks, envelope, arguments)

    def _ask_from(
        self,
        index: int,
        hooks: Sequence[_Bound],
        envelope: Envelope | None,
        arguments: dict[str, Any],
    ) -> _Said | None:
        """Ask hooks until one has something to say, or has to wait; None when nobody has."""
        last = self._last_of_connection
        if envelope is not None:
            if self.discard is not None:
                return None
            last = self._last
        seconds = self.hooks.seconds
        for hook in hooks[index:] if index else hooks:
            if hook.place > last:
                return None
            started = seconds()
            try:
                result = hook.ask(**arguments)
            except Exception as error:
                result = _fail(error)
            if result is not None:
                return _Said(index, started, result)
            index += 1
        return None

    async def _take_said(
        self,
        said: _Said | None,
        step: Step,
        hooks: Sequence[_Bound],
        envelope: Envelope | None,
        arguments: dict[str, Any],
    ) -> None:
        now = self.hooks.seconds
        while said is not None:
            hook, started, result = hooks[said.number], said.started, said.result
            refused: Refused | None = None
            answers: Sequence[Any] = ()
            try:
                if _is_awaitable(result):
                    result = await self._wait_for(step, result, hook.timeout)
                answers = check_answers(step, result)
            except ClientGone:
                raise
            except MailError as error:
                refused = Refused(*replies.for_error(error))
                word = "defer" if error.temporary else "reject"
                self._record(envelope, hook, step, word, error.text, now() - started)
            except Exception as error:
                refused = self._failed(envelope, hook, step, error, now() - started)
            seconds = now() - started
            for answer in answers:
                self._record(envelope, hook, step, *_words(answer), seconds)
                if (refused := self._take(hook, step, envelope, answer)) is not None:
                    break
            if refused is not None:
                self._log_refusal(hook, step, envelope, refused.reply)
                raise refused
            said = self._ask_from(said.number + 1, hooks, envelope, arguments)

    async def _wait_for(self, step: Step, result: Any, seconds: float | None) -> Any:
        settings = self.hooks.settings
        if type(result) is CoroutineType:
            # The first step by hand: most have nothing to wait for, and cost no Deferred.
            try:
                awaited = result.send(None)
            except StopIteration as stop:
                return stop.value
            task: Deferred[Any] = Deferred.fromCoroutine(cast(Any, go_on(result, awaited)))
        else:
            task = _begin(result)
        # A hook that does not let itself be cancelled must not keep anybody waiting.
        done: Deferred[Any] = Deferred(lambda waiting: waiting.errback(ClientGone()))

        def settle(outcome: Any) -> None:
            if not done.called:
                done.callback(outcome)
            elif not isinstance(outcome, Failure):
                release(outcome)

        task.addBoth(settle)
        call = None
        if not done.called:
            if seconds is None:
                seconds = settings.message_timeout if step is Step.MESSAGE else settings.timeout
            call = self.hooks.clock.callLater(seconds, done.errback, _TookTooLong())
        try:
            return await done
        except (ClientGone, _TookTooLong):
            task.cancel()
            raise
        finally:
            if call is not None and call.active():
                call.cancel()

    def _take(
        self, hook: _Bound, step: Step, envelope: Envelope | None, answer: Any
    ) -> Refused | None:
        """Do what an answer asks for, or give the refusal that it is."""
        if isinstance(answer, (Reject, Defer)):
            close = answer.close or answer.code == 421
            return Refused(answer.code, answer.enhanced, answer.text, close=close)
        if isinstance(answer, Accept):
            self._accept(hook, step)
        elif isinstance(answer, Quarantine):
            assert envelope is not None
            envelope.quarantine = envelope.quarantine or answer.reason
        elif isinstance(answer, Discard):
            self.discard = answer.reason
        else:
            self.edits.append((hook.name, answer))
        return None

    def _accept(self, hook: _Bound, step: Step) -> None:
        self._last = min(self._last, hook.place)
        if step in _OF_CONNECTION:
            self._last_of_connection = min(self._last_of_connection, hook.place)
        if step is Step.CONNECT:
            self._last_at_connect = self._last_of_connection

    def _failed(
        self,
        envelope: Envelope | None,
        hook: _Bound,
        step: Step,
        error: Exception,
        seconds: float,
    ) -> Refused | None:
        if isinstance(error, _TookTooLong):
            self._record(envelope, hook, step, "time-out", "", seconds)
            self.hooks.log_slow(hook.name, step)
        else:
            self._record(envelope, hook, step, "error", type(error).__name__, seconds)
            self.log.failure("hook {hook} failed in {step}", hook=hook.name, step=step.value)
        return Refused(*FAILED) if self.hooks.settings.failure == "defer" else None

    def _record(
        self,
        envelope: Envelope | None,
        hook: _Bound,
        step: Step,
        answer: str,
        reason: str,
        seconds: float,
    ) -> None:
        records = self._records if envelope is None else envelope.history
        limit = self.hooks.settings.max_records
        if step is Step.RCPT:
            # A client that names many recipients does not crowd out what is said of its message.
            limit //= 2
        if len(records) < limit:
            records.append(HookRecord(hook.name, step.value, answer, reason, seconds))

    def _log_refusal(
        self, hook: _Bound, step: Step, envelope: Envelope | None, reply: Reply
    ) -> None:
        self.log.info(
            "hook {hook} refused {step} of {peer}: {code} {text}",
            hook=hook.name,
            step=step.value,
            peer=self.session.connection.peer,
            code=reply.code,
            text=reply.text,
            id=envelope.transaction_id if envelope is not None else None,
        )


def _words(answer: Any) -> tuple[str, str]:
    """Name and reason of an answer, for its record."""
    match answer:
        case Accept(reason):
            return "accept", reason
        case Reject(text):
            return "reject", text
        case Defer(text):
            return "defer", text
        case Quarantine(reason):
            return "quarantine", reason
        case Discard(reason):
            return "discard", reason
        case AddHeader(name):
            return "add-header", name
        case ChangeHeader(name):
            return "change-header", name
        case AddRecipient(path):
            return "add-recipient", str(path)
        case RemoveRecipient(path):
            return "remove-recipient", str(path)
        case ChangeSender(path):
            return "change-sender", str(path)
    return "replace-body", ""
