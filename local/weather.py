"""What goes wrong with which request.

A fault is drawn from the seed, the request itself and how often it came, so that a seed strikes the same requests whatever the
order in which processes send them. Every request comes under faults a few times at most: all of it ends.
"""

import collections
import dataclasses
import random
import urllib.parse

# No request is struck more often.
STRIKES_MAX = 3
KILLS_MAX = 3
# Faults of any request, and how often each is drawn.
ANY = {"slow down": 4, "500": 1, "500, done": 2, "reset": 2, "reset, done": 2, "delay": 3, "killed": 1, "killed, done": 1}
ANSWERED = {"answer cut": 4}
# Of whole objects only: the local AWS does not tell the layout of a source (`HEAD ?partNumber=1`), and without it nothing
# proves a range that was read in the clear.
WHOLE = {"byte flipped": 4}
# A write that arrives after its sender lost the connection.
WRITTEN = {"late": 2}
SENT = {"request cut": 3}
COMPLETED = {"200 with an error": 2, "200 with an error, done": 2}
# The local AWS lets a rule invoke it once, where AWS repeats what died.
IMMORTAL = "settle"


@dataclasses.dataclass
class Exchange:
    """One request and what became of it. Times are seconds since the proxy began."""

    begun: float
    side: str
    operation: str
    key: str
    seed: int | None = None
    upload: str | None = None
    part: int | None = None
    range: str = ""
    # Process id and when the process began, and the function's name.
    process: tuple | None = None
    function: str = "?"
    fault: str | None = None
    # What the store answered; None where it never had the request.
    status: int | None = None
    # All of the answer was given to the connection, at this time.
    told: float | None = None
    # Numbers of the parts that a listing showed.
    shown: frozenset = frozenset()

    def __str__(self):
        number = "" if self.part is None else f" part {self.part}"
        upload = "" if self.upload is None else f" of {self.upload[:6]}"
        told = "not told" if self.told is None else f"{self.told - self.begun:.2f} s"
        struck = f"  <- {self.fault}" if self.fault else ""
        process = f"{self.function}/{self.process[0]}" if self.process else "?"
        where = f"{self.key}{number}{upload} {self.range}".rstrip()
        return f"{self.begun:8.2f} {process:20} {self.side:11} {self.operation} {where}: {self.status or 'not carried'}, {told}{struck}"


@dataclasses.dataclass
class Request:
    """A request as it came."""

    method: str
    target: str
    head: bytes
    headers: dict

    def exchange(self, side, begun):
        """Names the operation as S3 does."""
        path, _, query = self.target.partition("?")
        given = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        key = urllib.parse.unquote(path.lstrip("/").partition("/")[2])
        if "uploadId" in given:
            operation = {"GET": "ListParts", "PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}[self.method]
        elif "uploads" in given:
            operation = {"GET": "ListMultipartUploads", "POST": "CreateMultipartUpload"}[self.method]
        elif "tagging" in given:
            operation = f"{self.method.title()}ObjectTagging"
        elif not key:
            operation = f"{self.method.title()}Bucket"
        else:
            operation = f"{self.method.title()}Object"
        part = int(given["partNumber"]) if operation == "UploadPart" else None
        return Exchange(
            begun, side, operation, key or given.get("prefix", ""), upload=given.get("uploadId"), part=part, range=self.headers.get("range", ""),
        )


class Weather:
    """The faults of one seed; calm once `over`."""

    def __init__(self, seed):
        self.seed, self.over = seed, False
        self.rate = random.Random(f"rate {seed}").choice([0.06, 0.12, 0.2, 0.3])
        self.requests = self.kills = 0
        self.came = collections.Counter()

    def strike(self, exchange):
        """The fault of a request, or None."""
        self.requests += 1
        name = (exchange.side, exchange.operation, exchange.key, exchange.part, exchange.range)
        nth = self.came[name]
        self.came[name] += 1
        dice = random.Random(f"{self.seed} {name} {nth}")
        if self.over or nth >= STRIKES_MAX or dice.random() >= self.rate * 0.7**nth:
            return None
        kinds = dict(ANY)
        operation = exchange.operation
        if operation.startswith(("Get", "List")):
            kinds |= ANSWERED
        if operation == "GetObject" and not exchange.range:
            kinds |= WHOLE
        if operation in ("PutObject", "UploadPart", "CompleteMultipartUpload", "CreateMultipartUpload", "AbortMultipartUpload"):
            kinds |= WRITTEN
        if operation in ("PutObject", "UploadPart", "CompleteMultipartUpload"):
            kinds |= SENT
        if operation == "CompleteMultipartUpload":
            kinds |= COMPLETED
        if exchange.process is None or exchange.function == IMMORTAL or self.kills >= KILLS_MAX:
            kinds = {kind: weight for kind, weight in kinds.items() if not kind.startswith("killed")}
        fault = dice.choices(list(kinds), list(kinds.values()))[0]
        self.kills += fault.startswith("killed")
        return fault
