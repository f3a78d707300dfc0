"""Shows Longhaul at work on this machine: the real template, the real binaries, two local endpoints as two accounts.

Puts objects into the source bucket, kills a function in the middle of the large one, compares every object byte for
byte. With KEEP=1 all of it stays up.
"""

import collections
import os
import sys
import time
import unicodedata

import chain
import objects
import stack
from endpoints import ROOT, Endpoints, stop_on_signals
from objects import MIB

SOURCE, DESTINATION = "departures", "arrivals"
LARGE = "video/long haul.mov"
# Key, size. The large one is big enough to be caught in the middle.
OBJECTS = [
    ("empty", 0),
    ("notes/readme.txt", 3_217),
    ("four MiB.bin", 4 * MIB),
    ("eight MiB and a byte.bin", 8 * MIB + 1),
    ("a key with spaces + plus.txt", 20_000),
    ("double//slash/", 12),
    ("100% of {it}&more=?.csv", 9_999),
    ("übersee/船便/🚢.dat", 70_001),
    (LARGE, 192 * MIB),
]
KILL_SECONDS = 60
END_SECONDS = 150


def say(text=""):
    print(text, flush=True)


class Watch:
    """Prints what executions do as they do it: how often each function was called, and what went wrong."""

    def __init__(self, deployed):
        self.deployed, self.began = deployed, time.monotonic()
        self.seen, self.over, self.faults = collections.Counter(), set(), 0

    def line(self, text):
        say(f"  {time.monotonic() - self.began:5.1f} s  {text}")

    def look(self):
        """One look at every execution; true once something ran and all have ended."""
        executions = self.deployed.executions()
        for execution in executions:
            arn, name = execution["executionArn"], execution["name"][:11]
            if arn in self.over:
                continue
            events = self.deployed.history(arn)
            fresh = events[self.seen[arn] :]
            self.seen[arn] = len(events)
            calls, faults = collections.Counter(), []
            for event in fresh:
                if event["type"] == "TaskScheduled":
                    calls[event["taskScheduledEventDetails"]["resource"].removeprefix("arn:aws:").rpartition(":")[2]] += 1
                elif event["type"] == "TaskFailed":
                    faults.append(event["taskFailedEventDetails"].get("error", "?"))
            if calls:
                names = (f"{called.removeprefix(self.deployed.name + '-')}{f' x{count}' if count > 1 else ''}" for called, count in calls.items())
                self.line(f"{name}  {', '.join(names)}")
            self.faults += len(faults)
            for error in faults:
                self.line(f"{name}  a function ended in {error}: called again")
            if execution["status"] != "RUNNING":
                self.over.add(arn)
                self.line(f"{name}  {execution['status']}")
        return bool(executions) and len(self.over) == len(executions)


