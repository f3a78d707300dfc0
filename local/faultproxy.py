"""The wire between the functions and the two S3 endpoints, and what goes wrong on it.

A request is read whole and carried on as it came, under the `Host` that its sender signed, unless `weather.py` strikes it.
"""

import asyncio
import contextlib
import os
import pathlib
import random
import re
import signal
import socket
import struct
import threading
import time
import urllib.parse

import endpoints
from weather import Request

HEAD_MAX = 1 << 20
REASONS = {200: "OK", 500: "Internal Server Error", 503: "Slow Down"}


class Closed(Exception):
    """The connection was broken on purpose."""


class Proxy:
    """Stands before several endpoints, on a thread of its own, for the time of a `with`.

    `seed_of` tells the seed of a key, `account` is whose functions send the requests.
    """

    def __init__(self, upstreams, account, seed_of):
        self.upstreams, self.account, self.seed_of = upstreams, account, seed_of
        self.exchanges, self.weather, self.killed = [], {}, set()
        self.under_way, self.last, self.began = 0, time.monotonic(), time.monotonic()
        self.endpoints = {}
        self.loop = asyncio.new_event_loop()
        self.tasks = set()

    def __enter__(self):
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.servers = [
            asyncio.run_coroutine_threadsafe(self.listen(side, urllib.parse.urlsplit(url)), self.loop).result()
            for side, url in self.upstreams.items()
        ]
        return self

    def __exit__(self, *_):
        async def end():
            for server in self.servers:
                server.close()
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def now(self):
        return time.monotonic() - self.began

    def quiet(self):
        """Seconds since anything was under way."""
        return 0 if self.under_way else time.monotonic() - self.last

    def of(self, seed):
        """The requests of a seed, in the order in which they came."""
        return [exchange for exchange in list(self.exchanges) if exchange.seed == seed]

    async def listen(self, side, upstream):
        async def accept(reader, writer):
            task = asyncio.current_task()
            self.tasks.add(task)
            try:
                await self.serve(side, upstream, reader, writer)
            except (Closed, OSError, EOFError, asyncio.CancelledError):
                pass
            finally:
                self.tasks.discard(task)
                writer.transport.abort()

        server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=HEAD_MAX)
        self.endpoints[side] = "http://127.0.0.1:{}".format(server.sockets[0].getsockname()[1])
        return server

    async def serve(self, side, upstream, reader, writer):
        process, function = self.sender(writer)
        while request := await read_request(reader):
            self.under_way += 1
            try:
                exchange = request.exchange(side, self.now())
                exchange.process, exchange.function = process, function
                exchange.seed = self.seed_of(exchange.key)
                weather = self.weather.get(exchange.seed)
                exchange.fault = weather.strike(exchange) if weather else None
                self.exchanges.append(exchange)
                await self.carry(exchange, request, upstream, reader, writer)
            finally:
                self.under_way -= 1
                self.last = time.monotonic()

    async def carry(self, exchange, request, upstream, reader, writer):
        fault = exchange.fault
        dice = random.Random(f"{exchange.seed} {exchange.key} {exchange.part} {exchange.range} {fault}")
        if request.headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if fault == "request cut":
            await reader.readexactly(dice.randrange(int(request.headers.get("content-length", 0)) + 1))
            reset(writer)
        body = await read_body(reader, request.headers)
        if fault == "delay":
            await asyncio.sleep(dice.uniform(0.05, 1.0))
        elif fault in ("slow down", "500", "200 with an error"):
            return await self.tell(exchange, writer, *self.refusal(exchange, request))
        elif fault == "reset":
            reset(writer)
        elif fault == "killed":
            self.kill(exchange.process)
            reset(writer)
        elif fault == "late":
            # Nobody waits for it any more.
            reset(writer, raising=False)
            await asyncio.sleep(dice.uniform(0.1, 1.5))
        status, head, answer = await ask(upstream, request.head + body, request.method)
        exchange.status = status
        if fault in ("500, done", "200 with an error, done"):
            return await self.tell(exchange, writer, *self.refusal(exchange, request))
        if fault == "killed, done":
            self.kill(exchange.process)
        if fault in ("reset, done", "killed, done", "late"):
            reset(writer)
        if fault == "answer cut" and answer:
            writer.write(head + answer[: dice.randrange(len(answer))])
            await writer.drain()
            # What is in the kernel still arrives.
            raise Closed
        if fault == "byte flipped" and answer and status in (200, 206):
            answer = bytearray(answer)
            answer[dice.randrange(len(answer))] ^= 1 << dice.randrange(8)
        elif fault in ("byte flipped", "answer cut"):
            exchange.fault = None
        if exchange.operation == "ListParts" and status == 200:
            exchange.shown = frozenset(map(int, re.findall(rb"<PartNumber>(\d+)</PartNumber>", answer)))
        return await self.tell(exchange, writer, head, answer)

    def refusal(self, exchange, request):
        """The error that a store answers under load."""
        code = "SlowDown" if exchange.fault == "slow down" else "InternalError"
        status = 503 if exchange.fault == "slow down" else 200 if exchange.fault.startswith("200") else 500
        body = f"<Error><Code>{code}</Code><Message>by a test</Message><RequestId>0</RequestId></Error>".encode()
        head = f"HTTP/1.1 {status} {REASONS[status]}\r\ncontent-type: application/xml\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        return head, b"" if request.method == "HEAD" else body

    async def tell(self, exchange, writer, head, answer):
        writer.write(head)
        writer.write(answer)
        if exchange.fault is None or exchange.fault in ("delay", "byte flipped"):
            exchange.told = self.now()
        try:
            await writer.drain()
        except OSError:
            exchange.told = None
            raise

    def kill(self, process):
        """SIGKILL, unless another process has the id by now."""
        pid, began = process
        self.killed.add(process)
        if endpoints.began(pid) == began:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def sender(self, writer):
        """The process at the other end of a connection, and the function that it runs."""
        peer, own = writer.get_extra_info("peername")[1], writer.get_extra_info("sockname")[1]
        ends = (f"0100007F:{peer:04X}", f"0100007F:{own:04X}")
        for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if (fields[1], fields[2]) == ends:
                wanted = f"socket:[{fields[9]}]"
                break
        else:
            return None, "?"
        for pid in endpoints.group(self.account.pid):
            with contextlib.suppress(OSError):
                for entry in os.scandir(f"/proc/{pid}/fd"):
                    with contextlib.suppress(OSError):
                        if os.readlink(entry.path) == wanted:
                            return (pid, endpoints.began(pid)), function_of(pid)
        return None, "?"


