"""The rows: what is measured, against whom, and where the bar lies."""

import dataclasses
from typing import Callable, Optional

from runs import CASES, Case, Entrant

MB = 1_000_000


@dataclasses.dataclass(frozen=True)
class Bar:
    """One line of the table.

    With `peers`, the bar is a share of the best of them; without, it is a number. Without a bar the line only tells.
    """

    title: str
    value: Callable  # of a run and its case
    unit: str
    most: Optional[float] = None
    least: Optional[float] = None
    peers: tuple = ()
    entrant: str = "ours"

    def text(self):
        if self.most is None and self.least is None:
            return "none"
        number = f"{self.most if self.most is not None else self.least:g}"
        way = "at most" if self.most is not None else "at least"
        if not self.peers:
            return f"{way} {number} {self.unit}"
        return f"{way} {number} of " + (self.peers[0] if len(self.peers) == 1 else "the better of " + " and ".join(self.peers))


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that are interleaved, and the lines drawn from them."""

    name: str
    case: Case
    entrants: tuple
    bars: tuple
    rounds: int = 5
    # What `world.loopback` or, with a loss, `world.link` takes.
    world: dict = dataclasses.field(default_factory=dict)


def cpu(case):
    unit, count = case.unit
    return lambda run: run.cpu / count, f"CPU-s per {unit}"


def wall(run):
    return run.wall


def rss(run):
    return run.rss


def requests(run):
    return run.requests


def rate(case):
    return lambda run: case.size / MB / run.wall


def cpu_bar(title, case, most=None, peers=("rclone",), entrant="ours"):
    value, unit = cpu(case)
    return Bar(f"{title}: {unit}", value, unit, most=most, peers=peers, entrant=entrant)


def rss_bar(title, most=None):
    return Bar(f"{title}: peak RSS", rss, "MB", most=most)


def requests_bar(title, case):
    return Bar(f"{title}: requests", requests, "requests", most=case.requests)


def programs(parallel, *names):
    return tuple(Entrant(name, parallel) for name in names)


GIB1, GIB8 = CASES["one-1gib"], CASES["one-8gib"]
MEDIUM, SMALL, TINY = CASES["200-4mib"], CASES["2000-64kib"], CASES["500-tiny"]
ALL = ("ours", "rclone", "s3sync", "s5cmd")
LINK_PEERS = ("rclone", "s3sync")
LANES = Entrant("ours", 16, ("--md5-lanes", "128"), "ours, 128-bit lanes")
PATIENT = Entrant("ours", 128, ("--no-hedging",), "ours without hedging")


def many(name, title, case, most):
    return Group(name, case, programs(16, *ALL), (cpu_bar(title, case, most), rss_bar(title), requests_bar(title, case)))


FULL = (
    Group(
        "gib-16", GIB1, (*programs(16, *ALL), LANES),
        (
            cpu_bar("1 GiB, 16 parallel", GIB1, 0.5),
            rss_bar("1 GiB, 16 parallel", 45),
            requests_bar("1 GiB, 16 parallel", GIB1),
            cpu_bar("1 GiB, 16 parallel, 128-bit lanes", GIB1, entrant=LANES.name),
        ),
    ),
    Group(
        "gib-128", GIB1, programs(128, *ALL),
        (cpu_bar("1 GiB, 128 parallel", GIB1, 0.5), rss_bar("1 GiB, 128 parallel", 180), requests_bar("1 GiB, 128 parallel", GIB1)),
    ),
    Group(
        "gib8-16", GIB8, programs(16, "ours", "rclone", "s3sync"),
        (cpu_bar("8 GiB, 16 parallel", GIB8, 0.5), rss_bar("8 GiB, 16 parallel", 45), requests_bar("8 GiB, 16 parallel", GIB8)),
    ),
    Group(
        "gib8-128", GIB8, programs(128, "ours", "rclone"),
        (cpu_bar("8 GiB, 128 parallel", GIB8, 0.5), rss_bar("8 GiB, 128 parallel", 180)),
        rounds=3,
    ),
    many("medium", "200 x 4 MiB", MEDIUM, 0.8),
    many("small", "2,000 x 64 KiB", SMALL, 0.55),
    many("tiny", "500 x 0 to 1 KiB", TINY, 0.35),
    Group(
        "crc64", GIB1, programs(16, "ours", "rclone"),
        (cpu_bar("1 GiB, 16 parallel, TLS, CRC64NVME the only proof (KMS)", GIB1), rss_bar("1 GiB, TLS, KMS"), requests_bar("1 GiB, TLS, KMS", GIB1)),
        world={"tls": True, "kms": True},
    ),
    Group(
        "tls", GIB1, programs(16, "ours", "rclone"),
        (cpu_bar("1 GiB, 16 parallel, TLS", GIB1), rss_bar("1 GiB, TLS"), requests_bar("1 GiB, TLS", GIB1)),
        world={"tls": True},
    ),
    Group(
        "quota-512", GIB1, programs(16, "ours"),
        (Bar("1 GiB, TLS, 0.29 core, 512 MB", rate(GIB1), "MB/s", least=75), rss_bar("1 GiB, TLS, 0.29 core, 512 MB")),
        rounds=3, world={"tls": True, "quota": (0.29, 512 << 20)},
    ),
    Group(
        "quota-256", GIB1, programs(16, "ours"),
        (Bar("1 GiB, TLS, 0.145 core, 256 MB", rate(GIB1), "MB/s"), rss_bar("1 GiB, TLS, 0.145 core, 256 MB")),
        rounds=3, world={"tls": True, "quota": (0.145, 256 << 20)},
    ),
    Group(
        "link", GIB1, (Entrant("ours", 128), *programs(64, *LINK_PEERS)),
        (Bar("1 GiB, 200 ms, 0.1 % loss: wall", wall, "s", most=0.6, peers=LINK_PEERS),),
        rounds=3, world={"loss": 0.1},
    ),
    Group(
        "link-clean", GIB1, (Entrant("ours", 128), PATIENT),
        (Bar("1 GiB, 200 ms, 0.01 % loss: wall", wall, "s", most=1.1, peers=(PATIENT.name,)),),
        rounds=3, world={"loss": 0.01},
    ),
    Group(
        "link-tiny", TINY, (Entrant("ours", 128), *programs(64, *LINK_PEERS)),
        (Bar("500 x 0 to 1 KiB, 200 ms, 0.1 % loss: wall", wall, "s", most=1.0, peers=LINK_PEERS),),
        rounds=3, world={"loss": 0.1},
    ),
)


def only_ours(name, title, case, parallel=16, **world):
    return Group(name, case, programs(parallel, "ours"), (requests_bar(title, case),), rounds=1, world=world)


# A hundredth of the work, and nothing that depends on the machine.
CI = (
    only_ours("one", "64 MiB", CASES["one-64mib"]),
    only_ours("one-128", "128 MiB, 128 parallel", CASES["one-128mib"], 128),
    only_ours("medium", "2 x 4 MiB", CASES["2-4mib"]),
    only_ours("small", "20 x 64 KiB", CASES["20-64kib"]),
    only_ours("tiny", "5 x 0 to 1 KiB", CASES["5-tiny"]),
    only_ours("tls", "64 MiB, TLS", CASES["one-64mib"], tls=True),
    only_ours("crc64", "64 MiB, TLS, KMS", CASES["one-64mib"], tls=True, kms=True),
)
