"""What can go wrong between us, the index and what it is compared with.

IndexFailure
├── IndexAway
├── IndexFull
└── IndexMisused
RebuildLost
TruthAway
"""

from __future__ import annotations


class IndexFailure(Exception):
    """The root. Whatever was asked may or may not have happened; asking again is always right."""


class IndexAway(IndexFailure):
    """No answer in time: not reachable, starting, failing over, or refusing who we are."""


class IndexFull(IndexFailure):
    """The server has no memory left and, as it should, refuses instead of forgetting."""


class IndexMisused(IndexFailure):
    """The server refused a call as wrong: a defect of ours, or a key that somebody else has written."""


class RebuildLost(Exception):
    """The store was emptied, replaced or evicted from during a rebuild: begin anew."""


class TruthAway(Exception):
    """Raised by a Truth that cannot be asked now; the reconciler tries again later."""
