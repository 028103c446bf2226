"""An answer comes in time and is no larger than one, or it is none; an interrupt ends the waiting."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Any

import pytest

from cloud import wait
from cloud.errors import Interrupted, KitError, TemporaryError
from cloud.progress import Silent
from cloud.publish import download, web
from cloud.publish.transfer import Pace


@contextmanager
def serving(answer: Callable[[Callable[[bytes], Any]], None]) -> Iterator[str]:
    """A server that writes what `answer` does; who reads may go away at any time."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                answer(self.wfile.write)
            except OSError:
                pass

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n"


def slow_head(write: Callable[[bytes], Any]) -> None:
    write(HEAD)
    for number in range(1000):
        write(b"X-%d: x\r\n" % number)
        time.sleep(0.05)


def slow_body(write: Callable[[bytes], Any]) -> None:
    write(HEAD + b"\r\n")
    for byte in repeat(b"x", 1000):
        write(byte)
        time.sleep(0.05)


def endless(write: Callable[[bytes], Any]) -> None:
    write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        write(bytes(1 << 20))


@pytest.mark.parametrize("answer", [slow_head, slow_body])
def test_an_answer_that_drips_is_none_when_its_time_is_over(answer: Callable[[Callable[[bytes], Any]], None]) -> None:
    began = time.monotonic()
    late = pytest.raises(TemporaryError, match=r"does not answer within 0\.3 s")
    with serving(answer) as url, web.session() as session, late:
        web.ask(session, "GET", url, timeout=0.3)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("answer", [slow_head, slow_body])
def test_an_interrupt_ends_the_waiting_for_an_answer(answer: Callable[[Callable[[bytes], Any]], None]) -> None:
    began = time.monotonic()
    with serving(answer) as url, web.session() as session:
        threading.Timer(0.3, wait.interrupt).start()
        with pytest.raises(Interrupted):
            web.ask(session, "GET", url, timeout=60)
    assert time.monotonic() - began < 5


def test_an_answer_without_end_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "LARGEST", 4 << 20)
    large = pytest.raises(KitError, match="answers with more than 4 MiB")
    with serving(endless) as url, web.session() as session, large:
        web.ask(session, "GET", url, timeout=60)


def test_a_file_that_drips_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "TRIES", 1)
    with serving(slow_body) as url, web.session() as session:

        def opened(headers: dict[str, str]) -> Any:
            return web.ask(session, "GET", url, timeout=0.3, headers=headers, stream=True)

        with pytest.raises(TemporaryError, match=r"sends [0-9]+ bytes in"):
            download.check(opened, 1_000_000, "0" * 64, Pace("reading", 0, Silent()), stall=0.3)
