"""A deployed stack as its user sees it: queues, executions, ledger."""

import contextlib
import json
import os
import signal
import time

import stack
from botocore.exceptions import ClientError

FINAL = {"migrated", "unchanged", "skipped", "failed"}
WRITE = ["s3:GetObject", "s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
READ = ["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTagging", "s3:GetObjectVersionTagging"]


def user(account, name, actions, bucket):
    """Keys of a new user of `account` who may do no more than this with one bucket, as a secret of Longhaul holds them."""
    iam = account.client("iam")
    iam.create_user(UserName=name)
    statements = [
        {"Effect": "Allow", "Action": actions, "Resource": f"arn:aws:s3:::{bucket}/*"},
        {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:ListBucketMultipartUploads"], "Resource": f"arn:aws:s3:::{bucket}"},
    ]
    iam.put_user_policy(
        UserName=name, PolicyName=name, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements})
    )
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return json.dumps({
        "aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"], "region": account.region,
    })


def bucket(account, name):
    """A new bucket in the account's Region."""
    where = {} if account.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": account.region}}
    account.client("s3").create_bucket(Bucket=name, **where)


def records(client, table):
    """The records of a ledger's table. The measured rates of routes lie in the same."""
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    found = [json.loads(item["record"]["S"]) for page in pages for item in page["Items"]]
    return [record for record in found if "sourceKey" in record]


class Chain:
    """One deployed stack."""

    def __init__(self, account, name, parameters, directory):
        self.account, self.name = account, name
        self.outputs = stack.deploy(account, name, parameters, directory)
        self.machine = self.outputs["StateMachineArn"]
        self.queue, self.failed, self.dead = (self.outputs[f"{kind}QueueUrl"] for kind in ("", "Failed", "DeadLetter"))
        self.states, self.sqs = account.client("stepfunctions"), account.client("sqs")
        self.table = account.client("dynamodb")

    def records(self):
        """The records of the ledger."""
        return records(self.table, self.outputs["LedgerTable"])

    def ledger(self):
        """The records of the ledger by bucket and key of the source."""
        return {(record["sourceBucket"], record["sourceKey"]): record for record in self.records()}

    def items(self):
        """How many records the ledger holds."""
        return len(self.records())

    def ended_objects(self):
        """Bucket and key of every object with a final outcome."""
        return {name for name, record in self.ledger().items() if record["status"] in FINAL}

    def settled(self, offered, seconds, since=0, after=None):
        """Waits until each of the offered (bucket, key) has a final outcome written after `since` (ms), and not by the
        execution `after` (an ARN), whose last writes may come late; the records."""

        def by_another(record):
            return after is None or after.rsplit(":", 1)[-1] not in record["execution"]

        def done():
            ledger = self.ledger()
            found = {name: ledger.get(name) for name in offered}
            if all(record and record["status"] in FINAL and record["updatedMs"] >= since and by_another(record) for record in found.values()):
                return found

        return until(done, seconds, lambda: f"no outcome of {len(offered)} objects in {seconds} s")

    def executions(self):
        """Executions, oldest first."""
        pages = self.states.get_paginator("list_executions").paginate(stateMachineArn=self.machine)
        found = [execution for page in pages for execution in page["executions"]]
        return sorted(found, key=lambda execution: execution["startDate"])

    def history(self, execution):
        """Events of an execution."""
        pages = self.states.get_paginator("get_execution_history").paginate(executionArn=execution)
        return [event for page in pages for event in page["events"]]

    def start(self, request, name=None):
        """Starts an execution by hand; its ARN."""
        given = {"name": name} if name else {}
        return self.states.start_execution(stateMachineArn=self.machine, input=json.dumps(request), **given)["executionArn"]

    def ended(self, execution, seconds):
        """Waits for the end of an execution; its description."""

        def done():
            found = self.states.describe_execution(executionArn=execution)
            return found if found["status"] != "RUNNING" else None

        return until(done, seconds, lambda: f"{execution} still runs after {seconds} s")

    def idle(self, seconds):
        """Waits until no execution runs and the queue is empty."""

        def done():
            running = [execution for execution in self.executions() if execution["status"] == "RUNNING"]
            return True if not running and not self.waiting(self.queue) else None

        until(done, seconds, lambda: f"{self.name} is not idle after {seconds} s")

    def send(self, body):
        """Puts a message on the queue."""
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=body if isinstance(body, str) else json.dumps(body))

    def waiting(self, queue):
        """Messages in a queue, seen or not."""
        numbers = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        return sum(int(numbers[f"ApproximateNumberOfMessages{kind}"]) for kind in ("", "NotVisible", "Delayed"))

    def take(self, queue, wanted, seconds):
        """Waits for a message for which `wanted(body, attributes)` holds and removes it; others stay. Body and attributes."""

        def done():
            reply = self.sqs.receive_message(
                QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=1, MessageAttributeNames=["All"]
            )
            for message in reply.get("Messages", []):
                attributes = {name: value.get("StringValue") for name, value in message.get("MessageAttributes", {}).items()}
                if wanted(message["Body"], attributes):
                    self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                    return message["Body"], attributes

        return until(done, seconds, lambda: f"the message did not reach {queue.rpartition('/')[2]} in {seconds} s")

    def take_failed(self, name, seconds):
        """Waits for the failed queue's message of one object and removes it; the request."""

        def wanted(body, _):
            with contextlib.suppress(ValueError):
                return any((item["bucket"], item["key"]) == name for item in json.loads(body)["objects"])

        return json.loads(self.take(self.failed, wanted, seconds)[0])

    def functions(self, name):
        """Process ids of one of its functions."""
        return self.account.functions(f"={self.name}-{name}")

    def kill(self, name):
        """SIGKILL to every process of one of its functions; their ids."""
        found = self.functions(name)
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return found


def until(attempt, seconds, complaint):
    """The first true result of `attempt`, asked every 100 ms."""
    deadline = time.monotonic() + seconds
    while True:
        found = attempt()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(complaint())
        time.sleep(0.1)


def held_parts(client, bucket_name, key):
    """Numbers of the parts that the newest open upload of a key holds; empty where there is none."""
    uploads = client.list_multipart_uploads(Bucket=bucket_name, Prefix=key).get("Uploads", [])
    if not uploads:
        return []
    with contextlib.suppress(ClientError):
        pages = client.get_paginator("list_parts").paginate(Bucket=bucket_name, Key=key, UploadId=uploads[-1]["UploadId"])
        return [part["PartNumber"] for page in pages for part in page.get("Parts", [])]
    return []
