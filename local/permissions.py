"""No action of a function's role is there for nothing: without it, some work fails.

The local AWS enforces the functions' roles. `TRIED` says which piece of work of `trials.py` fails without which action;
`UNSEEN` names the rest, with the reason: the table of permissions and its test stand for these. Between them they name
every action of the deployed roles.
"""

import contextlib
import json
import time

import chain
from trials import Trials

NAME, SOURCE, DESTINATION = "least", "least-source", "least-destination"
FROM, TO, TO_EACH, LEDGER, WORK = f":{SOURCE}/", f":{DESTINATION}'", f":{DESTINATION}/", "/least-Ledger", "workbucket"
# Function: work, part of the resource's name, and the actions without which it fails.
TRIED = {
    "Intake": [
        ("taken_in", "DeadLetterQueue", ["sqs:SendMessage"]),
        ("taken_in", "stateMachine:", ["states:StartExecution"]),
    ],
    "Plan": [
        ("migration", "/routes", ["ssm:GetParameter"]),
        ("migration", LEDGER, ["dynamodb:GetItem", "dynamodb:PutItem"]),
        ("migration", FROM, ["s3:GetObject"]),
        ("migration", TO_EACH, ["s3:GetObject", "s3:PutObject"]),
        ("batch", WORK, ["s3:GetObject", "s3:PutObject"]),
        ("refused", "FailedQueue", ["sqs:SendMessage"]),
        ("resumed", TO_EACH, ["s3:ListMultipartUploadParts"]),
        ("replaced_by_large", TO_EACH, ["s3:AbortMultipartUpload"]),
        ("resumed_run", WORK, ["s3:ListBucket"]),
    ],
    "CopyObjects": [
        ("unversioned", FROM, ["s3:GetObjectTagging"]),
        ("migration", LEDGER, ["dynamodb:BatchGetItem", "dynamodb:PutItem"]),
        ("migration", FROM, ["s3:GetObject", "s3:GetObjectVersionTagging"]),
        ("migration", TO_EACH, ["s3:PutObject"]),
        ("again", TO_EACH, ["s3:GetObject"]),
        ("batch", WORK, ["s3:GetObject", "s3:PutObject"]),
        ("refused", "FailedQueue", ["sqs:SendMessage"]),
        ("replaced_by_small", TO_EACH, ["s3:AbortMultipartUpload"]),
    ],
    "CopyParts": [
        ("migration", FROM, ["s3:GetObject", "s3:GetObjectVersion"]),
        ("migration", TO_EACH, ["s3:PutObject", "s3:ListMultipartUploadParts"]),
    ],
    "Complete": [
        ("migration", LEDGER, ["dynamodb:GetItem", "dynamodb:PutItem"]),
        ("migration", FROM, ["s3:GetObject"]),
        ("migration", TO_EACH, ["s3:GetObject", "s3:PutObject", "s3:ListMultipartUploadParts"]),
        ("gone_while_copied", TO_EACH, ["s3:AbortMultipartUpload"]),
        ("gone_while_copied", WORK, ["s3:PutObject"]),
    ],
    "Settle": [
        ("migration", WORK, ["s3:PutObject", "s3:ListBucket"]),
        ("batch", WORK, ["s3:GetObject"]),
        ("lost", "/routes", ["ssm:GetParameter"]),
        ("lost", LEDGER, ["dynamodb:BatchGetItem", "dynamodb:PutItem"]),
        ("lost", "FailedQueue", ["sqs:SendMessage"]),
        ("settled_for_good", LEDGER, ["dynamodb:GetItem"]),
        ("settled_for_good", TO_EACH, ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]),
        ("told_of_an_end", "execution:", ["states:DescribeExecution"]),
    ],
    "Scan": [
        ("configured", "/routes", ["ssm:GetParameter"]),
        ("dry_run", LEDGER, ["dynamodb:BatchGetItem"]),
        ("dry_run", WORK, ["s3:GetObject", "s3:PutObject"]),
        ("dry_run", "execution:", ["states:DescribeExecution"]),
        ("dry_run", FROM, ["s3:GetObject", "s3:GetObjectTagging"]),
        ("dry_run", f":{SOURCE}'", ["s3:ListBucket"]),
        ("dry_run", TO_EACH, ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]),
        ("dry_run", TO, ["s3:ListBucket", "s3:GetLifecycleConfiguration"]),
        ("removals", TO_EACH, ["s3:DeleteObject"]),
    ],
    "Report": [
        ("dry_run", WORK, ["s3:GetObject", "s3:PutObject", "s3:ListBucket"]),
        ("dry_run", LEDGER, ["dynamodb:BatchGetItem"]),
        ("dry_run", TO, ["s3:ListBucketMultipartUploads"]),
        ("dry_run", "notifications", ["sns:Publish"]),
    ],
}
# Why the local AWS does not show the absence of the rest: functions, part of the resource's name, actions.
ALL = list(TRIED)
UNSEEN = {
    "Lambda itself does it, and is not held to the role here": [
        (ALL, "log-group", ["logs:CreateLogStream", "logs:PutLogEvents"]),
        (["Intake"], "-Queue", ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]),
        (["Settle"], "DeadLetterQueue", ["sqs:SendMessage"]),
    ],
    "it turns a 403 into a 404, and here a missing object is a 404 anyway": [
        (["Plan", "CopyObjects", "CopyParts", "Complete"], f":{SOURCE}'", ["s3:ListBucket"]),
        (["Plan", "CopyObjects", "Complete"], TO, ["s3:ListBucket"]),
        (["Scan"], WORK, ["s3:ListBucket"]),
    ],
    "a HEAD does not say here that an object has tags": [(["Plan"], FROM, ["s3:GetObjectTagging", "s3:GetObjectVersionTagging"])],
    "tags in a write's header are not asked about here": [(["Plan", "CopyObjects", "Scan"], TO_EACH, ["s3:PutObjectTagging"])],
    "where it is missing, the ETag pins the version instead": [(["Plan"], FROM, ["s3:GetObjectVersion"])],
    "it writes down what the link carries, and whoever plans can do without": [(["CopyParts"], LEDGER, ["dynamodb:GetItem", "dynamodb:PutItem"])],
    "only who lost a race for the ledger needs it": [(["CopyObjects"], LEDGER, ["dynamodb:GetItem"])],
}
# Before the source bucket has versions.
EARLY = {"unversioned": "migration"}
# Work that is prepared by taking a permission of a function away for a while.
PREPARED = {"resumed": "CopyParts", "replaced_by_large": "CopyParts", "replaced_by_small": "CopyParts", "resumed_run": "CopyObjects"}


