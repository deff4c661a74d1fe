"""``mailkit explain``: the whole story of a message."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from mailkit.errors import NoSuchMessage
from mailkit.tap.queue_command import look
from mailkit.tap.stores import sqlite_directory
from mailkit.tap.story import queued_values, tell_queued

if TYPE_CHECKING:
    from mailkit.store.sqlite.finding import Finding

#: Entries of the queue with one Message-ID that are told.
MAX_ENTRIES = 20


@click.command()
@click.argument("message")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def explain(store: str, message: str, as_json: bool) -> None:
    """Tell the whole story of MESSAGE.

    How it came, what was tried, where it is.

    MESSAGE is a Message-ID, with or without its angle brackets, or the queue's number for it.

    What hooks and checks said is known of messages that were queued; of others their header tells how
    they came and what was said of them, unless that was turned off, and the log has the rest.
    """

    async def work(records: Any) -> None:
        from mailkit.store.sqlite.finding import Finding, find_by_message_id
        from mailkit.tap.mailbox_story import stored_values

        entries = []
        wanted = message
        if message.isdecimal():
            try:
                entries = [await records.get_message(id=message)]
            except NoSuchMessage as error:
                raise click.ClickException(f"{message}: {error.text}") from None
            wanted = entries[0].message_id
        else:
            wanted = message if message.startswith("<") else f"<{message}>"
            entries = await records.find_messages(message_id=wanted, limit=MAX_ENTRIES)
        path = sqlite_directory(store)
        assert path is not None
        finding = Finding([], True)
        if wanted:
            finding = find_by_message_id(records.connection, path, wanted)
        stories = [(each, await records.get_attempts(id=each.id)) for each in entries]
        if as_json:
            values = {
                "message_id": wanted or None,
                "queue": [queued_values(each, attempts) for each, attempts in stories],
                "mailboxes": [stored_values(each) for each in finding.messages],
                "all_messages_searched": finding.complete,
            }
            click.echo(json.dumps(values, indent=2))
        else:
            _tell(wanted, stories, finding)
        if not entries and not finding.messages:
            raise click.exceptions.Exit(1)

    look(store, work, about=message)


def _tell(wanted: str, stories: Any, finding: Finding) -> None:
    from mailkit.tap.mailbox_story import tell_stored

    for each, attempts in stories:
        for line in tell_queued(each, attempts):
            click.echo(line)
        click.echo()
    for found in finding.messages:
        for line in tell_stored(found):
            click.echo(line)
    if not finding.messages:
        click.echo("No mailbox here has it.")
    if not finding.complete:
        click.echo("Only the newest messages were looked through.")
    if not stories:
        click.echo(f"The queue does not know {wanted}, or has forgotten it.")
