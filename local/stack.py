"""Builds and deploys the real template with the real SAM CLI, to an endpoint of this machine."""

import os
import platform
import signal
import subprocess
import sys
import time

from endpoints import ROOT

# Without link-time optimisation and with the machine's own linker: the product is built with both (`make build`), a
# demonstration should not wait for it. A target directory of its own keeps either build from undoing the other.
QUICK = {
    "CARGO_LAMBDA_COMPILER": "cargo",
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "3",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
    "CARGO_TARGET_DIR": str(ROOT / "target" / "local"),
}


def architecture():
    """The Lambda name of this machine's processor: the functions run here."""
    return {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine().lower()]


def sam(arguments, environment, log):
    """Runs `sam`; its output goes to `log`, and to the terminal if it fails. If this run ends first, so does it."""
    tools = ROOT / ".venvs" / "sam" / "bin"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [str(tools / "sam"), *arguments, "--config-env", "local"], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            env={**clean, "PATH": f"{tools}:{os.environ['PATH']}", "SAM_CLI_TELEMETRY": "0", **environment}, start_new_session=True,
        )
        try:
            process.wait()
        except BaseException:
            # The compiler below it would go on otherwise.
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise
    if process.returncode:
        sys.stderr.write(log.read_text(errors="replace"))
        raise SystemExit(f"sam {arguments[0]} failed")


def build():
    """`sam build` for this machine; seconds. Always under the same settings, so that cargo's cache holds."""
    began = time.monotonic()
    sam(["build", "--parameter-overrides", f"Architecture={architecture()}"], QUICK, ROOT / ".local" / "build.log")
    return time.monotonic() - began


def deploy(account, stack, parameters, directory):
    """`sam deploy` to an endpoint; the stack's outputs."""
    chosen = {"Architecture": architecture(), "BatchWindow": "1", "LogLevel": "info", **parameters}
    sam(
        ["deploy", "--stack-name", stack, "--parameter-overrides", *(f"{name}={value}" for name, value in chosen.items())],
        account.environment(),
        directory / f"deploy-{stack}.log",
    )
    return outputs(account, stack)


def outputs(account, stack):
    """The outputs of a deployed stack."""
    described = account.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