def listed(value):
    return value if isinstance(value, list) else [value]


class Role:
    """The policy of one function's role in a deployed stack."""

    def __init__(self, account, resource):
        self.iam, self.name = account.client("iam"), resource
        self.policy = self.iam.list_role_policies(RoleName=resource)["PolicyNames"][0]
        document = self.iam.get_role_policy(RoleName=resource, PolicyName=self.policy)["PolicyDocument"]
        self.document = json.loads(document) if isinstance(document, str) else document

    def put(self, document):
        self.iam.put_role_policy(RoleName=self.name, PolicyName=self.policy, PolicyDocument=json.dumps(document))

    def actions(self):
        """Every action with its resource, as `'ARN'`, so that the end of a name can be told."""
        for statement in self.document["Statement"]:
            for action in listed(statement["Action"]):
                yield action, repr(listed(statement["Resource"])[0])

    @contextlib.contextmanager
    def without(self, action, resource):
        """Takes one action away from the statement on a resource; fails if there is none."""
        statements, found = [], False
        for statement in self.document["Statement"]:
            actions = listed(statement["Action"])
            if action in actions and resource in repr(listed(statement["Resource"])[0]):
                found, actions = True, [other for other in actions if other != action]
            if actions:
                statements.append({**statement, "Action": actions})
        assert found, f"{self.name} has no {action} on {resource}"
        self.put({**self.document, "Statement": statements})
        try:
            yield
        finally:
            self.put(self.document)


