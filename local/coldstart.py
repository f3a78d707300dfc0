"""How large the functions are, and how long each takes from the start of its process to its first poll.

`python3 local/coldstart.py` builds the product (`make build`) for every architecture whose standard library is here, and
fails where a binary is too large or holds symbols. Times are printed beside their bar, and decide nothing: they are the
machine's too. A loopback server stands in for Lambda's Runtime API:
<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>
"""

import dataclasses
import io
import pathlib
import re
import socket
import statistics
import struct
import subprocess
import sys
import time
import zipfile

import stack
import tools
from endpoints import ROOT

MOST_MB, MOST_MS = 15, 60
STARTS = 5
SECONDS = 30
MACHINES = {62: "x86_64", 183: "arm64"}
SYMBOLS = 2
POLL = b"GET /2018-06-01/runtime/invocation/next "
# Keys of nobody: nothing is asked before the first poll.
SAMPLE = {
    "AWS_ACCESS_KEY_ID": "LOCALCOLDSTART", "AWS_SECRET_ACCESS_KEY": "none", "AWS_REGION": "us-east-1", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_LOG_GROUP_NAME": "cold", "AWS_LAMBDA_LOG_STREAM_NAME": "cold", "RUST_LOG": "info",
}


@dataclasses.dataclass
class Binary:
    """A function as it was built: bytes, the architecture, and whether its symbol table is gone."""

    name: str
    path: pathlib.Path
    size: int
    machine: str
    stripped: bool


def functions():
    """Name, memory and variables of each function of the template. All of them are strings there."""
    text = (ROOT / "template.yaml").read_text()
    for found in re.finditer(r"^  (\w+):\n    Type: AWS::Serverless::Function\n(?:    .*\n|\n)+", text, re.MULTILINE):
        memory = re.search(r"MemorySize: (\d+)", found.group())
        variables = re.findall(r"^ {10}(LONGHAUL_\w+):", found.group(), re.MULTILINE)
        yield found.group(1), memory.group(1) if memory else "1024", dict.fromkeys(variables, "cold")


def read(name, path):
    """Reads an ELF binary's header and section headers."""
    data = path.read_bytes()
    assert data[:6] == b"\x7fELF\x02\x01", f"{path} is no 64-bit ELF binary"
    (machine,) = struct.unpack_from("<H", data, 18)
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    kinds = {struct.unpack_from("<I", data, table + size * index + 4)[0] for index in range(count)}
    return Binary(name, path, len(data), MACHINES.get(machine, str(machine)), SYMBOLS not in kinds)


def zipped(path):
    """Bytes of the package that is uploaded."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as package:
        package.write(path, "bootstrap")
    return held.tell()


def built(directory):
    """The binaries under the folder that `sam build` filled, each as the template knows it."""
    return [read(name, directory / name / "bootstrap") for name, _, _ in functions()]


def first_poll(path, environment):
    """Milliseconds from spawning the process to its first poll for work."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)
        api = f"127.0.0.1:{server.getsockname()[1]}"
        began = time.monotonic()
        process = subprocess.Popen(
            [str(path)], env={**environment, "AWS_LAMBDA_RUNTIME_API": api}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(SECONDS)
                asked = connection.recv(4096)
                took = (time.monotonic() - began) * 1000
            assert asked.startswith(POLL), f"{path.parent.name} asked {asked[:80]!r} first"
            return took
        except TimeoutError:
            process.kill()
            raise AssertionError(f"{path.parent.name} did not poll: {process.stderr.read()[-2000:]!r}") from None
        finally:
            process.kill()
            process.wait()
            process.stderr.close()


def starts(binaries):
    """By function: the first start, and the median of some more."""
    known = {name: (memory, variables) for name, memory, variables in functions()}
    for binary in binaries:
        memory, variables = known[binary.name]
        own = {"AWS_LAMBDA_FUNCTION_NAME": binary.name, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": memory}
        first, *others = (first_poll(binary.path, {**SAMPLE, **own, **variables}) for _ in range(1 + STARTS))
        yield binary, first, statistics.median(others)


def say(text):
    print(text, flush=True)


def report(binaries):
    """Prints a line for each; times where the machine can run them."""
    here = all(binary.machine == stack.architecture() for binary in binaries)
    say(f"{'function':12} {'MB':>6} {'stripped':>9} {'first, ms':>10} {'median of ' + str(STARTS) + ', ms':>16}   bars: {MOST_MB} MB, {MOST_MS} ms")
    rows = starts(binaries) if here else ((binary, None, None) for binary in binaries)
    for binary, first, median in rows:
        times = f"{first:10.0f} {median:16.0f}" if here else f"{'-':>10} {'-':>16}"
        say(f"{binary.name:12} {binary.size / 1e6:6.1f} {'yes' if binary.stripped else 'NO':>9} {times}")


def functions_start_and_poll(world):
    """Every function that was built polls for work, and none holds symbols. This quick build is larger than the product."""
    binaries = built(ROOT / ".aws-sam" / "local")
    report(binaries)
    kept = [binary.name for binary in binaries if not binary.stripped]
    assert not kept, f"not stripped: {kept}"


CASES = [functions_start_and_poll]


def main():
    bad = []
    # This machine's own comes last, so that its build stays.
    for architecture in sorted(MACHINES.values(), key=lambda name: name == stack.architecture()):
        missing = list(tools.missing_target(architecture))
        if missing:
            say(f"{architecture}: not built. {missing[0]}")
            continue
        subprocess.run(["make", "build", f"ARCH={architecture}"], cwd=ROOT, stdin=subprocess.DEVNULL, check=True)
        binaries = built(ROOT / ".aws-sam" / "build")
        say(f"{architecture}:")
        report(binaries)
        packed = ", ".join(f"{binary.name} {zipped(binary.path) / 1e6:.1f}" for binary in binaries)
        say(f"zipped, as Lambda takes them, MB: {packed}")
        bad += [f"{binary.name} is built for {binary.machine}" for binary in binaries if binary.machine != architecture]
        bad += [f"{binary.name} has {binary.size / 1e6:.1f} MB" for binary in binaries if binary.size > MOST_MB * 1e6]
        bad += [f"{binary.name} is not stripped" for binary in binaries if not binary.stripped]
    for line in bad:
        say(f"FAILED  {line}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
