"""A few hundred stories told by dice, with a ledger so short that things are carried forward; and those that once went wrong."""

from __future__ import annotations

import pytest

from tests.core.dice import TIGHT, story, tell

STORIES = 150


@pytest.mark.parametrize("tight", [False, True])
def test_stories(tight: bool) -> None:
    """Whatever happens, promises are kept at every step, and in a fair world everything ends."""
    for seed in range(STORIES):
        tell(story(seed, 120 if tight else 60), TIGHT if tight else None)
