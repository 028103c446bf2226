"""The upload of a large file against `curl -T`, plain and by TLS, to one and the same server process.

Both are timed from the first byte to the answer; neither makes a checksum then. How long ours reads the box for that,
once, is told beside it. Then the memory that ours takes, and the publication of two providers against two runs of
`vagrant cloud publish`, which neither makes checksums nor reads back.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from _measure import ROOT, report

TARGET = 1.0
MEMORY = 100

SEND = """\
import json, resource, sys, time
from pathlib import Path
from cloud.progress import Silent
from cloud.publish import transfer, web
file, url = Path(sys.argv[1]), sys.argv[2]
size, session = file.stat().st_size, web.session()
pace = transfer.Pace("it", size, Silent())
before = resource.getrusage(resource.RUSAGE_SELF)
began = time.perf_counter()
transfer.upload(session, file, size, lambda: url, lambda: False, stall=60, pace=pace)
took = time.perf_counter() - began
after = resource.getrusage(resource.RUSAGE_SELF)
cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"seconds": took, "cpu": cpu, "memory": after.ru_maxrss / 1024}))
"""


def main(times: int, size: int, small: int, large: int, published: int) -> None:
    """Measure and print."""
    print(f"load: {os.getloadavg()[0]:.2f} on {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        server, plain, tls, authority = _server(folder)
        try:
            file = _sparse(folder, size)
            _curl(file, plain, authority)  # who reads a file first brings it into memory, for the other one too
            for scheme, url in (("plain", plain), ("TLS", tls)):
                both = [(_ours(file, url, authority), _curl(file, url, authority)) for _ in range(times)]
                ours, theirs, our_own, their_own = (
                    statistics.median(each[side][key] for each in both) for key in ("seconds", "cpu") for side in (0, 1)
                )
                report(f"{size} MiB, {scheme}", ours, "curl -T", theirs, TARGET)
                # What a machine that others use too has less to do with.
                print(f"  of the processor: {our_own:.2f} s, curl {their_own:.2f} s")
            for mebibytes in (small, large):
                memory = _ours(_sparse(folder, mebibytes), plain, authority)["memory"]
                print(f"memory at {mebibytes} MiB: {memory:.0f} MiB, to reach: {MEMORY}")
        finally:
            server.kill()
        if published:
            _whole(folder, published)


def _sparse(folder: Path, mebibytes: int) -> Path:
    file = folder / "large"
    with open(file, "wb") as made:
        made.truncate(mebibytes << 20)
    return file


def _server(folder: Path) -> tuple[subprocess.Popen[str], str, str, Path]:
    """The process that takes files, its two addresses, and whose certificate it has."""
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    argv = [sys.executable, __file__, "--serve", folder / "server.pem"]
    server = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    plain, tls = server.stdout.readline().split()
    return server, f"http://127.0.0.1:{plain}/x", f"https://127.0.0.1:{tls}/x", folder / "ca.pem"


def serve(certificate: Path) -> None:
    """Take files on two ports, and drop what is in them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    print(*(each.getsockname()[1] for each in listeners), flush=True)
    threads = [
        threading.Thread(target=_accept, args=(listeners[0], None)),
        threading.Thread(target=_accept, args=(listeners[1], context)),
    ]
    for thread in threads:
        thread.start()


def _accept(listener: socket.socket, context: ssl.SSLContext | None) -> None:
    while True:
        line, _ = listener.accept()
        with context.wrap_socket(line, server_side=True) if context else line as caller:
            _take(caller)


def _take(caller: socket.socket) -> None:
    buffer = bytearray(1 << 20)
    head = b""
    while b"\r\n\r\n" not in head:
        head += caller.recv(1 << 16)
    words, _, rest = head.partition(b"\r\n\r\n")
    lines = dict(line.lower().split(b": ", 1) for line in words.split(b"\r\n")[1:])
    left = int(lines[b"content-length"]) - len(rest)
    if lines.get(b"expect"):
        caller.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    while left:
        left -= caller.recv_into(buffer)
    caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def _ours(file: Path, url: str, authority: Path) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "REQUESTS_CA_BUNDLE": str(authority)}
    return dict(json.loads(_output([sys.executable, "-c", SEND, file, url], environment)))


def _curl(file: Path, url: str, authority: Path) -> dict[str, float]:
    words = ["--silent", "--show-error", "--fail", "--output", "/dev/null", "--write-out", "%{time_total}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = _output(["curl", *words, "--cacert", authority, "--upload-file", file, url], dict(os.environ))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": float(took), "cpu": cpu}


def _output(argv: list[str | Path], environment: dict[str, str]) -> str:
    ended = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{argv[0]} ended with {ended.returncode}: {ended.stderr}")
    return ended.stdout


def _whole(folder: Path, mebibytes: int) -> None:
    """Two providers, published by us and by vagrant at the same registry."""
    from tests.fakes.registry_wire import Registry
    from tests.publishing import PROVIDERS, TAG, Desk, at, built

    with Registry(folder / "registry") as registry:
        desk = Desk(folder / "home", at(registry))
        content = os.urandom(mebibytes << 20)
        files = {provider: built(desk.store, provider, disk=content) for provider in PROVIDERS}
        del content
        began = time.perf_counter()
        ran = desk.toolkit.run("boxes.upload", "--version", "1.0.0")
        ours = time.perf_counter() - began
        if ran.code:
            sys.exit(ran.err)
        environment = {**os.environ, **registry.variables, "VAGRANT_HOME": str(folder / "vagrant")}
        environment["VAGRANT_CHECKPOINT_DISABLE"] = "1"
        began = time.perf_counter()
        for provider, file in files.items():
            words = ["vagrant", "cloud", "publish", "--force", "--no-private", "--release", TAG, "2.0.0", provider]
            _output([*words, file], environment)
        theirs = time.perf_counter() - began
        report(f"two boxes of {mebibytes} MiB published", ours, "vagrant cloud publish, twice", theirs, TARGET)
        again = time.perf_counter()
        desk.toolkit.run("boxes.upload", "--version", "1.0.0")
        print(f"published already, typed again: {time.perf_counter() - again:.3f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--size", type=int, default=2048, help="MiB of the file that is sent")
    parser.add_argument("--small", type=int, default=1024, help="MiB of a file whose memory is told")
    parser.add_argument("--large", type=int, default=16384, help="MiB of the larger file whose memory is told")
    parser.add_argument("--published", type=int, default=256, help="MiB of each box that is published; 0: none")
    parser.add_argument("--serve", type=Path)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve)
    else:
        main(given.times, given.size, given.small, given.large, given.published)
