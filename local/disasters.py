"""The promises under seeded disasters on the wire: the deployed stack, its two sides behind a proxy that loses, cuts, delays and
refuses, while its functions are killed, its executions stopped and its sources overwritten.

LONGHAUL_DISASTER_SEEDS says how many seeds, LONGHAUL_DISASTER_FIRST which is the first. A seed decides the objects, what others
do and which requests are struck; when processes send them is theirs, so that a seed run again meets the same faults, and not
the same moments.
"""

import collections
import concurrent.futures
import contextlib
import hashlib
import io
import json
import os
import random
import re
import urllib.request

import backfills
import cases
import chain
import endpoints
import promises
from faultproxy import Proxy
from objects import PART
from weather import Weather

SEEDS = int(os.environ.get("LONGHAUL_DISASTER_SEEDS", "12"))
FIRST = int(os.environ.get("LONGHAUL_DISASTER_FIRST", "1"))
AT_ONCE = 6
SECONDS = 150
# Nothing is under way when nothing was seen for so long.
QUIET = 1.5
# The state machine's waits between retries, as parts of what they are on AWS.
WAITS = 0.1
HISTORY_LINES = 240
# Not intake: a message comes back only after the quarter of an hour for which it is hidden. Not settle: see weather.py.
MORTAL = ("plan", "copy-objects", "copy-parts", "complete")


class Seed:
    """Its objects, their versions, and what others do to them."""

    def __init__(self, number):
        self.number = number
        self.dice = random.Random(number)
        self.prefix = f"seed {number}+/"
        sizes = [0, 1, self.dice.randrange(2_000, 60_000), 300 * 1024, PART + 1, self.dice.randrange(3 * PART, 5 * PART)]
        # SHA-256 of the versions of each key, the oldest first.
        self.versions = {f"{self.prefix}{place} ä//{size}": [] for place, size in enumerate(sizes)}
        self.sizes = dict(zip(self.versions, sizes))
        self.told = []
        self.deeds = sorted(self.draw(), key=lambda deed: deed[0])

    def draw(self):
        """What others do, each after so many requests of this seed: (requests, name, what it is about)."""
        dice, keys = self.dice, list(self.versions)
        large = keys[-2:]
        chances = [
            (0.5, "overwrite", lambda: dice.choice(keys[1:] + large)), (0.6, "event again", lambda: dice.choice(keys)),
            (0.4, "execution by hand", lambda: dice.choice(large)), (0.3, "stop", lambda: dice.choice(large)),
            (0.5, "kill", lambda: dice.choice(MORTAL)),
        ]
        for chance, name, about in chances:
            if dice.random() < chance:
                yield dice.randrange(4, 60), name, about()

    def put(self, client, key):
        """Puts the next version of a key."""
        version = len(self.versions[key])
        size = self.sizes[key] if version == 0 else max(1, self.sizes[key] + self.dice.choice([0, 0, -1, 1, 700]))
        body = random.Random(f"{key} {version}").randbytes(size)
        self.versions[key].append(hashlib.sha256(body).hexdigest())
        if size > PART:
            from boto3.s3.transfer import TransferConfig

            layout = TransferConfig(multipart_threshold=PART + 1, multipart_chunksize=PART, max_concurrency=2)
            client.upload_fileobj(io.BytesIO(body), "harbour", key, Config=layout)
        else:
            client.put_object(Bucket="harbour", Key=key, Body=body)


