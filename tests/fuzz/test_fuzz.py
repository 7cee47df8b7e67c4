"""The fuzz targets in the suite: their corpus, and for a moment what becomes of it at random.

``make fuzz`` runs them for long, guided by coverage.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from fuzz_targets import TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st

CORPUS = Path(__file__).parent / "corpus"
SEEDS = {name: sorted((CORPUS / name).iterdir()) for name in TARGETS}
#: Examples for each: a second or so, with a whole relay in each of the slow ones.
FEW = {"http": 150, "websocket": 100}


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_each_seed_passes(name: str) -> None:
    for seed in SEEDS[name]:
        try:
            TARGETS[name](seed.read_bytes())
        except Exception as fault:
            fault.add_note(f"the seed is {name}/{seed.name}")
            raise


def test_each_target_has_seeds_and_its_place_in_make_fuzz() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)
    makefile = (CORPUS.parents[2] / "Makefile").read_text(encoding="utf-8")
    [line] = [line for line in makefile.splitlines() if line.startswith("TARGETS :=")]
    assert set(line.split()[2:]) == set(TARGETS)


def mutated(data: bytes, other: bytes, random: Random) -> bytes:
    """The data with a few bytes changed, cut out, doubled, or from somewhere else."""
    made = bytearray(data)
    for _ in range(random.randrange(1, 6)):
        at = random.randrange(len(made) + 1)
        size = random.choice((1, 1, 2, 8, 64))
        match random.randrange(5):
            case 0:
                made[at : at + size] = random.randbytes(size)
            case 1:
                del made[at : at + size]
            case 2:
                made[at:at] = made[at : at + size]
            case 3:
                begin = random.randrange(len(other) + 1)
                made[at:at] = other[begin : begin + size]
            case _:
                made[at : at + 1] = random.choice((b"\0", b"\xff", b"\x7f", b"\r\n", b'"', b"\\"))
    return bytes(made)


def changed(name: str) -> st.SearchStrategy[bytes]:
    """What came of a seed."""
    seeds = st.sampled_from([seed.read_bytes() for seed in SEEDS[name]])
    return st.one_of(
        st.builds(mutated, seeds, seeds, st.randoms(use_true_random=False)),
        st.binary(max_size=200),
    )


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_whatever_comes(name: str) -> None:
    @settings(max_examples=FEW.get(name, 400), database=None)
    @given(changed(name))
    def whatever(data: bytes) -> None:
        TARGETS[name](data)

    whatever()
