"""How many problems of each file pass with their own answer here. `python studies/code/valid.py FILE...`; it runs the
answers of the files, in the sandbox."""

from __future__ import annotations

import sys
from pathlib import Path

from rewarm.sandbox.permission import executing
from rewarm.sandbox.run import protections
from rewarm.suites.code import Code
from rewarm.suites.valid import environment

if __name__ == "__main__":
    print(environment(), protections())
    with executing():
        for name in sys.argv[1:]:
            suite = Code(path=name, limit=None)
            chosen = suite.choose(0)
            valid = suite.valid(chosen)
            print(f"{Path(name).name}: {len(valid.ids)} of {len(chosen.ids)} valid", flush=True)
            for fault, count in valid.tally.left_out.most_common():
                print(f"  {count} {fault}")
            print(f"  without: {' '.join(one for one in chosen.ids if one not in valid.ids)}")
