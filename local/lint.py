"""Checks template and state machines with everybody's linters. Run by .venvs/lint's Python."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "local"))
import tools  # noqa: E402

LINT, SAM, CHECKOV = tools.HOME / "lint", tools.HOME / "sam", tools.HOME / "checkov"
# Nothing listens there: a linter that would ask somebody fails at once and goes on without.
NOWHERE = "http://127.0.0.1:9"
TEMPLATES = ["template.yaml", "network.yaml"]
INTEGRATIONS = {
    "StartExecutionSync": "states:startExecution.sync:2",
    "ListObjects": "s3:listObjectsV2",
    "PutObject": "s3:putObject",
}


def sample(match):
    """An ARN in place of a substitution: statelint refuses a Resource that is none."""
    name = match.group(1)
    if name.endswith("Bucket"):
        return name.lower()
    if name.endswith("Url"):
        return f"https://sqs.us-east-1.amazonaws.com/111111111111/{name}"
    if name.endswith("FunctionArn"):
        return f"arn:aws:lambda:us-east-1:111111111111:function:{name}"
    if name.endswith("StateMachineArn"):
        return f"arn:aws:states:us-east-1:111111111111:stateMachine:{name}"
    return f"arn:aws:states:::{INTEGRATIONS[name]}"


def machine(definition, place):
    """A copy of a state machine in which every substitution holds a sample ARN."""
    text = re.sub(r"\$\{(\w+)\}", sample, definition.read_text())
    json.loads(text)
    copy = place / definition.name
    copy.write_text(text)
    return copy


def checks(place):
    """Name and command of each check."""
    yield "sam validate --lint", [SAM / "bin" / "sam", "validate", "--lint", "--region", "us-east-1"]
    yield "cfn-lint", [LINT / "bin" / "cfn-lint", *TEMPLATES]
    for template in TEMPLATES:
        yield f"checkov {template}", [CHECKOV / "bin" / "checkov", "--config-file", "local/checkov.yaml", "--file", template]
    for definition in sorted((ROOT / "statemachine").glob("*.asl.json")):
        copy = machine(definition, place)
        validator = LINT / "node" / "node_modules" / "asl-validator" / "dist" / "bin" / "asl-validator.js"
        yield f"asl-validator {definition.name}", [tools.node(LINT) / "node", validator, "--json-path", copy]
        yield f"statelint {definition.name}", [LINT / "bin" / "statelint", copy]


def main():
    # An environment of its own: its dependencies and cfn-lint's exclude each other.
    tools.main(["checkov"])
    failed = []
    with tempfile.TemporaryDirectory() as place:
        for name, command in checks(pathlib.Path(place)):
            done = subprocess.run(
                list(map(str, command)), cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                env={
                    **os.environ, "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1", "HOME": place,
                    "HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE,
                },
            )
            # statelint reports on its output and ends well all the same.
            bad = done.returncode != 0 or (name.startswith("statelint") and "error" in done.stdout.lower())
            print(f"{'FAILED' if bad else 'ok'}  {name}", flush=True)
            if bad:
                failed.append(name)
                print(done.stdout + done.stderr)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
