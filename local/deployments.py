"""What must hold when a deployment is changed while it works, and when it is removed. A case takes the `World` of `cases.py`."""

import contextlib
import os
import signal

import chain
from botocore.exceptions import ClientError
from cases import SECONDS, status
from chain import until
from objects import MIB

NAME, SOURCE = "brief", "transit"


@contextlib.contextmanager
def standing_still(account):
    """An endpoint that answers nothing for a while; what waits for it goes on afterwards."""
    os.killpg(account.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(account.pid, signal.SIGCONT)


def deploy(world, changed):
    return chain.Chain(world.here, NAME, {
        "SourceBucket": SOURCE, "SourceEndpoint": world.here.endpoint, "SourcePathStyle": "true", "DestinationBucket": "arrivals",
        "DestinationPrefix": "brief/", "DestinationCredentials": "secret", "DestinationSecret": "e2e/writer",
        "DestinationEndpoint": world.there.endpoint, "DestinationPathStyle": "true", **changed,
    }, world.files.parent)


def arrived(world, deployed, key):
    status(deployed.settled([(SOURCE, key)], SECONDS)[SOURCE, key], "migrated")
    world.equal((world.s3_here, SOURCE, key), (world.s3_there, "arrivals", f"brief/{key}"))


def running(deployed):
    return [execution["executionArn"] for execution in deployed.executions() if execution["status"] == "RUNNING"]


def gone(call, *codes):
    """True if a look at what was deleted fails with one of these codes."""
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"] in codes
    return False


def a_deployment_changes_under_a_running_execution_and_is_removed(world):
    """New parameters while a large object is half copied: its execution ends well, the next object arrives under them.
    Deleting the stack leaves the objects, and nothing else."""
    deployed = deploy(world, {})
    world.upload(world.s3_here, SOURCE, "large", 64 * MIB)
    until(lambda: chain.held_parts(world.s3_there, "arrivals", "brief/large"), SECONDS, lambda: "the copy never began")
    before = running(deployed)
    with standing_still(world.there):
        deployed = deploy(world, {"CopyMemory": "1536", "BatchSize": "50", "LogRetentionDays": "60"})
        assert before and running(deployed) == before, "the execution ended before the deployment did"
    assert deployed.ended(before[0], SECONDS)["status"] == "SUCCEEDED"
    arrived(world, deployed, "large")
    functions, logs = world.here.client("lambda"), world.here.client("logs")
    assert functions.get_function_configuration(FunctionName=f"{NAME}-copy-parts")["MemorySize"] == 1536
    group = logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{NAME}-plan")["logGroups"][0]
    assert group["retentionInDays"] == 60, group
    world.upload(world.s3_here, SOURCE, "small", 100)
    arrived(world, deployed, "small")
    # What still runs would write to its log again.
    deployed.idle(SECONDS)

    stacks, watch = world.here.client("cloudformation"), world.here.client("cloudwatch")
    assert watch.list_dashboards(DashboardNamePrefix=NAME)["DashboardEntries"], "no dashboard"
    assert watch.describe_alarms(AlarmNamePrefix=f"{NAME}-")["MetricAlarms"], "no alarm"
    stacks.delete_stack(StackName=NAME)
    missing = lambda: gone(lambda: stacks.describe_stacks(StackName=NAME), "ValidationError")  # noqa: E731
    until(missing, SECONDS, lambda: f"the stack is {stacks.describe_stacks(StackName=NAME)['Stacks'][0]['StackStatus']}")
    assert world.s3_here.head_object(Bucket=SOURCE, Key="large")["ContentLength"] == 64 * MIB
    assert world.s3_here.head_bucket(Bucket=deployed.outputs["WorkBucketName"])
    assert gone(lambda: deployed.table.describe_table(TableName=deployed.outputs["LedgerTable"]), "ResourceNotFoundException")
    assert gone(lambda: functions.get_function(FunctionName=f"{NAME}-plan"), "ResourceNotFoundException")
    assert gone(lambda: deployed.sqs.get_queue_attributes(QueueUrl=deployed.queue), "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
    assert not watch.list_dashboards(DashboardNamePrefix=NAME)["DashboardEntries"]
    assert not watch.describe_alarms(AlarmNamePrefix=f"{NAME}-")["MetricAlarms"]
    left = [group["logGroupName"] for group in logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{NAME}-")["logGroups"]]
    assert not left, left


CASES = [a_deployment_changes_under_a_running_execution_and_is_removed]
