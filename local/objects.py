"""Objects to migrate, made on the spot, and their comparison on both sides."""

import hashlib
import random

MIB = 1 << 20
PART = 8 * MIB


def make(directory, name, size):
    """A file of `size` bytes that no compression and no other file has; the name decides its content."""
    path = directory / name
    with open(path, "wb") as file:
        source = random.Random(name)
        while size:
            block = min(size, 4 * MIB)
            file.write(source.randbytes(block))
            size -= block
    return path


def upload(client, bucket, key, path, **extra):
    """Puts a file, in parts of 8 MiB where it is larger than one."""
    from boto3.s3.transfer import TransferConfig

    client.upload_file(
        str(path), bucket, key, ExtraArgs=extra, Config=TransferConfig(multipart_threshold=PART + 1, multipart_chunksize=PART, max_concurrency=2)
    )


def digest(client, bucket, key):
    """SHA-256, size and ETag of an object as it is read back; None where there is none."""
    from botocore.exceptions import ClientError

    try:
        reply = client.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return None
        raise
    sha, size = hashlib.sha256(), 0
    for block in reply["Body"].iter_chunks(MIB):
        sha.update(block)
        size += len(block)
    return sha.hexdigest(), size, reply["ETag"].strip('"')


def human(size):
    """Bytes as people read them."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
