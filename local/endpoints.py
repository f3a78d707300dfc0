"""Two local AWS endpoints that play two accounts: `source`, where Longhaul runs, and `destination`, which knows other keys.

`python endpoints.py stop` stops whatever an earlier run left.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
STATE = ROOT / ".local"
START_SECONDS = 60
STOP_SECONDS = 10


class Account:
    """One running endpoint and the keys of its root user."""

    def __init__(self, record):
        self.record = record
        self.name, self.region, self.account = record["name"], record["region"], record["account"]
        self.endpoint, self.key, self.secret = record["endpoint"], record["key"], record["secret"]
        self.pid = record["pid"]

    @classmethod
    def start(cls, name, region, account, directory):
        """Starts the endpoint on a free port, in a process group of its own, its state under `directory`."""
        directory.mkdir(parents=True)
        (directory / "tmp").mkdir()
        key, secret = "LOCAL" + secrets.token_hex(7).upper(), secrets.token_hex(20)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        endpoint = f"http://127.0.0.1:{port}"
        environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            # Functions inherit these: none of the user's own AWS settings may reach them.
            "HOME": str(directory),
            "TMPDIR": str(directory / "tmp"),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "AWS_ENDPOINT_URL": endpoint,
            "AUTH": "true",
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "MINISTACK_ACCOUNT_ID": account,
            "MINISTACK_REGION": region,
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LAMBDA_EXECUTOR": "local",
        }
        with open(directory / "log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "local" / "endpoint.py")],
                env=environment, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )
        return cls({
            "name": name, "region": region, "account": account, "endpoint": endpoint, "key": key, "secret": secret,
            "pid": process.pid, "began": began(process.pid), "directory": str(directory),
        })

    def wait(self):
        """Waits until it answers; fails with the end of its log."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.alive():
            with contextlib.suppress(OSError):
                with urllib.request.urlopen(self.endpoint + "/_ministack/health", timeout=2):
                    return
            time.sleep(0.1)
        tail = pathlib.Path(self.record["directory"], "log").read_text(errors="replace")[-2000:]
        raise SystemExit(f"the {self.name} endpoint did not start:\n{tail}")

    def alive(self):
        """True while the process that was started runs; another process under its id does not count."""
        return self.record["began"] is not None and began(self.pid) == self.record["began"]

    def stop(self):
        """Ends it and the functions it started, by process group, and waits until they are gone."""
        if not self.alive():
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            deadline = time.monotonic() + STOP_SECONDS
            while time.monotonic() < deadline:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(self.pid, os.WNOHANG)
                if not group(self.pid):
                    return
                time.sleep(0.05)

    def functions(self, name):
        """Process ids of the functions whose name ends in `name`, as this endpoint started them."""
        found = []
        for pid in group(self.pid):
            with contextlib.suppress(OSError):
                for variable in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    if variable.startswith(b"AWS_LAMBDA_FUNCTION_NAME=") and variable.endswith(name.encode()):
                        found.append(pid)
        return found

    def environment(self):
        """The variables under which `aws` and `sam` talk to it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint, "AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": self.region, "AWS_REGION": self.region,
        }

    def client(self, service, key=None, secret=None):
        """A boto3 client as its root user, or with other keys."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            service, endpoint_url=self.endpoint, region_name=self.region, aws_access_key_id=key or self.key,
            aws_secret_access_key=secret or self.secret,
            config=Config(s3={"addressing_style": "path"}, max_pool_connections=32, retries={"total_max_attempts": 4}),
        )


def status(pid):
    """Fields of /proc/PID/stat behind the command's name, or None; a zombie counts as gone."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields


def began(pid):
    """When a process began, which tells it from a later one under the same id."""
    fields = status(pid)
    return fields[19] if fields else None


def group(leader):
    """The living processes of a process group."""
    living = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = status(int(entry))
            if fields and int(fields[2]) == leader:
                living.append(int(entry))
    return living


class Endpoints:
    """Both accounts, for the time of a `with`. `keep()` leaves them running."""

    def __init__(self, run):
        self.directory = STATE / run
        self.kept = False

    def __enter__(self):
        STATE.mkdir(exist_ok=True)
        self.lock = open(STATE / f"{self.directory.name}.lock", "w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"another run of {self.directory.name} is going on in this checkout") from None
        stop(self.directory)
        self.directory.mkdir()
        self.accounts = []
        try:
            for name, region, account in (("source", "us-east-1", "111111111111"), ("destination", "cn-north-1", "222222222222")):
                self.accounts.append(Account.start(name, region, account, self.directory / name))
                self.save()
            for account in self.accounts:
                account.wait()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        self.source, self.destination = self.accounts
        return self

    def save(self):
        state = self.directory / "endpoints.json"
        state.touch(mode=0o600)
        state.write_text(json.dumps([account.record for account in self.accounts], indent=1))

    def keep(self):
        self.kept = True

    def __exit__(self, *_):
        # A second Ctrl-C must not leave half of it running.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not self.kept:
            stop(self.directory)
        self.lock.close()
        signal.signal(signal.SIGINT, before)


def stop(directory):
    """Stops the endpoints of a run and removes what they left."""
    state = directory / "endpoints.json"
    if state.exists():
        for record in json.loads(state.read_text() or "[]"):
            Account(record).stop()
    if directory.exists():
        shutil.rmtree(directory)


def stop_on_signals():
    """SIGTERM and SIGHUP end a run as Ctrl-C does, so that what it started is stopped."""

    def end(number, _frame):
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)


if __name__ == "__main__":
    if sys.argv[1:] != ["stop"]:
        raise SystemExit("usage: endpoints.py stop")
    for entry in sorted(STATE.glob("*/endpoints.json")):
        stop(entry.parent)
        print(f"stopped {entry.parent.name}")
