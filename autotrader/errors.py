"""The one tree of exceptions for what a person asked and cannot have; their text is for people."""

from __future__ import annotations


class AutotraderError(Exception):
    """What was asked for cannot be done, and nothing was half done. The text says why and what to do."""
