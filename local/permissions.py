"""No action of a function's role is there for nothing: without it, a migration fails.

The local AWS enforces the functions' roles. Left out are actions whose absence it does not show (those that turn a 403
into a 404, the tags of an upload, the HEAD of a version), and those that only failures, batches too large for a payload,
lost races and backfills need: the table of permissions and its test stand for these.
"""

import contextlib
import itertools
import json
import os
import signal

import chain
from cases import SECONDS

NAME, SOURCE, DESTINATION = "least", "least-source", "least-destination"
FUNCTIONS = ["plan", "copy-objects", "copy-parts", "complete", "settle"]
PART = 8 << 20
# Logical id of the role: the end of the resource, and the actions without which nothing arrives.
NEEDED = {
    "Plan": {
        "/routes": ["ssm:GetParameter"],
        "Ledger": ["dynamodb:GetItem", "dynamodb:PutItem"],
        f"{SOURCE}/*": ["s3:GetObject"],
        f"{DESTINATION}/*": ["s3:GetObject", "s3:PutObject"],
    },
    "CopyObjects": {
        "Ledger": ["dynamodb:BatchGetItem", "dynamodb:PutItem"],
        f"{SOURCE}/*": ["s3:GetObject", "s3:GetObjectVersionTagging"],
        f"{DESTINATION}/*": ["s3:PutObject"],
    },
    "CopyParts": {
        f"{SOURCE}/*": ["s3:GetObject", "s3:GetObjectVersion"],
        f"{DESTINATION}/*": ["s3:PutObject", "s3:ListMultipartUploadParts"],
    },
    "Complete": {
        "Ledger": ["dynamodb:GetItem", "dynamodb:PutItem"],
        f"{SOURCE}/*": ["s3:GetObject"],
        f"{DESTINATION}/*": ["s3:GetObject", "s3:PutObject", "s3:ListMultipartUploadParts"],
    },
    "Settle": {"workbucket": ["s3:PutObject", "s3:ListBucket"]},
}


class Role:
    """The policy of one function's role in a deployed stack."""

    def __init__(self, account, resource):
        self.iam, self.name = account.client("iam"), resource
        self.policy = self.iam.list_role_policies(RoleName=resource)["PolicyNames"][0]
        document = self.iam.get_role_policy(RoleName=resource, PolicyName=self.policy)["PolicyDocument"]
        self.document = json.loads(document) if isinstance(document, str) else document

    def put(self, document):
        self.iam.put_role_policy(RoleName=self.name, PolicyName=self.policy, PolicyDocument=json.dumps(document))

    @contextlib.contextmanager
    def without(self, action, resource):
        """Takes one action away from the statement on a resource; fails if there is none."""
        statements, found = [], False
        for statement in self.document["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            if action in actions and resource in str(statement["Resource"]):
                found, actions = True, [other for other in actions if other != action]
            if actions:
                statements.append({**statement, "Action": actions})
        assert found, f"{self.name} has no {action} on {resource}"
        self.put({**self.document, "Statement": statements})
        try:
            yield
        finally:
            self.put(self.document)


class Trial:
    """Migrations of new objects, one small and one large, by functions that know nothing of the last one."""

    def __init__(self, account, deployed):
        self.s3, self.deployed, self.count = account.client("s3"), deployed, itertools.count()
        self.body = os.urandom(2 * PART + 1)

    def offer(self):
        small, large = (f"{kind}-{next(self.count)}" for kind in ("small", "large"))
        self.s3.put_object(Bucket=SOURCE, Key=small, Body=b"few", Tagging="a=b")
        upload = self.s3.create_multipart_upload(Bucket=SOURCE, Key=large)["UploadId"]
        parts = []
        for number, start in enumerate(range(0, len(self.body), PART), 1):
            body = self.body[start : start + PART]
            etag = self.s3.upload_part(Bucket=SOURCE, Key=large, UploadId=upload, PartNumber=number, Body=body)["ETag"]
            parts.append({"PartNumber": number, "ETag": etag})
        self.s3.complete_multipart_upload(Bucket=SOURCE, Key=large, UploadId=upload, MultipartUpload={"Parts": parts})
        return [{"bucket": SOURCE, "key": key} for key in (small, large)]

    def run(self):
        """How the execution ends."""
        for name in FUNCTIONS:
            for pid in self.deployed.functions(name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return self.deployed.ended(self.deployed.start({"objects": self.offer()}), SECONDS)["status"]


def without_any_action_nothing_arrives(world):
    """Each action of the table is taken away once; the migration then fails, and succeeds when it is back."""
    here = world.here
    for name in (SOURCE, DESTINATION):
        chain.bucket(here, name)
    here.client("s3").put_bucket_versioning(Bucket=SOURCE, VersioningConfiguration={"Status": "Enabled"})
    deployed = chain.Chain(here, NAME, {
        "SourceBucket": SOURCE, "CreateSourceBucket": "false", "SourceEndpoint": here.endpoint, "SourcePathStyle": "true",
        "DestinationBucket": DESTINATION, "DestinationEndpoint": here.endpoint, "DestinationPathStyle": "true",
    }, world.files.parent)
    described = here.client("cloudformation").describe_stack_resources(StackName=NAME)["StackResources"]
    roles = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in described}
    trial = Trial(here, deployed)
    assert trial.run() == "SUCCEEDED"
    idle = []
    for function, resources in NEEDED.items():
        role = Role(here, roles[f"{function}Role"])
        for resource, actions in resources.items():
            for action in actions:
                with role.without(action, resource):
                    if trial.run() == "SUCCEEDED":
                        idle.append(f"{function}: {action} on {resource}")
    assert not idle, f"of no use: {idle}"
    assert trial.run() == "SUCCEEDED"


CASES = [without_any_action_nothing_arrives]
