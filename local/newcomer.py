"""The documents, followed command by command in a fresh checkout, against two local accounts.

What the documents print is what runs: the real `aws`, `make` and `longhaul`, in a shell that keeps its variables. A
command that fails fails the case; so does one that is neither run here nor named in `NOT_RUN` with a reason. Profiles
lead to the local accounts; what a reader would replace, or would not need, stands in tables below.
"""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import backfills
import chain
import documents
import objects
import stack
import terminal
from endpoints import ROOT, Endpoints, stop_on_signals

SECONDS = 120
# Where something changed since the last build, it is compiled once more.
MAKE_SECONDS = 1800
FIRST, CROSS, README = "docs/first-deploy.md", "docs/cross-partition.md", "README.md"

# Commands that a reader of the documents does not type here, and why.
NOT_RUN = {
    "make demo": "CI runs it",
    "make demo KEEP=1": "CI runs it, and stops it",
    "make stop": "there is nothing to stop without the demo",
    "make test": "this is part of it",
    "make measure": "minutes; figures in benches/README.md",
    "make bench": "an hour; CI runs a hundredth",
    "make cold-start": "builds the product; coldstart.py looks at the quick build here",
    "make simulate SEEDS=300": "CI runs it",
    "make mutants": "an hour",
    "make deploy SAM_ENV=china ARCH=x86_64": "the local AWS knows one partition",
    "cargo install --path cli": "a release build; the command of the tree stands on PATH",
    "longhaul pause    RUN": "a run of few objects has ended before, and one that ended cannot be paused",
    "longhaul resume   RUN": "the run succeeded; backfills.py resumes one that failed",
}

# What stands in the documents, and what is typed in its stead.
ALWAYS = {
    # The local AWS knows one partition.
    "arn:aws-cn:": "arn:aws:",
    # It needs no release build.
    "cargo run --release -p longhaul --": "longhaul",
}
ALONE = {"MY-SOURCE": "newcomer-source", "MY-DESTINATION": "newcomer-destination", "eu-west-1": "cn-north-1"}
NAMES = {
    "s3://from/prefix": "s3://departures/old/", "s3://to/prefix": "s3://arrivals/copied/", "s3://from/p": "s3://departures/", "s3://to/q": "s3://arrivals/",
    "--destination-profile other": "--destination-profile china", "BUCKET": "departures",
}

# What is answered where the table of a document gives a rule instead of a value. The local AWS knows no composite alarm,
# which an address would make.
VALUES = {"SourceBucket": ALONE["MY-SOURCE"], "DestinationBucket": ALONE["MY-DESTINATION"], "NotificationEmail": ""}


class Reader:
    """Somebody with a fresh checkout, a shell, and profiles for both accounts."""

    def __init__(self, directory, default, profiles):
        self.directory = directory
        directory.mkdir()
        self.checkout, self.state = directory / "longhaul", directory / "state"
        self.state.touch()
        self.clone()
        self.environment = self.settings(default, profiles)
        self.typed, self.output = [], ""

    def clone(self):
        """The tree as it stands, without what git ignores; its times kept, so that nothing is compiled anew."""
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
        for name in {name.decode() for name in listed.stdout.split(b"\0") if name}:
            with contextlib.suppress(FileNotFoundError):  # deleted, and not yet committed
                (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.checkout / name)
        # Else every tool would be installed once more.
        (self.checkout / ".venvs").symlink_to(ROOT / ".venvs")

    def settings(self, default, profiles):
        """The environment of a reader whose `aws` is set up."""
        programs, config = self.directory / "bin", self.directory / "config"
        programs.mkdir()
        (programs / "aws").symlink_to(ROOT / ".venvs" / "aws" / "bin" / "aws")
        (programs / "longhaul").symlink_to(backfills.CLI)
        config.touch(mode=0o600)
        config.write_text("".join(
            f"[{name}]\nregion = {account.region}\nendpoint_url = {account.endpoint}\n"
            f"aws_access_key_id = {account.key}\naws_secret_access_key = {account.secret}\n"
            for name, account in {"default": default, **{f"profile {name}": account for name, account in profiles.items()}}.items()
        ))
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LONGHAUL_"))}
        return {
            **clean, **stack.QUICK, "PATH": f"{programs}:{os.environ['PATH']}", "AWS_CONFIG_FILE": str(config),
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true", "XDG_STATE_HOME": str(self.directory),
            "ARCH": stack.architecture(),
        }

    def type(self, command, answers=None, prelude=""):
        """Runs one command in the shell as the last one left it, and fails if it does. Its output stays in `output`."""
        script = f". {self.state}\nset -a\n{prelude}\n{command}\nstatus=$?\n{{ export -p; declare -f; }} > {self.state}\nexit $status"
        with terminal.Terminal(["bash", "-c", script], self.checkout, self.environment) as opened:
            status, self.output = opened.talk(answers or {}, MAKE_SECONDS if command.startswith("make ") else SECONDS)
        assert status == 0, f"$ {command}\n{self.output[-4000:]}\nexit status {status}"
        self.typed.append(documents.bare(command))

    def follow(self, document, filled, answers, prelude=""):
        """Types what the document says, with what `filled` holds, or finds when it is asked, in place of its names."""
        for command in documents.commands(document):
            plain = documents.bare(command)
            if plain in NOT_RUN or plain.startswith("make ") and plain in self.typed:
                continue
            for there, here in {**ALWAYS, **filled}.items():
                if there in plain:
                    command = command.replace(there, here() if callable(here) else here)
            self.type(command, answers if plain == "make deploy" else None, prelude)


