"""What must hold in the deployed chain. Each case is a function whose doc says it; all share one `World`."""

import concurrent.futures
import itertools
import json
import os
import subprocess
import time

import chain
import objects
from chain import until
from endpoints import ROOT
from objects import MIB

SECONDS = 90


class World:
    """Three stacks in the source account, one for each way that objects are offered and keys are had."""

    def __init__(self, endpoints):
        here, there = self.here, self.there = endpoints.source, endpoints.destination
        self.files = endpoints.directory / "files"
        self.files.mkdir()
        self.count = itertools.count()
        self.s3_here, self.s3_there = here.client("s3"), there.client("s3")
        self.secrets = here.client("secretsmanager")
        for account, name in ((there, "arrivals"), (there, "remote"), (here, "local"), (here, "existing")):
            chain.bucket(account, name)
        self.s3_here.put_bucket_notification_configuration(
            Bucket="existing", NotificationConfiguration={"EventBridgeConfiguration": {}}
        )
        self.reader = chain.user(there, "reader", chain.READ, "remote")
        self.secret("writer", chain.user(there, "writer", chain.WRITE, "arrivals"))
        # Well formed, of nobody.
        self.secret("reader", json.dumps({
            "aws_access_key_id": "NOBODYKNOWSTHISKEY00", "aws_secret_access_key": "wrong", "region": there.region,
        }))
        arrivals = {
            "SourceEndpoint": here.endpoint, "SourcePathStyle": "true", "DestinationBucket": "arrivals", "DestinationCredentials": "secret", "DestinationSecret": "e2e/writer",
            "DestinationEndpoint": there.endpoint, "DestinationPathStyle": "true",
        }
        # PUT mode, the source bucket made by the stack.
        self.put = chain.Chain(here, "put", {"SourceBucket": "departures", **arrivals}, endpoints.directory)
        # PUT mode, an existing source bucket by EventBridge.
        self.listen = chain.Chain(here, "listen", {
            "SourceBucket": "existing", "CreateSourceBucket": "false", "SourcePrefix": "in/", "DestinationPrefix": "out/", **arrivals,
        }, endpoints.directory)
        # GET mode: keys for the source, the functions' own role for the destination.
        self.get = chain.Chain(here, "get", {
            "SourceBucket": "remote", "CreateSourceBucket": "false", "SourceCredentials": "secret", "SourceSecret": "e2e/reader",
            "SourceEndpoint": there.endpoint, "SourcePathStyle": "true", "DestinationBucket": "local",
            "DestinationEndpoint": here.endpoint, "DestinationPathStyle": "true",
        }, endpoints.directory)
        self.log = endpoints.directory / "source" / "log"

    def secret(self, name, keys):
        self.secrets.create_secret(Name=f"e2e/{name}", SecretString=keys)

    def upload(self, client, bucket, key, size):
        """Puts `size` bytes that only this key has."""
        path = objects.make(self.files, str(next(self.count)), size)
        objects.upload(client, bucket, key, path)
        path.unlink()

    def equal(self, source, destination):
        """Fails unless both hold the same bytes; each a client, a bucket and a key."""
        left, right = objects.digest(*source), objects.digest(*destination)
        assert left is not None, f"nothing at {source[1:]}"
        assert right is not None, f"nothing at {destination[1:]}"
        assert left[:2] == right[:2], f"{source[1:]} and {destination[1:]} differ: {left}, {right}"

    def arrived(self, key):
        """Fails unless this key of the PUT mode's source stands at the destination."""
        self.equal((self.s3_here, "departures", key), (self.s3_there, "arrivals", key))

    def logs(self):
        """The end of the source account's log, functions included."""
        return self.log.read_text(errors="replace")[-8000:]


def status(record, *expected):
    assert record["status"] in expected, f"{record['sourceKey']} is {record['status']}, not {' or '.join(expected)}: {record.get('failure')}"


