"""What comes from outside becomes a value of a type, whoever else does the same at that moment."""

from __future__ import annotations

import subprocess
import sys

ROUNDS = """
import importlib, sys, threading
from concurrent.futures import ThreadPoolExecutor
from cloud import typed
from cloud.github import runners as github

sys.setswitchinterval(1e-6)
page = b'{"runners": [{"id": 1, "name": "a", "status": "online", "busy": false, "labels": [{"name": "b"}]}]}'
for _ in range(50):
    fresh = importlib.reload(github)._Runners
    together = threading.Barrier(4)

    def read(_):
        together.wait()
        return typed.read(page, fresh).runners[0].labels[0].name

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(read, range(4))) == ["b"] * 4
"""


def test_several_threads_may_be_the_first_to_read_a_type() -> None:
    subprocess.run([sys.executable, "-c", ROUNDS], check=True, timeout=120)
