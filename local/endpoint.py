"""One local AWS account: MiniStack with what Longhaul needs and it lacks. Runs inside .venvs/aws, told by environment.

1. `Range` on a GET that names a version: without it a part of a pinned version would be the whole object.
2. Requests count as made over TLS: they stay on the loopback interface, and the template's buckets refuse plain HTTP.
3. A distributed Map reads `MaxConcurrencyPath` and `ToleratedFailurePercentagePath`: without the second, one failed child
   fails the Map.
"""

import re
import signal
import sys

import ministack.app as app
import ministack.services.s3 as s3
import ministack.services.stepfunctions as states

RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def bounds(text, length):
    """First and last byte of a single range, or None where it cannot be met."""
    match = RANGE.fullmatch(text.strip())
    if not match or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return max(0, length - int(last)), length - 1
    end = min(int(last) if last else length - 1, length - 1)
    return (int(first), end) if int(first) <= end else None


def with_range_of_versions(whole):
    def get_object(bucket, key, headers, query_params=None):
        status, reply, body = whole(bucket, key, headers, query_params)
        wanted = headers.get("range", "")
        if status != 200 or not wanted or "versionId" not in (query_params or {}):
            return status, reply, body
        found = bounds(wanted, len(body))
        if found is None:
            return 416, {"Content-Type": "application/xml", "Content-Range": f"bytes */{len(body)}"}, (
                b"<Error><Code>InvalidRange</Code><Message>The requested range is not satisfiable</Message></Error>"
            )
        first, last = found
        # A checksum of the whole object would be wrong for a part of it.
        reply = {name: value for name, value in reply.items() if not name.lower().startswith("x-amz-checksum")}
        reply["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
        reply["Content-Length"] = str(last - first + 1)
        return 206, reply, body[first : last + 1]

    return get_object


def over_tls(pin):
    return lambda source_ip, _secure: pin(source_ip, True)


def with_paths(run):
    def distributed(state, raw_input, effective, *rest):
        paths = {field: state.get(f"{field}Path") for field in ("MaxConcurrency", "ToleratedFailurePercentage")}
        found = {field: states._resolve_path_or_ctx(path, effective, rest[-1]) for field, path in paths.items() if path}
        return run({**state, **found}, raw_input, effective, *rest)

    return distributed


s3._get_object = with_range_of_versions(s3._get_object)
states._run_distributed_map = with_paths(states._run_distributed_map)
app.pin_request_origin = over_tls(app.pin_request_origin)

if __name__ == "__main__":
    # Ctrl-C in the terminal is for whoever started this, who then stops it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.argv = sys.argv[:1]
    app.main()
