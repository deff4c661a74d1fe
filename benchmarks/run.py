#!/usr/bin/env python3
"""Run the same mail workloads against mailkit and other servers, on loopback; see README.md."""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from mailbench import machine
from mailbench.corpus import Corpus
from mailbench.packaged import Dovecot, DovecotMdbox, Postfix
from mailbench.peers import (
    Aiosmtpd,
    AiosmtpdUnsynced,
    Mailkit,
    MailkitWorkers,
    Peer,
    Pymap,
    TwistedIMAP,
    TwistedMail,
)
from mailbench.report import Report
from mailbench.workloads import DEFAULT_WORKLOADS, WORKLOADS, Bench

_PEERS: dict[str, type[Peer]] = {
    kind.name: kind
    for kind in (
        *(Mailkit, MailkitWorkers, Aiosmtpd, AiosmtpdUnsynced, Pymap, TwistedMail, TwistedIMAP),
        *(Dovecot, DovecotMdbox, Postfix),
    )
}
_DEFAULT_PEERS = "mailkit,aiosmtpd,pymap,twisted.mail,twisted.mail-imap,dovecot,postfix"
#: Open files that a thousand connections and the server need.
_FILES = 8192


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--peers",
        default=_DEFAULT_PEERS,
        help=f"of {', '.join(_PEERS)}; those that are not installed are left out",
    )
    parser.add_argument("--workloads", default=",".join(DEFAULT_WORKLOADS))
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument(
        "--turns",
        type=int,
        default=1,
        help="times that each workload is run, by the peers in turn: for ratios that stay alike on"
        " a machine that has other work too",
    )
    parser.add_argument("--scale", type=float, default=1.0, help="0.05 for a quick look")
    parser.add_argument(
        "--line-interval",
        type=float,
        default=0.0,
        help="slow: seconds between two lines of a sender; 0 for as fast as they can",
    )
    parser.add_argument(
        "--workers", type=int, default=2, help="processes of the peer mailkit-workers"
    )
    parser.add_argument("--python", default=sys.executable, help="where the servers are installed")
    parser.add_argument("--directory", help="where mail is kept: the disk that is measured")
    parser.add_argument(
        "--out", default="build/benchmark", help="prefix of the .json and .md written"
    )
    arguments = parser.parse_args()
    MailkitWorkers.workers = arguments.workers
    for option, known in (("peers", _PEERS), ("workloads", WORKLOADS)):
        chosen = [name for name in getattr(arguments, option).split(",") if name]
        if unknown := [name for name in chosen if name not in known]:
            parser.error(f"--{option}: no {unknown[0]}; there are {', '.join(known)}")
        setattr(arguments, option, chosen)
    return arguments


def _run(arguments: argparse.Namespace, directory: Path) -> Report:
    peers = []
    for name in arguments.peers:
        peer = _PEERS[name](arguments.python)
        if missing := peer.missing():
            print(f"{name} left out: needs {missing}")
        else:
            peers.append(peer)
    facts: dict[str, object] = dict(machine.describe(arguments.python))
    facts["4 KiB durable as a new file, ms"] = round(machine.probe_disk(directory), 3)
    facts["scale"] = arguments.scale
    report = Report(facts, {peer.name: peer.durable for peer in peers})
    corpus = Corpus()
    # By workload, so that peers are measured within minutes of each other.
    for workload in arguments.workloads:
        kind, function = WORKLOADS[workload]
        benches = [
            Bench(peer, corpus, arguments.scale, arguments.repetitions, arguments.line_interval)
            for peer in peers
            if kind in peer.kinds
        ]
        for turn in range(arguments.turns):
            # Back and forth, so that what the machine does by itself meets all alike.
            for bench in reversed(benches) if turn % 2 else benches:
                place = directory / f"{workload}-{bench.peer.name}"
                print(f"{workload}: {bench.peer.name}", flush=True)
                _measure(bench, function, place)
        for bench in benches:
            report.figures += bench.samples.figures(workload, bench.peer.name)
            report.notes += [f"{workload}, {bench.peer.name}: {note}" for note in bench.notes]
        _save(report, arguments.out)
    return report


def _measure(bench: Bench, function: Callable[[Bench], None], place: Path) -> None:
    try:
        bench.peer.start(place)
        function(bench)
    except Exception as error:
        # One peer's failure must not end the run; the table says what is missing.
        traceback.print_exc()
        bench.note(f"failed: {type(error).__name__}: {str(error)[:300]}")
    finally:
        bench.peer.stop()
        shutil.rmtree(place, ignore_errors=True)


def _save(report: Report, prefix: str) -> None:
    Path(prefix + ".json").write_text(json.dumps(report.as_json(), indent=1))
    Path(prefix + ".md").write_text(report.as_markdown() + "\n")


def main() -> int:
    """Run what the command line asks for.

    :returns: exit status: 1 when a workload failed.
    """
    arguments = _arguments()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    Path(arguments.out).parent.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="mailbench-", dir=arguments.directory))
    directory.chmod(0o755)
    try:
        report = _run(arguments, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print("\n" + report.as_markdown())
    return 1 if any("failed: " in note for note in report.notes) else 0


if __name__ == "__main__":
    sys.exit(main())
