"""Fuzzes one target, guided by what it covers: ``python tests/fuzz/run.py TARGET [options]``.

Options are libFuzzer's, for example ``-max_total_time=60``. It begins with the target's corpus, and
what it finds beyond lands in ``build/fuzz/TARGET``; so does what breaks the target, which belongs
into the corpus once it is mended.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import atheris

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def main() -> None:
    name = sys.argv[1]
    sys.path[:0] = [str(HERE), str(ROOT)]
    with atheris.instrument_imports(include=["twisted_relay", "txredisapi"]):
        targets = importlib.import_module("fuzz_targets").TARGETS
    found = ROOT / "build" / "fuzz" / name
    found.mkdir(parents=True, exist_ok=True)
    options = [f"-artifact_prefix={found}/", "-timeout=10", *sys.argv[2:]]
    atheris.Setup([sys.argv[0], *options, str(found), str(HERE / "corpus" / name)], targets[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
