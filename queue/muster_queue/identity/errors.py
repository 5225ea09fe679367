"""Why somebody is not let in.

IdentityError
  Unauthenticated        no token, or one that proves nothing
  TooManyTokens          too many unknown tokens in a short time: wait retry_after seconds
  IdentityUnavailable    whoever could tell does not answer; nobody is let in on a guess
"""

from __future__ import annotations


class IdentityError(Exception):
    """Root of everything that this package raises on purpose."""


class Unauthenticated(IdentityError):
    """The token proves nothing; the message says why, and never what the token was."""


class TooManyTokens(IdentityError):
    """Unknown tokens are looked at a few at a time only: each costs a signature or a call to the API server."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("too many unknown tokens; wait before the next one")
        self.retry_after = retry_after


class IdentityUnavailable(IdentityError):
    """The issuer's keys or the API server's answer cannot be had for now."""
