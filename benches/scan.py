"""Measures the scan against two computed listings: `python3 benches/scan.py [--small] [--profile release]`.

The bars: 100,000 keys of each side a CPU-second, 100 MB of memory, as much for ten million keys as for one. With
--small, a hundredth of the keys and no bar on time: what is counted must be right.
"""

import argparse
import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile

from world import ROOT, Server

RATE, MEMORY_MIB = 100_000, 100
# Memory that a longer listing may take beyond a shorter one: noise of the allocator.
MORE_MIB = 5


def measured(folder, world, keys):
    source, destination = world
    command = [str(folder / "listings"), "--source", source.url, "--destination", destination.url, "--keys", str(keys)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the scan failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def wrong(found):
    """What is wrong with the counts: of every thousand keys one is missing, one is renamed and one differs."""
    keys, counts = found["keys"], found["counts"]
    expected = {"listed": keys, "unchanged": keys - 3 * keys // 1_000, "offered": 3 * keys // 1_000}
    seen = {name: counts.get(name, 0) for name in expected}
    return None if seen == expected else f"{seen}, not {expected}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a hundredth of the keys, no bar on time")
    parser.add_argument("--profile", default="release", choices=("release", "debug"))
    options = parser.parse_args()
    folder = ROOT / "target" / options.profile
    sizes = [10_000, 100_000] if options.small else [1_000_000, 10_000_000]
    complaints, found = [], []
    with contextlib.ExitStack() as stack:
        place = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="longhaul-bench-")))
        world = []
        for side in ("source", "destination"):
            server = Server(folder / "null-s3", side, place)
            stack.callback(server.stop)
            world.append(server)
        for keys in sizes:
            one = measured(folder, world, keys)
            found.append(one)
            print(f"{keys:>12,} keys a side: {one['wall']:.1f} s, {one['user'] + one['system']:.1f} CPU-s, "
                  f"{one['keys_per_cpu_second']:,.0f} keys a CPU-s, {one['peak_rss_mib']:.1f} MiB")
            if told := wrong(one):
                complaints.append(f"{keys:,} keys: {told}")
            if one["peak_rss_mib"] > MEMORY_MIB:
                complaints.append(f"{keys:,} keys: {one['peak_rss_mib']:.0f} MiB, more than {MEMORY_MIB}")
            if not options.small and one["keys_per_cpu_second"] < RATE:
                complaints.append(f"{keys:,} keys: {one['keys_per_cpu_second']:,.0f} a CPU-s, fewer than {RATE:,}")
    few, many = (one["peak_rss_mib"] for one in found)
    if many > few + MORE_MIB:
        complaints.append(f"memory grows: {few:.1f} MiB, then {many:.1f} MiB")
    for complaint in complaints:
        print(f"NOT OK  {complaint}", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
