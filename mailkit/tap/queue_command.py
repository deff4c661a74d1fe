"""``mailkit queue ...``: what waits to be sent, for the administrator."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from mailkit.errors import MailError, NoSuchMessage
from mailkit.queue.values import Order, QueuedMessage
from mailkit.tap.errors import SettingError
from mailkit.tap.queue_turn import QUEUE_LOCK
from mailkit.tap.stores import sqlite_directory
from mailkit.tap.story import describe_attempt, printable, queued_values, show_date, waits_for_time
from mailkit.wire.domains import canonical_domain

#: Messages that are read at a time.
PAGE = 500


@click.group()
def queue() -> None:
    """The outbound queue: what waits to be sent to other servers.

    Changes take effect within seconds where a server runs.
    """


@queue.command("list")
@click.option("--all", "everything", is_flag=True, help="Those too that are sent or given up.")
@click.option("--domain", help="Only what goes to this domain.")
@click.option("--json", "as_json", is_flag=True, help="For programs, a line a message.")
@click.pass_obj
def list_queue(store: str, everything: bool, domain: str | None, as_json: bool) -> None:
    """Show what is in the queue, a line a recipient."""

    async def work(records: Any) -> None:
        count = 0
        async for message in _messages(records, everything):
            chosen = [
                each
                for each in message.recipients
                if (domain is None or each.domain == domain.lower())
                and (everything or not each.state.final)
            ]
            count += len(chosen)
            if as_json:
                if chosen:
                    click.echo(json.dumps(queued_values(message._replace(recipients=chosen))))
                continue
            for recipient in chosen:
                when = (
                    f" until {show_date(recipient.next_time)}" if waits_for_time(recipient) else ""
                )
                sender = message.envelope.reverse_path
                click.echo(
                    f"{message.id}  {show_date(message.created)}  {message.size:>9}  <{sender}>"
                    f" to <{recipient.recipient.path}>: {recipient.state.value}{when}"
                )
        if not count and not as_json:
            click.echo("The queue is empty.")

    look(store, work)


@queue.command("show")
@click.argument("id")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def show(store: str, id: str, as_json: bool) -> None:
    """Tell all that is known of the message ID.

    Its recipients, and every attempt.
    """

    async def work(records: Any) -> None:
        message = await records.get_message(id=id)
        attempts = await records.get_attempts(id=id)
        if as_json:
            click.echo(json.dumps(queued_values(message, attempts), indent=2))
            return
        envelope = message.envelope
        click.echo(f"message {id}, {message.size} octets, received as {envelope.transaction_id}")
        click.echo(f"from <{envelope.reverse_path}> (account {envelope.account or 'none'})")
        click.echo(f"queued {show_date(message.created)}, given up {show_date(message.expires)}")
        for record in envelope.history:
            reason = printable(record.reason)
            click.echo(f"hook {record.hook}, {record.step}: {record.answer} {reason}")
        for recipient in message.recipients:
            next_time = f", next attempt {show_date(recipient.next_time)}"
            when = next_time if waits_for_time(recipient) else ""
            click.echo(f"to <{recipient.recipient.path}>: {recipient.state.value}{when}")
            for number, attempt in attempts:
                if number == recipient.id:
                    click.echo(f"  {describe_attempt(attempt)}")

    look(store, work, about=id)


@queue.command("export")
@click.argument("id")
@click.pass_obj
def export(store: str, id: str) -> None:
    """Write the message ID to standard output, as it would be sent."""

    async def work(records: Any) -> None:
        from mailkit.store.sqlite.bodies import BodyFiles

        place, skip, prefix = records.place(id)
        path = sqlite_directory(store)
        assert path is not None
        files = BodyFiles(os.path.join(path, "log"))
        try:
            with files.open_view(place) as file:
                file.seek(skip)
                output = sys.stdout.buffer
                output.write(prefix)
                while data := file.read(65536):
                    output.write(data)
        finally:
            files.close()

    look(store, work, about=id)


def _order_command(order: Order, help: str, done: str) -> None:
    @queue.command(order.value, help=help)
    @click.argument("id", nargs=-1)
    @click.option("--all", "everything", is_flag=True, help="All messages in the queue.")
    @click.pass_obj
    def command(store: str, id: tuple[str, ...], everything: bool) -> None:
        if bool(id) is everything:
            raise click.UsageError("give an ID or more, or --all")

        async def work(records: Any) -> None:
            ids = list(id)
            if everything:
                ids = [message.id async for message in _messages(records, False)]
            changed = 0
            for each in ids:
                try:
                    changed += await records.order(order=order, id=each, now=int(time.time()))
                except NoSuchMessage as error:
                    raise click.ClickException(f"{each}: {error.text}") from None
            _tell(changed, done)

        look(store, work)


_order_command(Order.RETRY, "Try again now to send the messages ID.", "tried again now")
_order_command(Order.HOLD, "Keep the messages ID back until they are released.", "held")
_order_command(Order.RELEASE, "Send the messages ID that were held.", "released")
_order_command(Order.CANCEL, "Give up the messages ID, without a report.", "given up")


def _tell(count: int, done: str) -> None:
    click.echo(f"{count} {'recipient is' if count == 1 else 'recipients are'} {done}.")


@queue.command("flush")
@click.argument("domain", default="")
@click.option("--subdomains", is_flag=True, help="What goes to subdomains of DOMAIN too.")
@click.pass_obj
def flush(store: str, domain: str, subdomains: bool) -> None:
    """Try again now to send what has failed before.

    All of it, or what goes to DOMAIN.
    """

    async def work(records: Any) -> None:
        count, now, name = 0, int(time.time()), canonical_domain(domain)
        while changed := await records.flush(now=now, domain=name, subdomains=subdomains):
            count += changed
        _tell(count, "tried again now")

    look(store, work)


async def _messages(records: Any, everything: bool) -> Any:
    last = ""
    while True:
        page = await records.list_messages(after=last, limit=PAGE, finished=everything)
        for message in page:
            found: QueuedMessage = message
            yield found
        if len(page) < PAGE:
            return
        last = page[-1].id


@contextmanager
def _open(store: str) -> Iterator[Any]:
    path = sqlite_directory(store)
    if path is None:
        raise SettingError("this command is for stores in SQLite: sqlite:DIR")
    if not os.path.exists(os.path.join(path, "index.sqlite")):
        raise SettingError(f"there is no store in {path}")
    from mailkit.store.sqlite import SQLiteDirectory
    from mailkit.store.sqlite.names import is_locked
    from mailkit.store.sqlite.queue import QueueRecords

    directory = SQLiteDirectory(path)
    try:
        idle = not is_locked(path, QUEUE_LOCK)
        yield QueueRecords(directory.connection, directory.apply, idle)
    finally:
        directory.close()


def look(store: str, work: Callable[[Any], Awaitable[None]], about: str = "") -> None:
    """Open the records of a store's queue, beside a server that may be running."""

    async def whole() -> None:
        with _open(store) as records:
            await work(records)

    try:
        # Nothing waits for anything: it is over when it returns.
        whole().send(None)
    except StopIteration:
        pass
    except SettingError as error:
        raise click.BadParameter(str(error), param_hint="--store") from error
    except MailError as error:
        raise click.ClickException(f"{about or store}: {error.text}") from error