def kill_in_the_middle(deployed, store, watch, key):
    """Kills the copy-parts functions while a large object has some of its parts; false if it arrived too quickly."""
    total = -(-dict(OBJECTS)[LARGE] // objects.PART)
    deadline = time.monotonic() + KILL_SECONDS
    looked = time.monotonic()
    while time.monotonic() < deadline and (SOURCE, key) not in deployed.ended_objects():
        held = len(chain.held_parts(store, DESTINATION, key))
        if 2 <= held < total - 2 and (killed := deployed.kill("copy-parts")):
            watch.line(f"KILLED copy-parts (process {', '.join(map(str, killed))}) with {held} of {total} parts of \"{key}\" copied")
            return True
        if not held and time.monotonic() - looked > 0.5:
            watch.look()
            looked = time.monotonic()
    return False


def columns(text):
    """Columns of a terminal that a text takes."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def table(records, came):
    """Prints one line for each object."""
    head = ("object", "size", "outcome", "ms", "proof", "ETag at the source", "ETag at the destination", "bytes")
    rows = []
    for key, size in OBJECTS:
        record = records.get((SOURCE, key)) or {}
        source, destination = came[key]
        rows.append((
            key, objects.human(size), record.get("status", "-"),
            str(record["updatedMs"] - record["startedMs"]) if record else "-", str(record.get("proof") or "-"),
            source[2], destination[2] if destination else "-",
            "equal" if destination and source[:2] == destination[:2] else "DIFFERENT",
        ))
    widths = [max(columns(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, tuple("-" * width for width in widths), *rows]:
        say("  " + "  ".join(text + " " * (width - columns(text)) for text, width in zip(row, widths)).rstrip())
    return sum(row[-1] == "equal" and row[2] == "migrated" for row in rows)


def keep(endpoints, deployed):
    """Leaves all of it up and says how to go on."""
    config = endpoints.directory / "aws-config"
    config.touch(mode=0o600)
    config.write_text("".join(
        f"[profile {account.name}]\nregion = {account.region}\nendpoint_url = {account.endpoint}\n"
        f"aws_access_key_id = {account.key}\naws_secret_access_key = {account.secret}\n"
        for account in endpoints.accounts
    ))
    endpoints.keep()
    say(f"""
both accounts stay up; `make stop` ends them. To look around:
  export AWS_CONFIG_FILE={config} PATH={ROOT / '.venvs' / 'aws' / 'bin'}:$PATH
  aws --profile source s3 cp README.md s3://{SOURCE}/ && sleep 3 && aws --profile destination s3 ls s3://{DESTINATION}
  aws --profile source stepfunctions start-execution --state-machine-arn {deployed.machine} \\
      --input '{{"objects":[{{"bucket":"{SOURCE}","key":"notes/readme.txt"}}]}}'
  aws --profile source stepfunctions list-executions --state-machine-arn {deployed.machine}
  aws --profile source dynamodb scan --table-name {deployed.outputs['LedgerTable']}
  aws --profile source sqs receive-message --queue-url {deployed.failed}
  aws --profile source logs filter-log-events --log-group-name /aws/lambda/{deployed.name}-plan --query "events[].message" --output text""")


def deploy(endpoints):
    """The stack that migrates from the source account to the destination account by keys in a secret (PUT mode)."""
    source, destination = endpoints.source, endpoints.destination
    chain.bucket(destination, DESTINATION)
    keys = chain.user(destination, "longhaul", chain.WRITE, DESTINATION)
    source.client("secretsmanager").create_secret(Name="longhaul/destination", SecretString=keys)
    parameters = {
        "SourceBucket": SOURCE, "SourceEndpoint": source.endpoint, "SourcePathStyle": "true", "DestinationBucket": DESTINATION, "DestinationCredentials": "secret",
        "DestinationSecret": "longhaul/destination", "DestinationEndpoint": destination.endpoint, "DestinationPathStyle": "true",
    }
    return chain.Chain(source, "longhaul", parameters, endpoints.directory)


def main():
    stop_on_signals()
    began = time.monotonic()
    say("building the functions (sam build)")
    say(f"  {stack.build():.0f} s")
    with Endpoints("demo") as endpoints:
        for account in endpoints.accounts:
            say(f"account {account.account} ({account.name}, {account.region}) at {account.endpoint}")
        say("deploying template.yaml (sam deploy)")
        mark = time.monotonic()
        deployed = deploy(endpoints)
        say(f"  {time.monotonic() - mark:.0f} s")

        files = endpoints.directory / "files"
        files.mkdir()
        paths = {key: objects.make(files, str(number), size) for number, (key, size) in enumerate(OBJECTS)}
        here, there = endpoints.source.client("s3"), endpoints.destination.client("s3")
        say(f"putting {len(OBJECTS)} objects, {objects.human(sum(size for _, size in OBJECTS))}, into s3://{SOURCE}")
        watch = Watch(deployed)
        for key, path in paths.items():
            objects.upload(here, SOURCE, key, path)
        kill_in_the_middle(deployed, there, watch, LARGE)
        chain.until(watch.look, END_SECONDS, lambda: f"executions still run after {END_SECONDS} s")
        records = deployed.settled([(SOURCE, key) for key, _ in OBJECTS], END_SECONDS)
        deployed.idle(END_SECONDS)
        watch.look()

        say("\ncomparing every object byte for byte")
        came = {key: (objects.digest(here, SOURCE, key), objects.digest(there, DESTINATION, key)) for key, _ in OBJECTS}
        equal = table(records, came)
        failed, dead = deployed.waiting(deployed.failed), deployed.waiting(deployed.dead)
        resumed = f"{watch.faults} functions killed in the middle and resumed" if watch.faults else "no function was caught in the middle"
        good = equal == len(OBJECTS) and watch.faults and not failed and not dead
        say(f"\nverdict: {equal} of {len(OBJECTS)} objects arrived, byte for byte; {resumed}; "
            f"{failed} on the failed queue, {dead} on the dead-letter queue; {time.monotonic() - began:.0f} s")
        if os.environ.get("KEEP"):
            keep(endpoints, deployed)
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except TimeoutError as error:
        sys.exit(f"failed: {error}")
