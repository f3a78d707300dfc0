"""Backfills of a deployed stack, started and watched by the `longhaul` command as a user would.

LONGHAUL_BACKFILL_OBJECTS says how many small objects there are: `make backfill-full` takes 20,000 of them.
"""

import concurrent.futures
import json
import os
import random
import subprocess
import time

import chain
from endpoints import ROOT
from objects import MIB

SMALL = int(os.environ.get("LONGHAUL_BACKFILL_OBJECTS", "300"))
LARGE = 5
SECONDS = 90 + SMALL // 20
CLI = ROOT / "target" / "debug" / "longhaul"
# The destination also has to let the preflight look and the deletions delete.
VAULT = [*chain.WRITE, "s3:DeleteObject", "s3:GetLifecycleConfiguration"]


def deploy(world):
    """A stack whose source bucket nobody listens to: only backfills copy from it."""
    here, there = world.here, world.there
    chain.bucket(here, "archive")
    chain.bucket(there, "vault")
    world.secret("vault", chain.user(there, "vault", VAULT, "vault"))
    return chain.Chain(here, "fill", {
        "SourceBucket": "archive", "CreateSourceBucket": "false", "SourceEndpoint": here.endpoint, "SourcePathStyle": "true",
        "DestinationBucket": "vault", "DestinationPrefix": "copy/", "DestinationCredentials": "secret", "DestinationSecret": "e2e/vault",
        "DestinationEndpoint": there.endpoint, "DestinationPathStyle": "true", "AllowDelete": "true",
    }, world.files.parent)


def longhaul(world, *arguments, expect=0):
    """Runs the command on the stack of these cases; what it prints."""
    return command(world.fill, *arguments, expect=expect)


def command(deployed, *arguments, expect=0):
    """Runs the command as a user of a stack's account; what it prints."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [str(CLI), *arguments], env={**clean, **deployed.account.environment(), "LONGHAUL_STATE_MACHINE": deployed.outputs["BackfillStateMachineArn"]},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS,
    )
    assert done.returncode == expect, f"longhaul {' '.join(arguments)}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def backfill(world, *arguments, expect=0):
    """Runs a backfill of the stack's own route to its end; its summary."""
    return json.loads(longhaul(world, "backfill", "--json", "--quiet", *arguments, expect=expect))


def fill(world):
    """Small and large objects at the source; some are at the destination already, some differ, some are to be left out."""
    sizes, expected = random.Random(7), {"unchanged": 0, "excluded": 0, "migrated": 0, "differing": 0, "bytes": 0}
    puts = []
    for number in range(SMALL):
        key = f"{number % 7}/{number % 31} a+b/{number:06}" + (".tmp" if number % 20 == 19 else "")
        body = sizes.randbytes(sizes.choice([0, 1, 900, 4_000]))
        puts.append((world.s3_here, "archive", key, body))
        if key.endswith(".tmp"):
            expected["excluded"] += 1
            continue
        if number % 10 == 3:
            puts.append((world.s3_there, "vault", f"copy/{key}", body))
            expected["unchanged"] += 1
            continue
        if number % 20 == 4:
            puts.append((world.s3_there, "vault", f"copy/{key}", b"something else"))
            expected["differing"] += 1
        expected["migrated"] += 1
        expected["bytes"] += len(body)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda put: put[0].put_object(Bucket=put[1], Key=put[2], Body=put[3]), puts))
    for number in range(LARGE):
        size = 9 * MIB + number
        world.upload(world.s3_here, "archive", f"large/{number}", size)
        expected["migrated"] += 1
        expected["bytes"] += size
    return expected


def listed(client, bucket, prefix="", field="ETag"):
    """ETags, or another field, by key behind the prefix."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {entry["Key"][len(prefix):]: entry[field] for page in pages for entry in page.get("Contents", [])}


def a_bucket_is_brought_up_to_date(world):
    """What is missing or differs is copied, what is there is left alone, what is excluded stays out; the report says so,
    a second run copies nothing."""
    world.fill = deploy(world)
    expected = fill(world)
    total = SMALL + LARGE
    checked = json.loads(longhaul(world, "backfill", "--json", "--quiet", "--dry-run", "--exclude", "*.tmp"))
    assert checked["status"] == "dryRun" and checked["counts"]["offered"] == expected["migrated"], checked
    assert not listed(world.s3_there, "vault", "copy/large/"), "a dry run copied"

    first = backfill(world, "--exclude", "*.tmp")
    counts, tally = first["counts"], first["tally"]
    assert first["status"] == "succeeded" and first["accounted"], first
    assert (counts["listed"], counts["excluded"], counts["unchanged"]) == (total, expected["excluded"], expected["unchanged"]), counts
    # A machine under load loses replies: what replaced another object is then found equal by the repeat, and unchanged.
    again = tally.get("unchanged", 0)
    assert tally["migrated"] + again == expected["migrated"] and again <= expected["differing"], tally
    assert tally["bytes"] == expected["bytes"] or again, tally
    here = {key: etag for key, etag in listed(world.s3_here, "archive").items() if not key.endswith(".tmp")}
    there = listed(world.s3_there, "vault", "copy/")
    assert here == there, f"{len(here)} and {len(there)} objects, or they differ"

    before = listed(world.s3_there, "vault", field="LastModified")
    second = backfill(world, "--exclude", "*.tmp")
    assert second["counts"]["unchanged"] == total - expected["excluded"] and not second["tally"].get("migrated"), second
    assert before == listed(world.s3_there, "vault", field="LastModified"), "written again"

    bucket, page = first["bucket"], next(key for key in first["report"] if key.endswith(".html"))
    html = world.s3_here.get_object(Bucket=bucket, Key=page)["Body"].read().decode()
    assert "succeeded" in html.lower() and "<svg" in html, html[:500]
    assert first["run"] in longhaul(world, "status")
    assert "succeeded" in longhaul(world, "status", first["run"])


def what_the_source_lacks_is_deleted_within_bounds(world):
    """Never more than allowed, never outside the route's prefix, and not what came after the run began."""
    for name in ("copy/gone 1", "copy/gone 2", "outside"):
        world.s3_there.put_object(Bucket="vault", Key=name, Body=b"old")
    refused = backfill(world, "--delete", "--max-delete", "1", expect=1)
    assert "more than" in refused["cause"], refused["cause"]
    assert {"gone 1", "gone 2"} <= set(listed(world.s3_there, "vault", "copy/")), "removed in spite of the limit"
    done = backfill(world, "--delete", "--max-delete", "2")
    assert done["deletions"]["removed"] == 2, done["deletions"]
    left = listed(world.s3_there, "vault")
    assert "outside" in left and not {"copy/gone 1", "copy/gone 2"} & set(left), left.keys()