def function_of(pid):
    """The name of the function that a process runs, without its stack's."""
    with contextlib.suppress(OSError):
        for variable in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if variable.startswith(b"AWS_LAMBDA_FUNCTION_NAME="):
                return variable.partition(b"=")[2].decode().partition("-")[2]
    return "?"


def reset(writer, raising=True):
    """Breaks a connection as a lost peer does."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    if raising:
        raise Closed


async def read_head(reader):
    """The first line, all of the head as it came, and the headers by small name; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    return first, head, headers


async def read_request(reader):
    found = await read_head(reader)
    if not found:
        return None
    first, head, headers = found
    method, target, _ = first.split(" ")
    return Request(method, target, head, headers)


async def read_body(reader, headers):
    """A body as it stands on the wire."""
    if "chunked" not in headers.get("transfer-encoding", "").lower():
        return await reader.readexactly(int(headers.get("content-length", 0)))
    pieces = []
    while True:
        size = await reader.readuntil(b"\r\n")
        length = int(size.split(b";")[0], 16)
        pieces += [size, await reader.readexactly(length + 2)] if length else [size]
        if not length:
            while pieces[-1] != b"\r\n":
                pieces.append(await reader.readuntil(b"\r\n"))
            return b"".join(pieces)


async def ask(upstream, request, method):
    """Sends a request to its endpoint; status, head and body of the answer."""
    reader, writer = await asyncio.open_connection(upstream.hostname, upstream.port, limit=HEAD_MAX)
    try:
        writer.write(request)
        await writer.drain()
        while True:
            found = await read_head(reader)
            if not found:
                raise ConnectionResetError("the endpoint closed the connection")
            first, head, headers = found
            status = int(first.split(" ")[1])
            # 100 Continue comes first where it was asked for.
            if status >= 200:
                break
        silent = method == "HEAD" or status in (204, 304)
        return status, head, b"" if silent else await read_body(reader, headers)
    finally:
        writer.transport.abort()
