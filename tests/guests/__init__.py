"""Guests that the VM tests boot."""

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from filelock import FileLock

HERE = Path(__file__).parent


def micro_disk(cache: Path, kernel: str = "linux-image-cloud-amd64") -> Path:
    """Return the micro guest's disk with that kernel, building it if the cache has none for today's recipe.

    It is shared and not to be written to: boot an overlay on it. Processes that ask at the
    same time wait for one build. Raises CalledProcessError, after its message is on standard
    error, when the build fails; nothing is left in the cache then.
    """
    cache.mkdir(parents=True, exist_ok=True)
    disk = cache / f"{kernel}-{_recipe()}.qcow2"
    with FileLock(cache / "micro.lock"):
        if not disk.exists():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                built = Path(scratch, disk.name)
                subprocess.run([HERE / "micro.sh", built, kernel], check=True, stdout=subprocess.DEVNULL)
                os.replace(built, disk)
    return disk


def _recipe() -> str:
    """Digest the names and contents of everything the disk is built from."""
    digest = hashlib.sha256()
    for file in [HERE / "micro.sh", *sorted(HERE.glob("micro/**/*"))]:
        if file.is_file():
            content = file.read_bytes()
            digest.update(f"{file.relative_to(HERE)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]
