"""The deployed chain, end to end: `make test` runs every case, `e2e.py NAME...` only these."""

import os
import sys
import time
import traceback

import backfills
import cases
import coldstart
import deployments
import disasters
import newcomer
import permissions
import stack
from endpoints import Endpoints, stop_on_signals


def say(text):
    print(text, flush=True)


def main(names):
    stop_on_signals()
    first = [*coldstart.CASES, *cases.CASES[:-1], *backfills.CASES, *newcomer.CASES, *disasters.CASES]
    known = [*first, *deployments.CASES, *permissions.CASES, cases.CASES[-1]]
    chosen = [case for case in known if case.__name__ in names] if names else known
    say(f"built in {stack.build():.0f} s")
    passed = failed = 0
    with Endpoints("e2e") as endpoints:
        mark = time.monotonic()
        world = cases.World(endpoints)
        say(f"deployed in {time.monotonic() - mark:.0f} s")
        for case in chosen:
            mark = time.monotonic()
            try:
                case(world)
            except Exception:  # a failed case must not hide the others
                failed += 1
                say(f"FAILED  {case.__name__}  {time.monotonic() - mark:.1f} s\n{traceback.format_exc()}")
            else:
                passed += 1
                say(f"ok  {case.__name__}  {time.monotonic() - mark:.1f} s")
        if failed:
            say(world.logs())
            if os.environ.get("KEEP"):
                endpoints.keep()
    say(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
