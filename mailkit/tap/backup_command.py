"""``mailkit backup`` and ``mailkit restore``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mailkit.tap.administration import existing_directory, refusals
from mailkit.tap.errors import SettingError
from mailkit.tap.stores import sqlite_directory

if TYPE_CHECKING:
    from mailkit.store.sqlite.restore import RestoreReport


@click.command()
@click.argument("destination", type=click.Path(file_okay=False))
@click.option(
    "--keep",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many backups are there afterwards; older ones are removed.",
)
@click.option(
    "--also",
    metavar="PATH",
    multiple=True,
    type=click.Path(exists=True),
    help="A file or directory from elsewhere: settings, keys; may be repeated.",
)
@click.option("--quiet", is_flag=True, help="Say nothing but what went wrong, for cron.")
@click.pass_obj
def backup(store: str, destination: str, keep: int, also: tuple[str, ...], quiet: bool) -> None:
    """Make a backup in the directory DESTINATION.

    A server may be running. What the backup before has is not copied again.

    \b
    Example:
      mailkit --store sqlite:/var/lib/mailkit backup --keep 7 /backup/mailkit
    """
    path = existing_directory(store)
    from mailkit.store.sqlite.backup import back_up

    with refusals(store):
        report = back_up(path, destination, keep=keep, also=also)
    if quiet:
        return
    segments, files = report.segments, report.files
    click.echo(
        f"Copied the index ({report.index_octets} octets), {segments.files} segments of the log"
        f" ({segments.octets} octets) and {files.files} other files ({files.octets} octets);"
        f" {segments.linked + files.linked} are as in the backup before."
    )
    for name in report.removed:
        click.echo(f"Removed the older backup {name}.")
    click.echo(f"{path} is backed up in {report.path}.")


@click.command()
@click.argument("source", metavar="BACKUP", type=click.Path(exists=True, file_okay=False))
@click.option(
    "--unchanged",
    is_flag=True,
    help="Nothing has happened since: the server was stopped before the backup, as for a move.",
)
@click.pass_obj
def restore(store: str, source: str, unchanged: bool) -> None:
    """Make the store anew from BACKUP.

    BACKUP is a backup, or a directory of many, of which the newest is taken. The store's directory
    must be empty, or not there.

    Mail programs fetch all mailboxes anew, and queued messages are held, as both may have changed
    after the backup.

    \b
    Example:
      mailkit --store sqlite:/var/lib/mailkit restore /backup/mailkit
    """
    with refusals(store):
        path = sqlite_directory(store)
        if path is None:
            raise SettingError("this command is for stores in SQLite: sqlite:DIR")
    from mailkit.store.sqlite.restore import restore_store

    with refusals(store):
        report = restore_store(source, path, unchanged=unchanged)
    for line in _describe(report):
        click.echo(line)
    click.echo(f"{path} has {report.messages} messages, from {report.path} ({report.made}).")


def _describe(report: RestoreReport) -> list[str]:
    lines = []
    if report.mailboxes:
        lines.append(
            f"{report.mailboxes} mailboxes have a new UIDVALIDITY: mail programs fetch them anew."
        )
    if report.held:
        lines.append(
            f"{report.held} queued messages are held, as they may have been sent since: see"
            " `mailkit queue list`, then `queue release` or `queue cancel`."
        )
    if report.also:
        lines.append(f"Files from elsewhere are in {report.also}; put them where they belong.")
    return lines
