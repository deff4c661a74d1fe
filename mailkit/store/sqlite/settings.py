"""Sizes and limits of the embedded store."""

from __future__ import annotations

from dataclasses import dataclass

from mailkit.spool import SHARED_LIMIT


@dataclass(frozen=True)
class StoreSettings:
    """How a store works; the defaults suit a server."""

    #: Octets after which a new segment of the log is begun.
    segment_size: int = 64 * 1024 * 1024
    #: Octets of a message above which its spool's file becomes a segment of its own.
    large_body: int = 4 * 1024 * 1024
    #: Octets that a spool keeps in memory: the log takes them from there, so that most messages with
    #: an attachment are written once.
    spool_memory: int = 1536 * 1024
    #: Octets that all spools keep in memory together.
    shared_spool_memory: int = SHARED_LIMIT
    #: Octets of the disk that new messages leave free: on a full one nothing could be removed any more.
    min_free: int = 16 * 1024 * 1024
    #: Octets that are written ahead of the end of the log: what has its place is flushed faster.
    room_ahead: int = 256 * 1024
    #: Octets of the journal after which a copy of the index takes its place.
    journal_size: int = 16 * 1024 * 1024
    #: Seconds between two looks of the maintenance: checkpoints, freed space.
    maintenance_interval: float = 1.0
    #: Share of a segment that must be garbage before its live bodies are moved.
    garbage_ratio: float = 0.5
    #: Whether what clients will ask for is made of new messages before they do.
    summarize_ahead: bool = True
    #: Seconds without any change of the store after which that begins; after one second it begins
    #: anyway.
    ahead_delay: float = 0.1
    #: Whether a process of its own makes it where there is much to make; otherwise a thread does, slowly.
    helper_process: bool = True
    #: Seconds for which this process leaves it to others to make the store's changes when nobody
    #: does: where one is there for that alone, and begins anew should it die. It does so at once
    #: when that one has said goodbye.
    reluctance: float = 0.0