def unnamed(function, role):
    """Actions of a role that neither `TRIED` nor `UNSEEN` names."""
    tried = [(part, actions) for _, part, actions in TRIED[function]]
    unseen = [(part, actions) for each in UNSEEN.values() for functions, part, actions in each if function in functions]
    named = lambda action, resource: any(part in resource and action in actions for part, actions in tried + unseen)  # noqa: E731
    return [f"{function}: {action} on {resource}" for action, resource in role.actions() if not named(action, resource)]


class Bench:
    """The roles of a deployed stack, and work for it."""

    def __init__(self, account, deployed):
        self.deployed, self.trials = deployed, Trials(account, deployed, SOURCE, DESTINATION)
        described = account.client("cloudformation").describe_stack_resources(StackName=NAME)["StackResources"]
        names = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in described}
        self.roles = {function: Role(account, names[f"{function}Role"]) for function in TRIED}

    def prepared(self, work):
        name = EARLY.get(work, work)
        return getattr(self.trials, name)(*[self.roles[PREPARED[name]]] if name in PREPARED else [])

    def forget(self, function):
        """Ends a function's processes: the next one knows nothing, neither routes nor what it was allowed."""
        name = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in function).strip("-")
        self.deployed.kill(name)

    def idle(self, early):
        """Takes each action away once; those that were not missed, and how many were tried."""
        entries = [(function, *entry) for function, entries in TRIED.items() for entry in entries]
        entries = [entry for entry in entries if (entry[1] in EARLY) == early]
        for work in dict.fromkeys(work for _, work, _, _ in entries):
            assert self.prepared(work)(), f"{work} fails with every permission"
        idle = []
        for function, work, resource, actions in entries:
            for action in actions:
                call = self.prepared(work)
                self.forget(function)
                with self.roles[function].without(action, resource):
                    if call():
                        idle.append(f"{function}: {action} on {resource}, in {work}")
                self.forget(function)
        for work in dict.fromkeys(work for _, work, _, _ in entries):
            assert self.prepared(work)(), f"{work} fails after every permission is back"
        return idle, sum(len(actions) for *_, actions in entries)


def without_any_action_nothing_arrives(world):
    """Each action is taken away once; some work then fails, and succeeds when it is back."""
    here = world.here
    for name in (SOURCE, DESTINATION):
        chain.bucket(here, name)
    deployed = chain.Chain(here, NAME, {
        "SourceBucket": SOURCE, "CreateSourceBucket": "false", "SourceEndpoint": here.endpoint, "SourcePathStyle": "true",
        "DestinationBucket": DESTINATION, "DestinationEndpoint": here.endpoint, "DestinationPathStyle": "true",
        "AllowDelete": "true",
    }, world.files.parent)
    mark = time.monotonic()
    bench = Bench(here, deployed)
    forgotten = [told for function, role in bench.roles.items() for told in unnamed(function, role)]
    assert not forgotten, f"neither tried nor excused: {forgotten}"
    idle, tried = bench.idle(early=True)
    here.client("s3").put_bucket_versioning(Bucket=SOURCE, VersioningConfiguration={"Status": "Enabled"})
    more, later = bench.idle(early=False)
    print(f"  {tried + later} actions of {len(TRIED)} functions taken away one by one, in {time.monotonic() - mark:.0f} s; not shown here:")
    for reason, each in UNSEEN.items():
        told = "; ".join(f"{', '.join(functions)}: {', '.join(actions)}" for functions, _, actions in each)
        print(f"  - {told.replace(', '.join(ALL), 'all')}: {reason}", flush=True)
    assert not idle + more, f"of no use: {idle + more}"


CASES = [without_any_action_nothing_arrives]
