"""The server's side of an IMAP connection (RFC 3501).

Ordering and locking: :class:`~mailkit.connection.CommandConnection` runs one command at a time,
so a command is judged in the state that its predecessor left and answered before its successor.
Changes made by others are told at the end of each command, before its tagged response, and in
IDLE at once: a change leaves a mark, which :meth:`IMAPProtocol.next_command` turns into a command of
its own. EXPUNGE is not sent while FETCH, STORE or SEARCH runs (RFC 3501 section 7.4.1); ``UID``
variants allow it.

A literal is read by ``next_command`` too: the handler of APPEND runs before each message (refusing
it, if need be, before it is sent) and after the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from mailkit._typing import override
from mailkit.errors import LimitExceeded, MailError, NoSuchMailbox, PermissionDenied
from mailkit.hiding import hiding
from mailkit.imap.grammar import MAX_NUMBER64, Command, CommandFault, SyntaxFault, parse_command
from mailkit.imap.handlers.append import AppendInProgress, begin_append, end_append, go_on_append
from mailkit.imap.handlers.fetch import send_news
from mailkit.imap.handlers.not_authenticated import greeting
from mailkit.imap.handlers.table import Verb
from mailkit.imap.handlers.uidonly import NUMBERED
from mailkit.imap.handlers.utf8 import WITHOUT_UTF8
from mailkit.imap.notify import MESSAGE_EVENTS, Event
from mailkit.imap.offering import OfferingConnection
from mailkit.imap.reader import (
    CommandOctets,
    CommandReader,
    Continue,
    MessageLine,
    MessageLiteral,
    TooLong,
)
from mailkit.imap.session import MailboxGone, Selection, gone
from mailkit.imap.state import State
from mailkit.interfaces import IMailAccount
from mailkit.wire.buffer import LineTooLong

if TYPE_CHECKING:
    from mailkit.imap.protocol import IMAPFactory

_Waiting: TypeAlias = Coroutine[Any, Any, None] | None
#: Takes a line without its end; None stands for one that was too long.
LineHandler: TypeAlias = Callable[["IMAPProtocol", bytes | None], _Waiting]


@hiding("line")
class _Line(NamedTuple):
    """A line that is no command: a SASL response, or the end of IDLE."""

    tag: bytes
    handler: LineHandler
    line: bytes | None


class _Update(NamedTuple):
    """Something has changed while the client idles."""


class IMAPProtocol(OfferingConnection):
    """One connection.

    :ivar selection: the selected mailbox.
    """

    # An idle connection is to cost little: slots beside the base class's dictionary.
    __slots__ = (
        "_counted",
        "_line_handler",
        "_line_tag",
        "_reader",
        "_verb",
        "append",
    )

    factory: IMAPFactory
    protocol_name = "imap"

    #: Octets of a line that answers a continuation request.
    max_response_line = 16 * 1024

    def __init__(self) -> None:
        OfferingConnection.__init__(self)
        self.append: AppendInProgress | None = None
        # The account under whose name this session is counted.
        self._counted = ""
        self._reader: CommandReader | None = None
        self._line_handler: LineHandler | None = None
        self._line_tag = b""
        self._verb: Verb | None = None

    # What CommandConnection asks for.

    @override
    def greet(self) -> None:
        account = self.factory.account
        if account is not None:
            self.account = account
            self.state = State.AUTHENTICATED
        self.adapt()
        self.write(greeting(self))

    @override
    def idle_timeout(self) -> float:
        # RFC 3501 section 5.4: an autologout timer lasts 30 minutes at least.
        if self.state is State.NOT_AUTHENTICATED:
            return self.factory.login_timeout
        return self.factory.timeout

    @override
    def stays_alive(self) -> bool:
        if not self.idling or "keep-idle" not in self.quirks:
            return False
        # RFC 2177 section 3 lets the server end the connection; some clients do not expect it.
        self.remark(b"* OK Still here\r\n")
        self.flush()
        return True

    @override
    def timed_out(self) -> None:
        self.bye("You were silent for too long", b"UNAVAILABLE")

    @override
    def refuse(self) -> None:
        self.write(b"* BYE [UNAVAILABLE] Too many connections, please try again later\r\n")

    @override
    def say_goodbye(self) -> None:
        self.bye("The server is going down", b"UNAVAILABLE")

    @override
    def not_compressed(self) -> None:
        self.bye("What you send is not compressed by DEFLATE")
        self.close()

    @override
    def command_failed(self) -> None:
        text = b"[SERVERBUG] Something went wrong here; it has been logged"
        if self._tag:
            self.write(b"%b NO %b\r\n" % (self._tag, text))
        else:
            self.write(b"* NO %b\r\n" % text)

    @override
    def closed(self) -> None:
        if self._wake is not None:
            self.stop_waking()
        if self.append is not None:
            self.append.close()
            self.append = None
        if self.selection is not None:
            self.unselect()
        if self.metadata is not None:
            self.end_metadata()
        self.account = None
        self._leave_session()
        self.state = State.LOGOUT

    @override
    def next_command(self) -> Any:
        if self._line_handler is not None:
            if self.idling and self.has_news:
                return _Update()
            try:
                line = self.buffer.take_line(self.max_response_line)
            except LineTooLong:
                line = None
            else:
                if line is None:
                    return None
            handler, self._line_handler = self._line_handler, None
            return _Line(self._line_tag, handler, line)
        if self.notifier is not None and self.append is None and self.has_news:
            # Not while a message comes: that is in the middle of a command.
            return _Update()
        if not self.buffer.data:
            return None
        if self._reader is None:
            # Made late: an idle connection that was refused or has just come needs none.
            self._reader = CommandReader(
                self.buffer,
                self.factory.max_line if self.account else self.factory.max_login_line,
                self.factory.max_literal,
                self.factory.max_swallow,
                self.factory.max_unasked,
            )
        while True:
            event = self._reader.read()
            if not isinstance(event, Continue):
                return event
            self.write(b"+ OK\r\n")

    @override
    def run_command(self, command: Any) -> _Waiting:
        if isinstance(command, CommandOctets):
            parsed = self._parse(command.octets)
            verb = None if parsed is None else self._find_verb(parsed)
            return None if verb is None else self._guard(verb.run, self, parsed)
        if isinstance(command, _Line):
            self._tag = command.tag
            return self._guard(command.handler, self, command.line)
        if isinstance(command, _Update):
            return self._guarded(self._update())
        if isinstance(command, MessageLiteral):
            if self.append is not None:
                return self._guard(go_on_append, self, command)
            return self._begin_append(command)
        if isinstance(command, MessageLine):
            return self._guard(end_append, self, command)
        self._tag = command.tag
        if isinstance(command, TooLong):
            self.bad(command.text)
        else:
            self._end_hopeless()
        return None

    def _end_hopeless(self) -> None:
        # RFC 7888 section 4: reading it all would be the only other way to stay in step.
        self.bye("That literal is too large", b"TOOBIG")
        self.close()

    # Commands.

    def _begin_append(self, literal: MessageLiteral) -> _Waiting:
        command = self._parse(literal.octets)
        if command is None or self._find_verb(command) is None:
            self.refuse_message()
            return None
        return self._guard(begin_append, self, command, literal)

    def _parse(self, octets: bytes) -> Command | None:
        self._tag = b""
        self._verb = None
        try:
            command = parse_command(octets)
        except CommandFault as fault:
            self._tag = fault.tag
            self.bad(fault.text, fault.code)
        except SyntaxFault:
            self.bad("A command begins with a tag and a space")
        else:
            self._tag, _, arguments = command
            if "extra-separator" in self.quirks:
                arguments.trims_names = True
            arguments.takes_saved = b"SEARCHRES" in self.extensions
            arguments.takes_utf8 = b"UTF8=ACCEPT" in self.extensions
            if self.enabled:
                arguments.utf8 = self.utf8
                if self.rev2:
                    arguments.max_size = MAX_NUMBER64
            return command
        return None

    def _find_verb(self, command: Command) -> Verb | None:
        name = command.verb
        verb = self.verbs.get(name)
        if verb is None:
            forgotten = command.tag.upper() in self.verbs
            hint = ". Is its tag missing? As in: a1 NOOP" if forgotten else ""
            self.bad(f"There is no such command{hint}")
        elif self.state not in verb.states:
            self.bad(f"This command cannot be used in the {self.state.value} state")
            verb = None
        elif self.factory.choices and self._lacks_utf8(name):
            self.no("ENABLE UTF8=ACCEPT comes first on this server", b"CANNOT")
            verb = None
        elif self.enabled and b"UIDONLY" in self.enabled and name in NUMBERED:
            self.bad("Messages have no numbers any more: use UID", b"UIDREQUIRED")
            verb = None
        self._verb = verb
        return verb

    def _lacks_utf8(self, verb: bytes) -> bool:
        """RFC 6855 section 6: the server wants the client to take UTF-8, and it has not said so."""
        return verb not in WITHOUT_UTF8 and not self.utf8 and self.offers(b"UTF8=ONLY")

    def _guard(self, run: Callable[..., _Waiting], *arguments: Any) -> _Waiting:
        """Run a handler and answer what it raises."""
        try:
            waiting = run(*arguments)
        except SyntaxFault as fault:
            self.bad(fault.text, fault.code)
            return None
        except MailError as error:
            self.refuse_command(error)
            return None
        return None if waiting is None else self._guarded(waiting)

    async def _guarded(self, waiting: Coroutine[Any, Any, None]) -> None:
        try:
            await waiting
        except SyntaxFault as fault:
            self.bad(fault.text, fault.code)
        except MailboxGone as reason:
            self.end_gone(reason)
        except (NoSuchMailbox, PermissionDenied) as error:
            self.refuse_command(error)
            if self._verb is not None and State.SELECTED in self._verb.states:
                await self._check_selection()
        except MailError as error:
            self.refuse_command(error)

    async def _check_selection(self) -> None:
        """Whether a command failed because the selected mailbox is gone."""
        if self.selection is not None:
            try:
                await self.selection.mailbox.get_info()
            except (NoSuchMailbox, PermissionDenied) as error:
                self.end_gone(gone(error))

    async def _update(self) -> None:
        """Tell a client what has changed that idles, or has used NOTIFY."""
        self._tag = b""
        notifier, selection = self.notifier, self.selection
        changed = selection is not None and selection.dirty
        # RFC 5465 section 6.1.2: the numbers of messages stay while nobody asks.
        await self.announce(self.idling or not (notifier and notifier.wanted.delayed))
        if changed:
            self.settle()
        if notifier is not None and notifier.dirty:
            await notifier.tell()

    def end_gone(self, reason: MailboxGone) -> None:
        """The selected mailbox is lost: the session cannot go on."""
        self.unselect()
        self.bye(str(reason))
        self.close()

    async def announce(self, expunges: bool | None = None) -> None:
        """Tell what others have changed in the selected mailbox.

        :param expunges: EXPUNGE may be sent; None to let the command at work decide.
        :raises MailboxGone: the mailbox has been deleted.
        """
        selection = self.selection
        if selection is None or selection.quiet:
            return
        verb, notifier = self._verb, self.notifier
        # What RFC 5465 section 5 leaves to the client; a command's own work is told in any case.
        told = MESSAGE_EVENTS if notifier is None else notifier.wanted.selected
        if expunges is None:
            expunges = verb is None or verb.expunges
            removes = verb is not None and verb.removes
        else:
            removes = False
        fresh = await selection.announce(
            self.remark,
            self.drain,
            expunges=expunges and (removes or Event.MESSAGE_EXPUNGE in told),
            with_uids=notifier is not None or (verb is not None and verb.by_uid),
            arrivals=Event.MESSAGE_NEW in told
            and (verb is None or verb.arrivals or "delay-newmail" not in self.quirks),
            flags=Event.FLAG_CHANGE in told,
            annotations=selection.tells_annotations
            if notifier is None
            else Event.ANNOTATION_CHANGE in told,
        )
        if fresh and notifier is not None and notifier.wanted.attributes:
            await send_news(self, notifier.wanted.attributes, fresh)

    async def complete(self, text: str, code: bytes = b"", modseq: bool = False) -> None:
        """End the command at work: tell what others have changed, then the tagged OK.

        :param modseq: let it tell the modification sequence (RFC 7162 section 3.2.7, RFC 6851
            section 4.4), to a client that wants to know it.
        """
        try:
            await self.announce()
        except MailboxGone as reason:
            self.ok(text, code)
            self.end_gone(reason)
        else:
            self.settle()
            if modseq and self.selection is not None and self.selection.tells_modseqs:
                code = b"HIGHESTMODSEQ %d" % self.selection.settled
            elif self.selection is not None and self.selection.state.pending_expunges:
                # RFC 5530 section 3: it will be told when it may (RFC 3501 section 7.4.1).
                code = code or b"EXPUNGEISSUED"
            self.ok(text, code)

    # State.

    @property
    def tag(self) -> bytes:
        """Tag of the command at work."""
        return self._tag

    def logged_in(self, account: IMailAccount) -> None:
        """A login has succeeded.

        :raises LimitExceeded: the account has too many sessions already.
        """
        if not self.factory.admit_session(account.name):
            self._end_login()
            raise LimitExceeded("This account has too many sessions, please close some")
        self.account = account
        self._counted = account.name
        if self._reader is not None:
            self._reader.max_line = self.factory.max_line
        self.state = State.AUTHENTICATED
        self.adapt()
        if self.factory.timeout < self.factory.login_timeout:
            self.set_idle_timer()

    def log_out(self) -> None:
        """The client is somebody else from now on (RFC 8437 section 4.1).

        Whatever an extension keeps for a login is forgotten here; the client's ID stays.
        """
        self.unselect()
        self.end_metadata()
        self.account = None
        self._leave_session()
        self.state = State.NOT_AUTHENTICATED
        self.disable_all()
        self.reset_language()
        self._end_login()
        self.adapt()
        self.set_idle_timer()

    def _leave_session(self) -> None:
        """Nobody is logged in any more."""
        if self.notifier is not None:
            self.set_notifier(None)
        self._reader = None
        if self._counted:
            self.factory.release_session(self._counted)
            self._counted = ""

    def select(self, selection: Selection) -> None:
        """From now on this mailbox is selected."""
        selection.tells_modseqs = b"CONDSTORE" in self.enabled
        selection.tells_vanished = b"QRESYNC" in self.enabled
        if b"UIDONLY" in self.enabled:
            selection.leave_out_numbers()
        self.selection = selection
        self.state = State.SELECTED

    def unselect(self) -> None:
        """From now on no mailbox is selected."""
        selection, self.selection = self.selection, None
        if selection is not None:
            selection.close()
        if self.state is State.SELECTED:
            self.state = State.AUTHENTICATED

    def expect_line(self, handler: LineHandler) -> None:
        """The next line answers a continuation request; it goes to ``handler``."""
        self._line_handler = handler
        self._line_tag = self._tag

    def accept_message(self, write: Callable[[bytes], None]) -> None:
        """Take the announced literal, piece by piece."""
        assert self._reader is not None
        self._reader.accept_literal(write)

    def refuse_message(self) -> None:
        """Do not take the announced literal; what the client sends all the same is swallowed."""
        assert self._reader is not None
        if self._reader.refuse_literal() is not None:
            self._end_hopeless()

    def drop_message(self) -> None:
        """Throw away the rest of the literal that is being taken."""
        assert self._reader is not None
        self._reader.drop_message()

    def begin_tls(self) -> None:
        """Switch to TLS after the response; what was sent in clear is forgotten."""
        self.start_tls()
        self.reset_language()
        self._reader = None

    # IDLE.

    def start_idling(self, handler: LineHandler) -> None:
        """Tell changes as they happen until a line comes (RFC 2177)."""
        self.idling = True
        self._reader = self._info = None
        if self.selection is not None:
            self.selection.structure = self.selection.decodings = None
        self.rest_deflate(True)
        self.expect_line(handler)
        self.poll()

    def stop_idling(self) -> None:
        self.idling = False
        self.rest_deflate(False)
        if self.notifier is None:
            self.stop_waking()
