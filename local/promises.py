"""The promises of crates/simulation/src/invariants.rs, as far as they show from outside, by the same names."""

import collections
import hashlib

import objects
from chain import FINAL

# A twin of a part may have been on its way while the first copy's answer was: so many seconds.
TWIN_SECONDS = 1.0


def broken(disasters, seeds):
    """What was broken, by the number of the seed, 0 for what belongs to none; and what was excused, counted."""
    found, excused = collections.defaultdict(list), collections.Counter()
    ledger = disasters.chain.ledger()
    for seed in seeds:
        exchanges = disasters.proxy.of(seed.number)
        told = [
            *outcomes(seed, ledger), *bytes_there(disasters, seed), *uploads_left(disasters, seed, exchanges, excused),
            *parts_twice(disasters, exchanges, excused),
        ]
        if told:
            found[seed.number] = told
    told = [*queues(disasters.chain), *counts(disasters)]
    if told:
        found[0] = told
    return found, excused


def outcomes(seed, ledger):
    """exactly-one-outcome, redrive-succeeds."""
    for key in seed.versions:
        record = ledger.get(("harbour", key))
        if not record or record["status"] not in FINAL:
            yield f"exactly-one-outcome: {key!r} has {record and record['status']}"
        elif record["status"] == "failed":
            yield f"redrive-succeeds: {key!r} failed: {record.get('failure')}"


def bytes_there(disasters, seed):
    """byte-for-byte, never-older, newest-is-there: of every version that ever stood at the destination."""
    pages = disasters.there.get_paginator("list_object_versions").paginate(Bucket="haven", Prefix=seed.prefix)
    stood = collections.defaultdict(list)
    for page in pages:
        for version in page.get("Versions", []):
            # The newest comes first.
            stood[version["Key"]].insert(0, version["VersionId"])
        for marker in page.get("DeleteMarkers", []):
            yield f"newest-is-there: {marker['Key']!r} was deleted"
    for key, versions in seed.versions.items():
        orders = []
        for version in stood.pop(key, []):
            body = disasters.there.get_object(Bucket="haven", Key=key, VersionId=version)["Body"].read()
            digest = hashlib.sha256(body).hexdigest()
            if digest not in versions:
                yield f"byte-for-byte: {key!r} was {len(body)} bytes of no version of the source"
                continue
            orders.append(versions.index(digest))
        if orders != sorted(orders):
            yield f"never-older: {key!r} had the versions {orders} in this order"
        newest = objects.digest(disasters.there, "haven", key)
        if newest is None or newest[0] != versions[-1]:
            yield f"newest-is-there: {key!r} is {newest and newest[1]} bytes, {'not ' if newest else ''}the newest of {len(versions)}"
    for key in stood:
        yield f"byte-for-byte: {key!r} was never offered"


def uploads_left(disasters, seed, exchanges, excused):
    """no-upload-left, but those whose Create reply was lost, whose creator died before it told, or whose abort was lost."""
    for upload in disasters.there.list_multipart_uploads(Bucket="haven", Prefix=seed.prefix).get("Uploads", []):
        key, upload_id = upload["Key"], upload["UploadId"]
        about = [exchange for exchange in exchanges if exchange.upload == upload_id]
        users = {exchange.process for exchange in about}
        created = [exchange for exchange in exchanges if exchange.operation == "CreateMultipartUpload" and exchange.key == key]
        if not about and any(exchange.told is None for exchange in created):
            excused["an upload whose Create reply was lost"] += 1
        elif len(users) <= 1 and any(exchange.process in disasters.proxy.killed for exchange in created):
            excused["an upload whose creator was killed"] += 1
        elif any(exchange.operation == "AbortMultipartUpload" and exchange.told is None for exchange in about):
            excused["an upload whose abort was lost"] += 1
        else:
            yield f"no-upload-left: {upload_id[:6]} of {key!r}, used by {len(about)} requests"


def parts_twice(disasters, exchanges, excused):
    """no-part-twice: nobody sends a part that its own listing showed, or whose reply it had.

    What else is sent again is counted by its cause. A key whose bytes were flipped on the wire is left out: there a part
    may have to be sent again because it is wrong.
    """
    flipped = {exchange.key for exchange in exchanges if exchange.fault == "byte flipped"}
    sent = collections.defaultdict(list)
    for exchange in exchanges:
        if exchange.operation == "UploadPart":
            sent[exchange.upload, exchange.part].append(exchange)
    listings = [exchange for exchange in exchanges if exchange.operation == "ListParts" and exchange.told is not None]
    for (upload, part), copies in sent.items():
        for number, copy in enumerate(copies):
            # Those that took effect.
            before = [other for other in copies[:number] if other.status == 200]
            if not before or copy.process is None:
                continue
            if copy.key in flipped:
                excused["a part sent again after a flip"] += 1
                continue
            own = [listing for listing in listings if listing.upload == upload and listing.process == copy.process and listing.told <= copy.begun]
            had = [other for other in before if other.told is not None and other.process == copy.process and other.told <= copy.begun]
            what = f"part {part} of {copy.key!r} at {copy.begun:.2f}"
            if any(part in listing.shown for listing in own):
                yield f"no-part-twice: {what}: its own listing showed it"
            elif any(copy.begun - other.told > TWIN_SECONDS for other in had):
                yield f"no-part-twice: {what}: its sender had the reply of the first"
            elif not own:
                yield f"no-part-twice: {what}: its sender had not asked which parts there are"
            elif had or any(other.told is None or other.told > copy.begun for other in before if other.process == copy.process):
                excused["a part sent again by the same function: reply lost, or hedged"] += 1
            elif any(other.process in disasters.proxy.killed for other in before):
                excused["a part sent again after a kill"] += 1
            else:
                excused["a part sent by twins"] += 1


def queues(deployed):
    """Nothing is left on any queue."""
    for name in ("queue", "failed", "dead"):
        left = deployed.waiting(getattr(deployed, name))
        if left:
            yield f"{left} messages are left on the {name} queue"


def counts(disasters):
    """counts-add-up: every execution counts each object that it was offered once."""
    for execution in disasters.executions():
        arn, name, tally = execution["executionArn"], execution["name"], disasters.outcome(execution)
        keys = disasters.offered(arn)
        counted = sum(tally.get(field, 0) for field in ("migrated", "unchanged", "skipped", "failed", "continued"))
        if len(keys) != counted and not tally.get("unsettled"):
            yield f"counts-add-up: {name}, {execution['status']}, was offered {sorted(keys)} and counts {tally}"
        if execution["status"] == "SUCCEEDED" and tally.get("failed"):
            yield f"counts-add-up: {name} succeeded with {tally}"
