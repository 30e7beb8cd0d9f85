"""Deliberate defects, and which check must find each. A check that finds none is no check."""
from typing import NamedTuple


class Mutation(NamedTuple):
    name: str
    file: str     # below deploy/
    old: str      # a regular expression; its first match is replaced
    new: str
    check: str    # which check must find it
    says: str     # and what it must say


M = Mutation
MUTATIONS = []