def the_ledgers_tests_pass_on_dynamodb(world):
    """The one suite of all ledgers. The whole workspace is named, so that nothing is compiled with other features."""
    done = subprocess.run(
        ["cargo", "test", "--quiet", "--locked", "--workspace", "--test", "ledger", "in_dynamodb"], cwd=ROOT, stdin=subprocess.DEVNULL,
        capture_output=True, text=True,
        env={**os.environ, **world.here.environment(), "LONGHAUL_TEST_DYNAMODB_ENDPOINT": world.here.endpoint},
    )
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]


def a_hundred_objects_arrive_once(world):
    """100 objects of mixed sizes put at once: each once in the ledger, all equal, nothing left in any queue."""
    sizes = [0, 1, 900, 5_000, 64 << 10, 300_001, MIB, 3 * MIB, 8 * MIB, 8 * MIB + 1]
    keys = {f"hundred/{number:02} of+100//{number % 7}": sizes[number % 10] for number in range(99)}
    keys["hundred/ünd 🚢"] = 33 * MIB
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda key: world.upload(world.s3_here, "departures", key, keys[key]), keys))
    records = world.put.settled([("departures", key) for key in keys], 2 * SECONDS)
    world.put.idle(SECONDS)
    for record in records.values():
        status(record, "migrated")
    assert world.put.items() == 100, f"{world.put.items()} items in the ledger"
    listed = [entry for page in world.s3_there.get_paginator("list_objects_v2").paginate(Bucket="arrivals", Prefix="hundred/")
              for entry in page.get("Contents", [])]
    assert len(listed) == 100, f"{len(listed)} objects at the destination"
    for key in keys:
        world.arrived(key)
    for queue in (world.put.queue, world.put.dead, world.put.failed):
        assert world.put.waiting(queue) == 0, f"messages left in {queue}"


def the_same_event_twice_is_one_object(world):
    """A message delivered twice changes nothing."""
    world.upload(world.s3_here, "departures", "twice", 70_000)
    first = world.put.settled([("departures", "twice")], SECONDS)
    etag = world.s3_there.head_object(Bucket="arrivals", Key="twice")["LastModified"]
    for _ in range(2):
        world.put.send(notification("departures", "twice"))
    world.put.idle(SECONDS)
    again = world.put.settled([("departures", "twice")], SECONDS)
    assert {record["status"] for found in (first, again) for record in found.values()} <= {"migrated", "unchanged"}
    assert world.s3_there.head_object(Bucket="arrivals", Key="twice")["LastModified"] == etag, "written again"
    world.arrived("twice")


