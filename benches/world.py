"""What a measurement stands on: servers, a long link, quotas. Each is a context that takes away what it made."""

import contextlib
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
CGROUPS = pathlib.Path("/sys/fs/cgroup")
ASK = "import sys, urllib.request; sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1]).read())"


class Missing(Exception):
    """This machine lacks what a row needs; the text says what."""


class Server:
    """A running null-s3."""

    def __init__(self, binary, side, place, options=(), namespace=None, host="127.0.0.1", tls=False):
        self.inside = ["ip", "netns", "exec", namespace] if namespace else []
        self.authority = place / f"{side}.pem" if tls else None
        secure = ["--tls", str(self.authority)] if tls else []
        command = [*self.inside, str(binary), "--side", side, "--host", host, *secure, *options]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            self.stop()
            raise SystemExit(f"{binary} did not start")
        self.context = ssl.create_default_context(cafile=self.authority) if tls else None

    def ask(self, path):
        """The answer to a request that is not S3's; nothing if there is none."""
        if self.inside:
            command = [*self.inside, sys.executable, "-I", "-S", "-c", ASK, self.url + path]
            text = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout
        else:
            with urllib.request.urlopen(self.url + path, context=self.context) as answer:
                text = answer.read()
        return json.loads(text) if text.strip() else None

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


class World:
    """Both servers, what a client needs to reach them, and words to put before its command."""

    def __init__(self, source, destination, before=(), place=None, bundle=None):
        self.source, self.destination = source, destination
        self.before, self.place, self.bundle = list(before), place, bundle


@contextlib.contextmanager
def loopback(binary, cases, kms=False, tls=False, quota=None, options=()):
    """Two servers on 127.0.0.1. `quota` is (cores, bytes) of the client."""
    with contextlib.ExitStack() as stack:
        place = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="longhaul-bench-")))
        before = stack.enter_context(limited(*quota)) if quota else ()
        source = Server(binary, "source", place, ["--cases", ",".join(cases), *options], tls=tls)
        stack.callback(source.stop)
        destination = Server(binary, "destination", place, [*(["--kms"] if kms else []), *options], tls=tls)
        stack.callback(destination.stop)
        bundle = None
        if tls:
            bundle = place / "bundle.pem"
            bundle.write_text(source.authority.read_text() + destination.authority.read_text())
        yield World(source, destination, before, place, bundle)


@contextlib.contextmanager
def link(binary, link_binary, cases, loss, rtt_ms=200, congestion="cubic"):
    """The source beside the client, the destination behind a long link."""
    if os.geteuid() != 0:
        raise Missing("needs root for network namespaces")
    if not shutil.which("ip"):
        raise Missing("needs iproute2")
    if not os.path.exists("/dev/net/tun"):
        raise Missing("needs /dev/net/tun")
    near, far = f"ln{os.getpid()}", f"lf{os.getpid()}"
    with contextlib.ExitStack() as stack:
        place = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="longhaul-bench-")))
        for name in (near, far):
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
            ip("-n", name, "link", "set", "lo", "up")
            # A window that the link's delay does not fill.
            write = "echo 4096 65536 16777216 > /proc/sys/net/ipv4/tcp_wmem"
            subprocess.run(["ip", "netns", "exec", name, "sh", "-c", write], check=True, stdin=subprocess.DEVNULL)
        command = [str(link_binary), "--near", near, "--far", far, "--rtt-ms", str(rtt_ms), "--loss", str(loss)]
        carrier = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        stack.callback(carrier.stdout.close)
        stack.callback(carrier.wait)
        stack.callback(carrier.terminate)
        if carrier.stdout.readline().strip() != "up":
            raise Missing("the link does not come up")
        # Per route: a namespace may not choose a restricted algorithm for all.
        for name, own, peer in ((near, "10.77.0.1", "10.77.0.2"), (far, "10.77.0.2", "10.77.0.1")):
            ip("-n", name, "route", "replace", peer, "dev", f"t{name}", "src", own, "congctl", congestion)
        source = Server(binary, "source", place, ["--cases", ",".join(cases)], namespace=near)
        stack.callback(source.stop)
        destination = Server(binary, "destination", place, namespace=far, host="10.77.0.2")
        stack.callback(destination.stop)
        yield World(source, destination, ["ip", "netns", "exec", near], place)


def ip(*words):
    subprocess.run(["ip", *words], check=True, stdin=subprocess.DEVNULL)


@contextlib.contextmanager
def limited(cores, memory):
    """Words before a command that put it under a quota, by control groups of version 1 or 2."""
    period = 100_000
    name, quota = f"longhaul-bench-{os.getpid()}", round(cores * period)
    if (CGROUPS / "cpu" / "cgroup.procs").exists():
        settings = [
            (CGROUPS / "cpu" / name, {"cpu.cfs_period_us": period, "cpu.cfs_quota_us": quota}),
            (CGROUPS / "memory" / name, {"memory.limit_in_bytes": memory}),
        ]
    elif (CGROUPS / "cgroup.controllers").exists():
        settings = [(CGROUPS / name, {"cpu.max": f"{quota} {period}", "memory.max": memory})]
    else:
        raise Missing("needs the cpu and memory control groups")
    with contextlib.ExitStack() as stack:
        try:
            if len(settings) == 1:
                (CGROUPS / "cgroup.subtree_control").write_text("+cpu +memory")
            for group, values in settings:
                group.mkdir()
                stack.callback(group.rmdir)
                for setting, value in values.items():
                    (group / setting).write_text(str(value))
        except OSError as error:
            raise Missing(f"may not set up control groups: {error}") from error
        joins = "".join(f"echo $$ > {group}/cgroup.procs && " for group, _ in settings)
        yield ["sh", "-c", joins + 'exec "$@"', "sh"]
