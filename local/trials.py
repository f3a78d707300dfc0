"""Small pieces of work for a deployed stack, one for each place where a function needs a permission.

Each method of `Trials` prepares one and returns it as a call that is true if it went as it should.
"""

import contextlib
import copy
import itertools
import json
import os

from cases import SECONDS

PART = 8 << 20
# Delivery takes no time here: what is not there by then does not come.
HEARD_SECONDS = 5
NOBODYS = "least-nobodys"


def failures(history):
    """How many tasks of an execution failed."""
    return sum(event["type"] in ("TaskFailed", "LambdaFunctionFailed") for event in history)


class Trials:
    """Work between two buckets of one account, by the functions' own roles."""

    def __init__(self, account, deployed, source, destination):
        self.deployed, self.source, self.destination = deployed, source, destination
        self.s3, self.sqs, self.functions = (account.client(name) for name in ("s3", "sqs", "lambda"))
        self.work = deployed.outputs["WorkBucketName"]
        self.numbers, self.body = itertools.count(), os.urandom(2 * PART + 1)
        routes = account.client("ssm").get_parameter(Name=deployed.outputs["RoutesParameter"])["Parameter"]["Value"]
        self.route = json.loads(routes)["routes"][0]
        self.found = None
        # An upload that nobody knows: report looks for its like.
        self.s3.create_multipart_upload(Bucket=destination, Key="dry/orphan")
        topic, sns = deployed.outputs["NotificationTopicArn"], account.client("sns")
        self.heard = self.sqs.create_queue(QueueName=f"{deployed.name}-heard")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.heard, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        statement = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}
        self.sqs.set_queue_attributes(QueueUrl=self.heard, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]})})
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def fresh(self, kind):
        return f"{kind}-{next(self.numbers)}"

    def put_small(self, key):
        self.s3.put_object(Bucket=self.source, Key=key, Body=os.urandom(9), Tagging="a=b")
        return {"bucket": self.source, "key": key}

    def put_large(self, key):
        upload = self.s3.create_multipart_upload(Bucket=self.source, Key=key, Tagging="a=b")["UploadId"]
        parts = []
        for number, start in enumerate(range(0, len(self.body), PART), 1):
            # Another object each time, of the same size.
            body = os.urandom(8) + self.body[start : start + PART][8:]
            etag = self.s3.upload_part(Bucket=self.source, Key=key, UploadId=upload, PartNumber=number, Body=body)["ETag"]
            parts.append({"PartNumber": number, "ETag": etag})
        self.s3.complete_multipart_upload(Bucket=self.source, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
        return {"bucket": self.source, "key": key}

    def migrate(self, objects, **request):
        """Status and history of an execution of `migrate`."""
        arn = self.deployed.start({"objects": objects, **request})
        return self.deployed.ended(arn, SECONDS)["status"], self.deployed.history(arn)

    def succeeds(self, objects, **request):
        return self.migrate(objects, **request)[0] == "SUCCEEDED"

    def invoke(self, function, payload):
        """What a function returns, or None if it fails."""
        name = f"{self.deployed.name}-{function}"
        reply = self.functions.invoke(FunctionName=name, Payload=json.dumps(payload).encode())
        body = json.loads(reply["Payload"].read())
        return None if "FunctionError" in reply else body

    def backfill(self, **request):
        """Status and name of a run."""
        machine = self.deployed.outputs["BackfillStateMachineArn"]
        arn = self.deployed.states.start_execution(stateMachineArn=machine, input=json.dumps(request))["executionArn"]
        return self.deployed.ended(arn, SECONDS)["status"], arn.rpartition(":")[2]

    def under(self, prefix):
        """The stack's route, for keys under a prefix alone."""
        route = copy.deepcopy(self.route)
        route["source"]["prefix"] = route["destination"]["prefix"] = prefix
        return {**route, "name": prefix.strip("/")}

    # ---- migrations ----

    def migration(self):
        """One small object and one large one, that nobody has seen before."""
        def call():
            return self.succeeds([self.put_small(self.fresh("small")), self.put_large(self.fresh("large"))])
        return call

    def again(self):
        """An object that the ledger knows, in a new version."""
        return lambda: self.succeeds([self.put_small("again")])

    def batch(self):
        """A batch too large for a payload, read from a manifest and put into another, of objects that are gone."""
        def call():
            lines = [{"bucket": self.source, "key": f"{self.fresh('gone')}/{'k' * 900}", "size": 1} for _ in range(80)]
            key = f"plans/{self.fresh('trial')}.jsonl"
            self.s3.put_object(Bucket=self.work, Key=key, Body="\n".join(map(json.dumps, lines)))
            return self.succeeds([], manifests=[{"bucket": self.work, "key": key}])
        return call

    def refused(self):
        """An object that no route takes and one that cannot be written: both fail, and no function does."""
        def call():
            route = copy.deepcopy(self.route)
            route["destination"]["bucket"] = NOBODYS
            objects = [self.put_small(self.fresh("refused")), {"bucket": NOBODYS, "key": "x"}]
            status, history = self.migrate(objects, route=route)
            return status == "FAILED" and failures(history) == 0
        return call

    def lost(self):
        """A request that cannot be planned: settle answers for its objects, also in the ledger, and only plan fails."""
        def call():
            missing = {"bucket": self.work, "key": "plans/missing.jsonl"}
            offer = self.put_small(self.fresh("lost"))
            status, history = self.migrate([offer], manifests=[missing])
            return status == "FAILED" and failures(history) == 1 and (self.source, offer["key"]) in self.deployed.ledger()
        return call

    # ---- uploads that were broken off ----

    def torn(self, copies_parts):
        """A large object whose parts could not be sent: its upload stands, and the ledger knows it."""
        key = self.fresh("torn")
        offer = self.put_large(key)
        with copies_parts.without("s3:PutObject", f"{self.destination}/*"):
            assert not self.succeeds([offer])
        assert self.uploads(key), "no upload stands"
        return key

    def uploads(self, key):
        found = self.s3.list_multipart_uploads(Bucket=self.destination, Prefix=key).get("Uploads", [])
        return [upload for upload in found if upload["Key"] == key]

    def resumed(self, copies_parts):
        key = self.torn(copies_parts)
        return lambda: self.succeeds([{"bucket": self.source, "key": key}])

    def replaced_by_large(self, copies_parts):
        key = self.torn(copies_parts)
        return lambda: self.succeeds([self.put_large(key)]) and not self.uploads(key)

    def replaced_by_small(self, copies_parts):
        key = self.torn(copies_parts)
        return lambda: self.succeeds([self.put_small(key)]) and not self.uploads(key)

    # ---- single functions ----

    def planned(self):
        """The state of a large object whose upload was just begun."""
        key = self.fresh("planned")
        request = {"objects": [self.put_large(key)]}
        return self.invoke("plan", {"next": "plan", "request": request, "execution": f"execution:{key}"})["work"][0]

    def gone_while_copied(self):
        large = self.planned()
        key = large["object"]["offer"]["key"]
        self.s3.delete_object(Bucket=self.source, Key=key)
        large["results"] = [{"error": {"Error": "SourceGone", "Cause": "trial"}}]
        return lambda: bool(self.invoke("complete", large)) and not self.uploads(key)

    def settled_for_good(self):
        large = self.planned()
        payload = {"next": "settle", "item": large, "error": {"Error": "ChecksumMismatch", "Cause": "trial"}}
        return lambda: bool(self.invoke("settle", payload)) and not self.uploads(large["object"]["offer"]["key"])

    def told_of_an_end(self):
        """An execution that EventBridge tells of without its input."""
        arn = self.deployed.start({"objects": [self.put_small(self.fresh("told"))]})
        self.deployed.ended(arn, SECONDS)
        detail = {"executionArn": arn, "status": "ABORTED", "startDate": 0}
        return lambda: bool(self.invoke("settle", {"detail-type": "Step Functions Execution Status Change", "detail": detail}))

    def taken_in(self):
        """One message that nobody can read, and one that starts an execution."""
        def call():
            bodies = ["{", json.dumps({"objects": [{"bucket": self.source, "key": "gone", "size": 1}]})]
            records = [{"messageId": self.fresh("message"), "body": body} for body in bodies]
            reply = self.invoke("intake", {"Records": records})
            return reply is not None and not reply.get("batchItemFailures")
        return call

    # ---- backfills ----

    def dry_run(self):
        """A comparison of both sides: what preflight and report find is what they found the first time, and subscribers
        hear of it."""
        def call():
            # Equal sizes under different ETags: does the ledger know the pair?
            for bucket in (self.source, self.destination):
                self.s3.put_object(Bucket=bucket, Key="dry/pair", Body=os.urandom(9))
            self.sqs.purge_queue(QueueUrl=self.heard)
            status, run = self.backfill(routes=[self.under("dry/")], dryRun=True)
            if status != "SUCCEEDED" or not self.was_told():
                return False
            looked = self.record(f"runs/{run}/report/checks.json")
            checks = [(check["side"], check["name"], check["verdict"]) for route in looked for check in route["checks"]]
            found = checks, self.record(f"runs/{run}/report/summary.json").get("uploads", {}).get("unseen")
            self.found = self.found or found
            return found == self.found
        return call

    def was_told(self):
        """True if a subscriber heard of a dry run since the queue was emptied: the report speaks before the run ends."""
        with contextlib.suppress(TimeoutError):
            return bool(self.deployed.take(self.heard, lambda body, _: "Dry run" in body, HEARD_SECONDS))
        return False

    def record(self, key):
        return json.load(self.s3.get_object(Bucket=self.work, Key=key)["Body"])

    def configured(self):
        """A dry run of the routes of the configuration."""
        return lambda: self.backfill(dryRun=True)[0] == "SUCCEEDED"

    def removals(self):
        """A run that may remove, though there is nothing to: preflight tries."""
        return lambda: self.backfill(delete={"max": 1})[0] == "SUCCEEDED"

    def resumed_run(self, copies_objects):
        prefix = f"{self.fresh('run')}/"
        self.put_small(f"{prefix}one")
        with copies_objects.without("s3:PutObject", f"{self.destination}/*"):
            status, run = self.backfill(routes=[self.under(prefix)])
        assert status == "FAILED", status
        return lambda: self.backfill(resume=run)[0] == "SUCCEEDED"