def notification(bucket, key):
    """An S3 notification."""
    return {"Records": [{"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
                         "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}]}


def a_message_that_cannot_be_read_goes_to_the_dead_letter_queue(world):
    """With the reason as an attribute; an older form of the message too. Nothing starts, nothing stays on the queue."""
    for body in ('{"Records": [', json.dumps({"Src_bucket": "departures", "Src_key": "x"}), json.dumps({"version": 0, "objects": []})):
        world.put.send(body)
        _, attributes = world.put.take(world.put.dead, lambda found, _, body=body: found == body, SECONDS)
        reasons = [value for name, value in attributes.items() if "reason" in name.lower() and value]
        assert reasons, f"no reason among {attributes}"
    until(lambda: world.put.waiting(world.put.queue) == 0, SECONDS, lambda: "messages stay on the queue")


def an_unknown_bucket_goes_to_the_failed_queue(world):
    """An event of a bucket that no route takes."""
    world.put.send(notification("nobody-knows", "x"))
    request = world.put.take_failed(("nobody-knows", "x"), SECONDS)
    assert request["failure"]["message"], request


def an_object_deleted_before_its_copy_is_skipped(world):
    """The event outlived the object."""
    world.put.send(notification("departures", "deleted"))
    record = world.put.settled([("departures", "deleted")], SECONDS)["departures", "deleted"]
    status(record, "skipped")
    assert record["skipped"] == "sourceGone", record


def an_empty_list_fails_and_says_so(world):
    """A manual execution that names nothing."""
    arn = world.put.start({"objects": []})
    found = world.put.ended(arn, SECONDS)
    assert found["status"] == "FAILED", found["status"]
    causes = [event["taskFailedEventDetails"].get("cause", "") for event in world.put.history(arn) if event["type"] == "TaskFailed"]
    assert any("no objects" in cause for cause in causes), causes


def wrong_keys_fail_and_the_message_works_once_they_are_right(world):
    """Keys that the other account refuses: failed with a message; the failed queue's message, sent again, succeeds."""
    world.upload(world.s3_there, "remote", "guarded", 5_000)
    world.get.send({"objects": [{"bucket": "remote", "key": "guarded"}]})
    request = world.get.take_failed(("remote", "guarded"), SECONDS)
    assert request["failure"]["message"], request
    world.get.idle(SECONDS)
    world.secrets.put_secret_value(SecretId="e2e/reader", SecretString=world.reader)
    since = time.time() * 1000
    world.get.send(request)
    record = world.get.settled([("remote", "guarded")], SECONDS, since)["remote", "guarded"]
    status(record, "migrated")
    world.equal((world.s3_there, "remote", "guarded"), (world.s3_here, "local", "guarded"))


def get_mode_copies_by_every_kind_of_offer(world):
    """Source by secret, destination by role: a request on the queue, an EventBridge event, a manual execution with its own route."""
    world.secrets.put_secret_value(SecretId="e2e/reader", SecretString=world.reader)
    keys = {"by queue": 0, "by EventBridge+%20": 100, "by hand": 17 * MIB, "by hand too": 9}
    for key, size in keys.items():
        world.upload(world.s3_there, "remote", key, size)
    world.get.send({"objects": [{"bucket": "remote", "key": "by queue"}]})
    world.get.send({"version": "0", "source": "aws.s3", "detail-type": "Object Created", "detail": {
        "bucket": {"name": "remote"}, "object": {"key": "by EventBridge+%20", "size": 100, "sequencer": "01"}}})
    route = json.loads(world.here.client("ssm").get_parameter(Name=world.get.outputs["RoutesParameter"])["Parameter"]["Value"])["routes"][0]
    route["destination"]["prefix"] = "own route/"
    arn = world.get.start({"objects": [{"bucket": "remote", "key": key} for key in ("by hand", "by hand too")], "route": route})
    assert world.get.ended(arn, SECONDS)["status"] == "SUCCEEDED"
    records = world.get.settled([("remote", key) for key in keys], SECONDS)
    for (_, key), record in records.items():
        status(record, "migrated")
        prefix = "own route/" if key.startswith("by hand") else ""
        world.equal((world.s3_there, "remote", key), (world.s3_here, "local", prefix + key))
    again = world.get.ended(world.get.start({"objects": [{"bucket": "remote", "key": "by hand"}], "route": route}), SECONDS)
    assert again["status"] == "SUCCEEDED"
    status(world.get.settled([("remote", "by hand")], SECONDS)["remote", "by hand"], "unchanged")


def an_existing_bucket_is_heard_by_eventbridge(world):
    """The rule takes its prefix and nothing else; the prefix is replaced."""
    world.upload(world.s3_here, "existing", "out of it", 10)
    world.upload(world.s3_here, "existing", "in/a b", 1_000)
    record = world.listen.settled([("existing", "in/a b")], SECONDS)["existing", "in/a b"]
    status(record, "migrated")
    world.equal((world.s3_here, "existing", "in/a b"), (world.s3_there, "arrivals", "out/a b"))
    assert ("existing", "out of it") not in world.listen.ledger()


def a_stopped_execution_is_settled(world):
    """No Catch runs when an execution is stopped: the rule brings its object to the failed queue, and that message works."""
    for attempt in range(5):
        key = f"stopped {attempt}"
        known = {execution["executionArn"] for execution in world.put.executions()}
        world.upload(world.s3_here, "departures", key, 96 * MIB)
        until(lambda key=key: chain.held_parts(world.s3_there, "arrivals", key) or ("departures", key) in world.put.ended_objects(),
              SECONDS, lambda: "the copy never began")
        arn = next(execution["executionArn"] for execution in reversed(world.put.executions()) if execution["executionArn"] not in known)
        if world.put.states.describe_execution(executionArn=arn)["status"] == "RUNNING":
            world.put.states.stop_execution(executionArn=arn, error="Test", cause="stopped by a test")
            if world.put.ended(arn, SECONDS)["status"] == "ABORTED":
                break
    else:
        raise AssertionError("no execution was caught in the middle")
    request = world.put.take_failed(("departures", key), SECONDS)
    world.put.send(request)
    # The failed message is sent before the record is written, so that a death in between loses nothing.
    # A function that runs when its execution is stopped goes on, and may have brought the object already.
    status(world.put.settled([("departures", key)], SECONDS, after=arn)["departures", key], "migrated", "unchanged")
    world.arrived(key)


def a_killed_function_is_resumed(world):
    """SIGKILL of the copy-parts processes in the middle of a transfer."""
    for attempt in range(5):
        key = f"killed {attempt}"
        world.upload(world.s3_here, "departures", key, 96 * MIB)
        until(lambda key=key: len(chain.held_parts(world.s3_there, "arrivals", key)) > 1 or ("departures", key) in world.put.ended_objects(),
              SECONDS, lambda: "the copy never began")
        world.put.kill("copy-parts")
        status(world.put.settled([("departures", key)], SECONDS)["departures", key], "migrated")
        world.arrived(key)
        world.put.idle(SECONDS)
        last = world.put.executions()[-1]["executionArn"]
        if any(event["type"] == "TaskFailed" for event in world.put.history(last)):
            return
    raise AssertionError("no function was caught in the middle")


def a_missing_secret_fails_and_says_so(world):
    """The secret was deleted; functions that never had its keys find nothing."""
    world.upload(world.s3_there, "remote", "locked", 10)
    world.secrets.delete_secret(SecretId="e2e/reader", ForceDeleteWithoutRecovery=True)
    for name in ("plan", "copy-objects", "copy-parts", "complete", "settle"):
        world.get.kill(name)
    world.get.send({"objects": [{"bucket": "remote", "key": "locked"}]})
    request = world.get.take_failed(("remote", "locked"), SECONDS)
    assert "secret" in request["failure"]["message"].lower(), request


def nothing_is_left_behind(world):
    """After all of this: no running execution, empty queues, no upload left open."""
    for deployed in (world.put, world.listen, world.get):
        deployed.idle(SECONDS)
        for queue in (deployed.queue, deployed.dead, deployed.failed):
            assert deployed.waiting(queue) == 0, f"messages left in {queue}"
    for client, bucket in ((world.s3_there, "arrivals"), (world.s3_here, "local")):
        assert not client.list_multipart_uploads(Bucket=bucket).get("Uploads"), f"uploads left open in {bucket}"


CASES = [
    the_ledgers_tests_pass_on_dynamodb,
    a_hundred_objects_arrive_once,
    the_same_event_twice_is_one_object,
    a_message_that_cannot_be_read_goes_to_the_dead_letter_queue,
    an_unknown_bucket_goes_to_the_failed_queue,
    an_object_deleted_before_its_copy_is_skipped,
    an_empty_list_fails_and_says_so,
    wrong_keys_fail_and_the_message_works_once_they_are_right,
    get_mode_copies_by_every_kind_of_offer,
    an_existing_bucket_is_heard_by_eventbridge,
    a_stopped_execution_is_settled,
    a_killed_function_is_resumed,
    a_missing_secret_fails_and_says_so,
    nothing_is_left_behind,
]
