"""`make campaign PART=name`: what takes too long for the suite, with the code of the suite.

A part is a module of this folder with `run(seed, say)`: `say` prints a line of counts, the answer is whether all held.
The suite calls the same functions with a small share. Without PART, all parts one after the other.
"""

import argparse
import os
import platform
import random
import sys
import time
from importlib import import_module
from pathlib import Path

from tests.paths import ROOT

PARTS = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="make campaign", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[[], *PARTS], help=f"one of {', '.join(PARTS)}; none: all")
    parser.add_argument("--seed", type=int, default=None, help="repeat a run; by default another one each time")
    given = parser.parse_args()
    seed = random.SystemRandom().getrandbits(32) if given.seed is None else given.seed
    sys.path.insert(0, str(ROOT))
    failed = []
    for part in given.part or PARTS:
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        print(f"{part}: seed {seed}, {machine}", flush=True)
        began = time.monotonic()
        held = import_module(f"tests.campaign.{part}").run(seed, lambda line: print(f"  {line}", flush=True))
        print(f"  {'held' if held else 'FAILED'} after {time.monotonic() - began:.0f} s", flush=True)
        if not held:
            failed.append(part)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