def functions_endpoints(source, destination):
    """Answers that a reader leaves empty, whose buckets are AWS's."""
    return {
        "SourceEndpoint": source.endpoint, "SourcePathStyle": "true", "DestinationEndpoint": destination.endpoint, "DestinationPathStyle": "true",
        "Architecture": stack.architecture(), "BatchWindow": "1",
    }


def command_endpoints(source, destination):
    """Options of `longhaul` that a reader leaves out, whose buckets are AWS's."""
    sides = {"source": source, "destination": destination}
    options = " ".join(f"--{side}-endpoint-url {account.endpoint} --{side}-force-path-style" for side, account in sides.items())
    return f'longhaul() {{ case $1 in check|estimate|verify|uploads|copy) command longhaul "$@" {options};; *) command longhaul "$@";; esac; }}'


def outputs(account):
    return stack.outputs(account, "longhaul")


def migrated(here, there, source, destination, keys):
    """Waits until the ledger says so of each key; then both sides hold the same bytes."""
    ledger, table = here.client("dynamodb"), outputs(here)["LedgerTable"]

    def records():
        return {record["sourceKey"]: record for record in chain.records(ledger, table)}

    chain.until(lambda: all(records().get(key, {}).get("status") == "migrated" for key in keys), SECONDS, lambda: f"not all are migrated: {records()}")
    for key in keys:
        left, right = objects.digest(here.client("s3"), source, key), objects.digest(there.client("s3"), destination, key)
        assert left and right and left[:2] == right[:2], f"{key}: {left}, {right}"


def within_one_account(directory, account):
    """docs/first-deploy.md."""
    reader = Reader(directory, account, {})
    answers = {**documents.answers(FIRST), **VALUES, **functions_endpoints(account, account)}
    assert answers["CreateSourceBucket"] == "true"
    reader.follow(FIRST, {**ALONE, "LEDGER": lambda: outputs(account)["LedgerTable"]}, answers)
    migrated(account, account, ALONE["MY-SOURCE"], ALONE["MY-DESTINATION"], ["hello/README.md"])
    return reader.typed


def between_two_accounts(directory, here, there):
    """docs/cross-partition.md, then what the README says beyond it, with the stack that stands."""
    chain.bucket(here, "departures")
    chain.bucket(there, "arrivals")
    s3 = here.client("s3")
    large = objects.make(directory.parent, "large", 20 * objects.MIB)
    objects.upload(s3, "departures", "old/large", large)
    s3.put_object(Bucket="departures", Key="old/a b+c", Body=b"before the stack was")
    reader = Reader(directory, here, {"china": there})
    answers = {**documents.answers(CROSS), **functions_endpoints(here, there)}
    prelude = command_endpoints(here, there)

    def newest():
        found = here.client("stepfunctions").list_executions(stateMachineArn=outputs(here)["BackfillStateMachineArn"])
        return max(found["executions"], key=lambda execution: execution["startDate"])["name"]

    reader.follow(CROSS, {"RUN": newest}, answers, prelude)
    migrated(here, there, "departures", "arrivals", ["test/README.md", "old/large", "old/a b+c"])

    by_hand = ["a/key", "another"]
    # Else their events would bring them too; the README turns them on again.
    s3.put_bucket_notification_configuration(Bucket="departures", NotificationConfiguration={})
    for key in by_hand:
        s3.put_object(Bucket="departures", Key=key, Body=key.encode())
    keys = json.loads(here.client("secretsmanager").get_secret_value(SecretId="longhaul/arrivals")["SecretString"])
    stands = outputs(here)
    filled = {
        **{f'"{name}":"…"': f'"{name}":"{value}"' for name, value in keys.items()}, **NAMES, "RUN": newest,
        "--state-machine-arn ARN": f"--state-machine-arn {stands['StateMachineArn']}", "--state-machine ARN": f"--state-machine {stands['BackfillStateMachineArn']}",
    }
    reader.follow(README, filled, answers, prelude)
    reader.type("longhaul copy --help")
    migrated(here, there, "departures", "arrivals", by_hand)
    return reader.typed


def a_newcomer_migrates_objects_by_the_documents(_world):
    """Every command of README, first deployment and cross-partition guide works as it is printed, or says why it is not run."""
    with Endpoints("newcomer") as accounts:
        here, there = accounts.source, accounts.destination
        typed = between_two_accounts(accounts.directory / "two", here, there)
        typed += within_one_account(accounts.directory / "one", there)
    stale = set(NOT_RUN)
    for document in (README, CROSS, FIRST):
        stale -= {documents.bare(command) for command in documents.commands(document)}
        for named in documents.spans(document):
            stale.discard(named)
            assert named in NOT_RUN or any(command.startswith(named) for command in typed), f"{document}: nobody tries `{named}`"
    assert not stale, f"no document has {stale} any more"


CASES = [a_newcomer_migrates_objects_by_the_documents]

if __name__ == "__main__":
    stop_on_signals()
    try:
        a_newcomer_migrates_objects_by_the_documents(None)
    except AssertionError as error:
        sys.exit(f"FAILED  {error}")
    print(f"ok  every command of {pathlib.Path(README).stem} and docs works")
