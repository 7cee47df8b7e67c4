"""One room across any number of instances, whatever goes wrong: thousands of short plays.

`SEED=17 pytest tests/engine/test_many_instances.py` repeats one play; `PLAYS=100000` plays more
than usual, `FIRST=5000` other ones.
"""

import os

import pytest
from plays import plan, shrunk, verdict

PLAYS = int(os.environ.get("PLAYS", "1500"))
FIRST = int(os.environ.get("FIRST", "0"))
SHARES = 10


def story(seed, steps):
    """A play in which a promise was broken, made as short as can be."""
    promise = verdict(seed, steps).complaints[0].split(":")[0]
    steps = shrunk(seed, steps, promise)
    play = verdict(seed, steps)
    lines = [f"SEED={seed}", *play.complaints, "", *map(str, steps), "", *play.told]
    return "\n".join(lines)


def check(seed):
    steps = plan(seed)
    if verdict(seed, steps).complaints:
        pytest.fail(story(seed, steps), pytrace=False)


if "SEED" in os.environ:

    def test_one_play():
        check(int(os.environ["SEED"]))

else:

    @pytest.mark.timeout(600 + PLAYS)
    @pytest.mark.parametrize("share", range(SHARES))
    def test_plays(share):
        for seed in range(FIRST + share, FIRST + PLAYS, SHARES):
            check(seed)
