"""Measures `longhaul copy` against its peers and prints the table of the bars; standard library only.

`python3 benches/bench.py [--small] [--rounds N] [--rows NAME,...]`, or `make bench` and `make bench-small`, which build
first. Raw lines go to target/bench.
"""

import argparse
import dataclasses
import pathlib
import signal
import statistics
import sys

import rows
import world
from runs import Run, run
from world import ROOT, Missing

RAW = ROOT / "target" / "bench"


def binaries(profiles, names):
    """The folder of the first of these profiles that is built."""
    for folder in (ROOT / "target" / profile for profile in profiles):
        if all((folder / name).exists() for name in names):
            return folder
    raise SystemExit(f"not built: {' and '.join(names)}")


def standing(group, folder):
    """The world of a group."""
    if "loss" in group.world:
        return world.link(folder / "null-s3", folder / "link", [group.case.name], **group.world)
    return world.loopback(folder / "null-s3", [group.case.name], **group.world)


def measured(group, folder, rounds, ours):
    """The runs of each entrant, interleaved; beside them why an entrant has none."""
    runs, absent = {entrant.name: [] for entrant in group.entrants}, {}
    fields = [field.name for field in dataclasses.fields(Run)]
    with standing(group, folder) as there, open(RAW / f"{group.name}.tsv", "a") as raw:
        raw.write("\t".join(["# entrant", "case", "parallel", *fields]) + "\n")
        for number in range(rounds):
            first = number % len(group.entrants)
            # Another begins each round: nobody always runs behind the same.
            for entrant in group.entrants[first:] + group.entrants[:first]:
                if entrant.name in absent:
                    continue
                try:
                    one = run(entrant, group.case, there, ours, RAW / "last.out")
                except Missing as reason:
                    absent[entrant.name] = str(reason)
                    continue
                runs[entrant.name].append(one)
                values = [f"{value:.3f}" if isinstance(value, float) else str(value) for value in dataclasses.astuple(one)]
                raw.write("\t".join([entrant.name, group.case.name, str(entrant.parallel), *values]) + "\n")
                raw.flush()
                tell(f"{group.name} {number + 1}/{rounds} {entrant.name}: {one.wall:.1f} s, {one.cpu:.2f} CPU-s, {one.rss:.0f} MB{', ' * bool(one.trouble)}{one.trouble}")
    for name, ran in runs.items():
        bad = [one.trouble for one in ran if one.trouble]
        if bad:
            absent[name] = f"{len(bad)} of {len(ran)} runs: {bad[0]}"
    return runs, absent


def line(bar, runs, absent):
    """A line of the table, and whether the bar is held; None where nothing could be said."""
    title, ours = bar.title, bar.entrant
    if ours in absent or not runs.get(ours):
        return [title, bar.text(), absent.get(ours, "no run"), "", "", "FAILED"], False
    median = {name: statistics.median(map(bar.value, ran)) for name, ran in runs.items() if ran and name not in absent}
    value = f"{number(median[ours])} {bar.unit}"
    peers = [name for name in bar.peers if name in median]
    without = "; ".join(f"{name}: {absent[name]}" for name in bar.peers if name in absent)
    if bar.peers and not peers:
        held = None if bar.most is None else False
        return [title, bar.text(), value, without or "no peer", "", "no peer"], held
    # The bar may be a share of one peer; what the best of all does is told as well.
    best = min(peers, key=median.get) if peers else None
    quantity = median[ours] / median[best] if best else median[ours]
    peer = f"{best} {number(median[best])}" + (f" ({without})" if without else "") if best else ""
    ratio = f"{quantity:.2f}" if best else ""
    if bar.most is None and bar.least is None:
        return [title, bar.text(), value, peer, ratio, ""], None
    held = quantity <= bar.most if bar.most is not None else quantity >= bar.least
    return [title, bar.text(), value, peer, ratio, "ok" if held else "NOT OK"], held


def number(value):
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def all_medians(group, runs):
    """Everything measured, a line for each entrant."""
    unit, count = group.case.unit
    for entrant in group.entrants:
        ran = [one for one in runs[entrant.name] if not one.trouble]
        if ran:
            middle = {field.name: statistics.median(getattr(one, field.name) for one in ran) for field in dataclasses.fields(Run) if field.type is not str}
            costs = sorted(one.cpu / count for one in ran)
            yield [
                group.name, f"{entrant.name} ({entrant.parallel})", str(len(ran)),
                f"{statistics.median(costs):.2f} ({costs[0]:.2f} to {costs[-1]:.2f}) per {unit}",
                f"{middle['wall']:.2f}", f"{group.case.size / rows.MB / middle['wall']:.0f}", f"{middle['rss']:.0f}",
                f"{middle['requests']:.0f} + {middle['of_buckets']:.0f}", f"{middle['connections']:.0f}", f"{middle['servers_cpu'] / count:.2f}",
            ]


def table(head, lines):
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *lines))


def tell(text):
    print(text, file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a hundredth of the work, without peers and timings")
    parser.add_argument("--rounds", type=int, help="rounds of every row; those of the bars where absent")
    parser.add_argument("--rows", help="names of rows, separated by commas: " + ", ".join(group.name for group in rows.FULL))
    parser.add_argument("--profile", choices=("release", "debug"), help="which build; whichever is there where absent")
    parser.add_argument("--ours", type=pathlib.Path, help="another binary of ours")
    parser.add_argument("--without", default="", help="programs to leave out, separated by commas")
    options = parser.parse_args()

    groups = rows.CI if options.small else rows.FULL
    if options.rows:
        known = {group.name: group for group in groups}
        unknown = [name for name in options.rows.split(",") if name not in known]
        if unknown:
            parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(known)}")
        groups = [known[name] for name in options.rows.split(",")]
    # What is not timed needs no optimisation.
    profiles = [options.profile] if options.profile else ["debug", "release"] if options.small else ["release", "debug"]
    folder = binaries(profiles, ["null-s3", "link", *([] if options.ours else ["longhaul"])])
    ours = options.ours or folder / "longhaul"
    RAW.mkdir(parents=True, exist_ok=True)
    # What was started is stopped then as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    lines, every, failed = [], [], 0
    for group in groups:
        left_out = options.without.split(",")
        group = dataclasses.replace(group, entrants=tuple(entrant for entrant in group.entrants if entrant.program not in left_out))
        try:
            runs, absent = measured(group, folder, options.rounds or group.rounds, ours)
        except Missing as reason:
            lines += [[bar.title, bar.text(), "left out", str(reason), "", ""] for bar in group.bars]
            continue
        for bar in group.bars:
            cells, held = line(bar, runs, absent)
            lines.append(cells)
            failed += held is False
        every += all_medians(group, runs)
    print(table(["row", "bar", "ours", "best peer", "ratio", ""], lines))
    if not options.small:
        print()
        print(table(["row", "who (parallel)", "runs", "CPU-s", "wall s", "MB/s", "RSS MB", "requests + of buckets", "connections", "servers' CPU-s"], every))
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