class Disasters:
    """The stack, and the wire before it."""

    def __init__(self, world, proxy):
        self.world, self.proxy = world, proxy
        self.here, self.there = world.s3_here, world.s3_there
        chain.bucket(world.there, "haven")
        # Every version that ever stood there can be looked at.
        self.there.put_bucket_versioning(Bucket="haven", VersioningConfiguration={"Status": "Enabled"})
        world.secret("haven", chain.user(world.there, "haven", chain.WRITE, "haven"))
        self.chain = chain.Chain(world.here, "storm", {
            "SourceBucket": "harbour", "SourceEndpoint": proxy.endpoints["source"], "SourcePathStyle": "true", "DestinationBucket": "haven",
            "DestinationCredentials": "secret", "DestinationSecret": "e2e/haven", "DestinationEndpoint": proxy.endpoints["destination"],
            "DestinationPathStyle": "true",
        }, world.files.parent)

    def wave(self, seeds):
        """Runs some seeds at once: disasters, then calm, then what failed is sent again once. What was broken, by seed."""
        self.known = {execution["executionArn"] for execution in self.chain.executions()}
        self.settled = set()
        for seed in seeds:
            self.proxy.weather[seed.number] = Weather(seed.number)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda put: put[0].put(self.here, put[1]), [(seed, key) for seed in seeds for key in seed.versions]))
        pending = [(seed, *deed) for seed in seeds for deed in seed.deeds]

        def storm():
            # A short seed never comes so far.
            rest = pending and self.at_rest(seeds)
            for deed in list(pending):
                seed, after, name, about = deed
                if rest or self.proxy.weather[seed.number].requests >= after:
                    pending.remove(deed)
                    seed.told.append(f"{self.proxy.now():8.2f} {name} {about}: {self.do(seed, name, about)}")
            return not pending and self.at_rest(seeds)

        chain.until(storm, SECONDS, lambda: f"no rest after {SECONDS} s: {self.restless(seeds)}")
        for seed in seeds:
            self.proxy.weather[seed.number].over = True
            seed.told.append(f"{self.proxy.now():8.2f} calm")
        again = self.redrive()
        chain.until(lambda: self.at_rest(seeds), SECONDS, lambda: f"no rest after the redrive: {self.restless(seeds)}")
        return again, promises.broken(self, seeds)

    def do(self, seed, name, about):
        """Does what somebody else would; what came of it."""
        if name == "overwrite":
            seed.put(self.here, about)
        elif name == "event again":
            self.chain.send(cases.notification("harbour", about.replace("+", "%2B").replace(" ", "+")))
        elif name == "execution by hand":
            return self.chain.start({"objects": [{"bucket": "harbour", "key": key} for key in seed.versions]})
        elif name == "kill":
            found = self.chain.functions(about)
            for pid in found:
                self.proxy.kill((pid, endpoints.began(pid)))
            return found
        elif name == "stop":
            for arn in self.running():
                if about in self.offered(arn):
                    self.chain.states.stop_execution(executionArn=arn, error="Test", cause="stopped by a test")
                    return arn
            return "none runs"
        return "done"

    def executions(self):
        """The executions of this wave."""
        return [execution for execution in self.chain.executions() if execution["executionArn"] not in self.known]

    def running(self):
        return [execution["executionArn"] for execution in self.executions() if execution["status"] == "RUNNING"]

    def offered(self, arn):
        """Keys that an execution was offered."""
        request = json.loads(self.chain.states.describe_execution(executionArn=arn)["input"])
        return {item["key"] for item in request.get("objects", [])}

    def open_ends(self, seeds):
        """Keys without a final outcome."""
        ended = self.chain.ended_objects()
        return [key for seed in seeds for key in seed.versions if ("harbour", key) not in ended]

    def outcome(self, execution):
        """Counts of the outcome object of an execution; None where there is none."""
        arn, name = execution["executionArn"], execution["name"]
        key = f"outcomes/{hashlib.md5(arn.encode(), usedforsecurity=False).hexdigest()[:4]}/{name}.json"
        with contextlib.suppress(self.here.exceptions.NoSuchKey):
            return json.loads(self.here.get_object(Bucket=self.chain.outputs["WorkBucketName"], Key=key)["Body"].read())["tally"]
        return None

    def unsettled(self):
        """Executions without an outcome object: one that was stopped is settled afterwards."""
        for execution in self.executions():
            if execution["executionArn"] not in self.settled and self.outcome(execution) is not None:
                self.settled.add(execution["executionArn"])
        return [execution["name"] for execution in self.executions() if execution["executionArn"] not in self.settled]

    def at_rest(self, seeds):
        """True if nothing is under way, and every execution and every object has an outcome."""
        return (
            self.proxy.quiet() > QUIET and not self.chain.waiting(self.chain.queue) and not self.running() and not self.open_ends(seeds)
            and not self.unsettled() and self.proxy.quiet() > QUIET
        )

    def restless(self, seeds):
        """What keeps it from being at rest."""
        return (
            f"queue {self.chain.waiting(self.chain.queue)}, running {self.running()}, without outcome {self.open_ends(seeds)} and "
            f"{self.unsettled()}"
        )

    def redrive(self):
        """What failed is sent to the queue again by the command that does it; how many messages."""
        return json.loads(backfills.command(self.chain, "redrive", "--json"))["sent"]

    def clear(self, seeds):
        """The endpoints hold objects in memory."""
        for client, bucket in ((self.here, "harbour"), (self.there, "haven")):
            for seed in seeds:
                for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=seed.prefix):
                    for version in page.get("Versions", []):
                        client.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
                for upload in client.list_multipart_uploads(Bucket=bucket, Prefix=seed.prefix).get("Uploads", []):
                    client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def wait_scale(account, scale):
    """Sets how long the state machines of a local account wait between retries."""
    body = json.dumps({"stepfunctions._SFN_WAIT_SCALE": scale}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{account.endpoint}/_ministack/config", body, method="POST"), timeout=10) as reply:
        assert json.load(reply)["applied"], "the local AWS takes no scale of waits"


def seed_of(key):
    found = re.match(r"seed (\d+)\+/", key)
    return int(found[1]) if found else None


def history(proxy, seed):
    """What happened in a seed, in order; the middle is left out where it is long."""
    lines = sorted([str(exchange) for exchange in proxy.of(seed.number)] + seed.told, key=lambda line: float(line.split()[0]))
    if len(lines) > HISTORY_LINES:
        left = len(lines) - HISTORY_LINES
        lines = [*lines[: HISTORY_LINES // 2], f"         ({left} lines left out)", *lines[-(HISTORY_LINES // 2):]]
    return "\n".join(lines)


def the_promises_hold_under_disasters(world):
    """Whatever goes wrong on the wire and whoever is killed: every object ends once and rightly, and nothing is left."""
    failures, faults, excused, redriven, again = [], collections.Counter(), collections.Counter(), 0, 0
    upstreams = {"source": world.here.endpoint, "destination": world.there.endpoint}
    with contextlib.ExitStack() as stack, Proxy(upstreams, world.here, seed_of) as proxy:
        disasters = Disasters(world, proxy)
        wait_scale(world.here, WAITS)
        stack.callback(wait_scale, world.here, 1)
        numbers = range(FIRST, FIRST + SEEDS)
        for start in range(0, SEEDS, AT_ONCE):
            seeds = [Seed(number) for number in numbers[start : start + AT_ONCE]]
            try:
                again, (broken, excuses) = disasters.wave(seeds)
            except Exception:
                print("\n".join(f"seed {seed.number}:\n{history(proxy, seed)}" for seed in seeds), flush=True)
                raise
            redriven += again
            excused += excuses
            for seed in seeds:
                struck = collections.Counter(exchange.fault for exchange in proxy.of(seed.number) if exchange.fault)
                faults += struck
                if seed.number in broken:
                    failures.append(
                        f"seed {seed.number}: {'; '.join(broken[seed.number])}\n  faults: {dict(struck)}\n{history(proxy, seed)}\n"
                        f"  alone: LONGHAUL_DISASTER_FIRST={seed.number} LONGHAUL_DISASTER_SEEDS=1 .venvs/aws/bin/python local/e2e.py "
                        f"{the_promises_hold_under_disasters.__name__}"
                    )
            if 0 in broken:
                failures.append(f"seeds {seeds[0].number} to {seeds[-1].number}: {'; '.join(broken[0])}")
            disasters.clear(seeds)
        print(f"  {SEEDS} seeds, {len(proxy.exchanges)} requests, {len(proxy.killed)} processes killed, {redriven} messages sent again; "
              f"faults {dict(faults)}; excused {dict(excused)}", flush=True)
        assert faults or not SEEDS, "nothing went wrong: the functions do not go through the proxy"
    assert not failures, f"{len(failures)} failed\n" + "\n\n".join(failures)


CASES = [the_promises_hold_under_disasters]
