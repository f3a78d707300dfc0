"""One run of one program, measured and verified."""

import dataclasses
import json
import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time

from world import ROOT, Missing

MIB, GIB = 1 << 20, 1 << 30
PART = 8 * MIB
# The parts of a page of ListParts, and how often a copy may list all parts.
PAGE, LISTINGS = 1_000, 1
# Requests to a bucket as a whole.
OF_BUCKETS = {"ListObjects", "ListBuckets", "HeadBucket", "CreateBucket", "GetBucketLocation", "GetBucketVersioning", "ListMultipartUploads"}
PEERS = {
    "rclone": ROOT / ".venvs" / "bench" / "bin" / "rclone",
    "s5cmd": ROOT / ".venvs" / "bench" / "bin" / "s5cmd",
    "s3sync": ROOT / "target" / "peers" / "bin" / "s3sync",
}
KEYS = {
    "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


@dataclasses.dataclass(frozen=True)
class Case:
    """What the objects of a bucket come to; the servers hold the same list."""

    name: str
    objects: int
    size: int
    large: bool = False

    @property
    def unit(self):
        """Name of what CPU time is counted by, and how much of it there is."""
        return ("GiB", self.size / GIB) if self.large or self.size >= GIB // 2 else ("1,000 objects", self.objects / 1_000)

    @property
    def requests(self):
        """The most requests that a copy may need, those to buckets apart."""
        parts = -(-self.size // PART)
        return 2 * parts + 8 + LISTINGS * -(-parts // PAGE) if self.large else 2 * self.objects


CASES = {
    case.name: case
    for case in (
        Case("one-64mib", 1, 64 * MIB, True),
        Case("one-128mib", 1, 128 * MIB, True),
        Case("one-1gib", 1, GIB, True),
        Case("one-8gib", 1, 8 * GIB, True),
        Case("2-4mib", 2, 8 * MIB),
        Case("200-4mib", 200, 800 * MIB),
        Case("20-64kib", 20, 20 << 16),
        Case("2000-64kib", 2_000, 2_000 << 16),
        Case("5-tiny", 5, 2_560),
        Case("500-tiny", 500, 255_752),
    )
}


@dataclasses.dataclass(frozen=True)
class Entrant:
    """A program, how many parts it may move at once, and options beyond the usual."""

    program: str
    parallel: int
    options: tuple = ()
    label: str = ""

    @property
    def name(self):
        return self.label or self.program


def command(entrant, case, world, ledger, ours):
    """The words that copy the bucket `case` to `dst-case`."""
    count, part = str(entrant.parallel), str(PART // MIB)
    source, destination = world.source.url, world.destination.url
    if entrant.program == "ours":
        words = [str(ours), "copy", f"s3://{case}", f"s3://dst-{case}"]
        for side, url in (("source", source), ("destination", destination)):
            words += [f"--{side}-endpoint-url", url, f"--{side}-force-path-style", f"--{side}-region", "us-east-1"]
        words += ["--part-size", f"{part}MiB", "--concurrency", count, "--ledger", str(ledger), "--quiet"]
        return words + (["--ca-bundle", str(world.bundle)] if world.bundle else []) + list(entrant.options)
    program = PEERS[entrant.program]
    if not program.exists():
        raise Missing(f"{entrant.program} is not installed")
    if entrant.program == "rclone":
        words = [str(program), "copy", "--config", "/dev/null", "-q", "--s3-no-check-bucket"]
        for option in ("transfers", "checkers", "multi-thread-streams", "s3-upload-concurrency"):
            words += [f"--{option}", count]
        for option in ("multi-thread-cutoff", "multi-thread-chunk-size", "s3-chunk-size", "s3-upload-cutoff"):
            words += [f"--{option}", f"{part}M"]
        side = ":s3,provider=Other,endpoint='{}',access_key_id=a,secret_access_key=b,region=us-east-1:{}"
        return [*words, side.format(source, case), side.format(destination, f"dst-{case}")]
    if entrant.program == "s3sync":
        words = [str(program), "--show-no-progress", "-q", "--worker-size", count, "--max-parallel-uploads", count]
        words += ["--multipart-threshold", f"{part}MiB", "--multipart-chunksize", f"{part}MiB"]
        for side, url in (("source", source), ("target", destination)):
            words += [f"--{side}-endpoint-url", url, f"--{side}-force-path-style", f"--{side}-region", "us-east-1"]
            words += [f"--{side}-access-key", "a", f"--{side}-secret-access-key", "b"]
        return [*words, f"s3://{case}", f"s3://dst-{case}"]
    # s5cmd knows one endpoint at a time: through memory.
    memory = ledger.parent / "memory"
    memory.mkdir()
    words = f"{shlex.quote(str(program))} --log error --numworkers {count} --endpoint-url"
    copy = f"cp -c {count} -p {part}"
    here = shlex.quote(str(memory))
    return ["sh", "-c", f"{words} {source} {copy} 's3://{case}/*' {here}/ && {words} {destination} {copy} {here}/ s3://dst-{case}/"]


@dataclasses.dataclass
class Run:
    """What one run took. `trouble` says why it does not count."""

    wall: float
    user: float
    system: float
    rss: float
    requests: int
    of_buckets: int
    connections: int
    peak: int
    servers_cpu: float
    trouble: str
    # How often what was asked, and with which proofs.
    operations: str

    @property
    def cpu(self):
        return self.user + self.system


def run(entrant, case, world, ours, log, limit=600):
    """Copies once. `log` takes what the program says."""
    memory = "/dev/shm" if entrant.program == "s5cmd" and os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="longhaul-bench-", dir=memory) as place:
        words = command(entrant, case.name, world, type(ROOT)(place) / "ledger", ours)
        for server in (world.source, world.destination):
            server.ask("/_reset")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RCLONE_", "SSL_"))}
        environment |= {**KEYS, "XDG_STATE_HOME": place}
        if world.bundle and entrant.program != "ours":
            environment["SSL_CERT_FILE"] = str(world.bundle)
        with open(log, "wb") as said:
            began = time.monotonic()
            process = subprocess.Popen(
                [*world.before, *words], stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment, start_new_session=True
            )
            # Its own group: a program that is late ends with everything that it started.
            late = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
            late.start()
            try:
                # Memory is counted from the fork on: never less than this interpreter's, some 20 MB.
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise
            finally:
                late.cancel()
            wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    source, destination = world.source.ask("/_stats"), world.destination.ask("/_stats")
    verdict = world.destination.ask(f"/_verify?bucket=dst-{case.name}&case={case.name}")
    of_buckets = sum(stats["operations"].get(name, 0) for stats in (source, destination) for name in OF_BUCKETS)
    return Run(
        wall=wall,
        user=usage.ru_utime,
        system=usage.ru_stime,
        rss=usage.ru_maxrss / 1024,
        requests=source["requests"] + destination["requests"] - of_buckets,
        of_buckets=of_buckets,
        connections=source["connections"] + destination["connections"],
        peak=destination["in_flight_peak"],
        servers_cpu=sum(stats[name] for stats in (source, destination) for name in ("cpu_user", "cpu_system")),
        trouble=trouble(process.returncode, verdict, case, destination, log),
        operations=json.dumps([source["operations"], destination["operations"]]),
    )


def trouble(code, verdict, case, destination, log):
    """What is wrong with a run; empty if every byte arrived and nothing else did."""
    if code:
        with open(log, errors="replace") as said:
            lines = [line.strip() for line in said if line.strip()] or ["nothing said"]
        return f"exit {code}: {next((line for line in lines if 'error' in line.lower()), lines[-1])[:200]}"
    if verdict != {"equal": case.objects, "missing": 0, "wrong": 0, "foreign": 0}:
        return "not equal: " + ", ".join(f"{count} {name}" for name, count in verdict.items())
    if destination["uploads_open"]:
        return f"{destination['uploads_open']} uploads left open"
    return ""
