"""``mailkit tls-report``: reports that others have sent, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mailkit.queue.tlsrpt import PolicyResult


@click.command("tls-report")
@click.argument("files", nargs=-1, type=click.File("rb"), required=True)
def tls_report(files: tuple[Any, ...]) -> None:
    """Print TLS reports (RFC 8460).

    They tell how others fared who sent mail to us.

    Each FILE is JSON, compressed JSON, or the message that brought it; - for what is piped in.
    """
    from mailkit.queue.tlsrpt import MAX_MESSAGE, BadReport, read_report

    for number, file in enumerate(files):
        try:
            report = read_report(file.read(MAX_MESSAGE + 1))
        except BadReport as error:
            name = getattr(file, "name", "-")
            raise click.ClickException(f"{name} is no TLS report: {error}") from error
        if number:
            click.echo()
        click.echo(f"{report.organization or report.contact}, report {report.id}")
        click.echo(f"from {report.start:%Y-%m-%d %H:%M} to {report.end:%Y-%m-%d %H:%M} UTC")
        for result in report.policies:
            _print(result)


def _print(result: PolicyResult) -> None:
    policy = result.policy
    click.echo(
        f"{policy.domain} ({policy.type}): {result.successes} good, {result.failures} failed"
    )
    for line in policy.lines:
        click.echo(f"    {line}")
    for detail in result.details:
        host = detail.receiving_host or detail.receiving_address or "some server"
        sender = f" from {detail.sending_address}" if detail.sending_address else ""
        reason = f": {detail.reason}" if detail.reason else ""
        click.echo(f"  {detail.sessions} x {detail.result_type} at {host}{sender}{reason}")