def a_failed_object_fails_the_run_and_is_named(world):
    """One prefix may not be written: the others arrive, the run fails and says what failed; once it may be, the run is
    resumed and brings the rest."""
    iam = world.there.client("iam")
    iam.put_user_policy(UserName="vault", PolicyName="locked", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::vault/copy/locked/*"}]}))
    world.s3_here.put_object(Bucket="archive", Key="new", Body=b"new")
    world.s3_here.put_object(Bucket="archive", Key="locked/one", Body=b"locked")
    failed = backfill(world, expect=1)
    assert failed["status"] == "failed" and failed["tally"]["failed"] == 1 and failed["tally"]["migrated"] >= 1, failed
    assert "locked/one" in longhaul(world, "failures", failed["run"])
    world.fill.take_failed(("archive", "locked/one"), SECONDS)
    iam.delete_user_policy(UserName="vault", PolicyName="locked")
    resumed = json.loads(longhaul(world, "resume", failed["run"], "--json", "--quiet"))
    assert resumed["attempt"] == 2 and resumed["status"] == "succeeded", resumed
    world.equal((world.s3_here, "archive", "locked/one"), (world.s3_there, "vault", "copy/locked/one"))


def a_side_that_cannot_be_used_stops_the_run_at_once(world):
    """Preflight finds it, and no object is charged with it."""
    route = json.loads(world.here.client("ssm").get_parameter(Name=world.fill.outputs["RoutesParameter"])["Parameter"]["Value"])["routes"][0]
    route["destination"]["bucket"] = "nobody-made-it"
    arn = world.fill.states.start_execution(
        stateMachineArn=world.fill.outputs["BackfillStateMachineArn"], input=json.dumps({"routes": [route]})
    )["executionArn"]
    ended = world.fill.ended(arn, SECONDS)
    assert ended["status"] == "FAILED" and "nobody-made-it" in ended.get("cause", ""), ended
    assert world.fill.waiting(world.fill.failed) == 0, "objects were charged with it"


def a_failed_message_is_redriven(world):
    """Messages of the failed queue go back to the queue, once their cause is gone, and those alone that were asked for; what
    failed in a run is offered again though its message is gone."""
    iam = world.there.client("iam")

    def locked(prefix):
        iam.put_user_policy(UserName="vault", PolicyName="locked", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Deny", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::vault/copy/{prefix}*"}]}))

    def redrive(*arguments):
        return json.loads(longhaul(world, "redrive", "--json", *arguments))

    def arrives(key, since):
        record = world.fill.settled([("archive", key)], SECONDS, since)["archive", key]
        assert record["status"] == "migrated", record
        world.equal((world.s3_here, "archive", key), (world.s3_there, "vault", f"copy/{key}"))

    locked("redriven/")
    keys = [f"redriven/{number} a+b" for number in range(3)]
    for key in keys:
        world.s3_here.put_object(Bucket="archive", Key=key, Body=key.encode())
        world.fill.send({"objects": [{"bucket": "archive", "key": key}]})
    failed = world.fill.failed
    chain.until(lambda: world.fill.waiting(failed) == len(keys), SECONDS, lambda: f"{world.fill.waiting(failed)} messages failed")
    dry = redrive("--dry-run")
    assert dry["sent"] == len(keys) and world.fill.waiting(failed) == len(keys), dry
    nothing = redrive("--only", "TooSlow")
    assert nothing["sent"] == 0 and nothing["left"] == len(keys), nothing
    iam.delete_user_policy(UserName="vault", PolicyName="locked")
    since = time.time() * 1000
    one = redrive("--prefix", keys[0])
    assert (one["sent"], one["left"]) == (1, len(keys) - 1), one
    arrives(keys[0], since)
    rest = redrive()
    assert (rest["sent"], rest["left"]) == (len(keys) - 1, 0), rest
    for key in keys[1:]:
        arrives(key, since)
    assert world.fill.waiting(failed) == 0, "messages stay on the failed queue"

    locked("later/")
    world.s3_here.put_object(Bucket="archive", Key="later/one", Body=b"later")
    run = backfill(world, expect=1)["run"]
    world.fill.take_failed(("archive", "later/one"), SECONDS)
    iam.delete_user_policy(UserName="vault", PolicyName="locked")
    since = time.time() * 1000
    assert redrive(run, "--dry-run")["sent"] == 1
    assert redrive(run)["sent"] == 1
    arrives("later/one", since)
    assert world.fill.waiting(failed) == 0, "it failed again"


CASES = [
    a_bucket_is_brought_up_to_date,
    what_the_source_lacks_is_deleted_within_bounds,
    a_failed_object_fails_the_run_and_is_named,
    a_failed_message_is_redriven,
    a_side_that_cannot_be_used_stops_the_run_at_once,
]
