"""A sample of the product: the files that its build leaves, small, and with scripts that do what its own do."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

KRUN = '#!/bin/sh\necho "krun sample"\n'

DOCKER = """#!/bin/sh
# Docker's word for a runtime, added to what is there.
set -e
[ -x /opt/kontain/bin/krun ]
mkdir -p /etc/docker
[ -s /etc/docker/daemon.json ] || echo '{}' > /etc/docker/daemon.json
jq '.runtimes.krun = { path: "/opt/kontain/bin/krun" }' /etc/docker/daemon.json > /etc/docker/new
mv /etc/docker/new /etc/docker/daemon.json
"""

PODMAN = """#!/bin/sh
set -e
mkdir -p /etc/containers/containers.conf.d
printf '[engine.runtimes]\\nkrun = ["/opt/kontain/bin/krun"]\\n' > /etc/containers/containers.conf.d/krun.conf
"""

KKM = """#!/bin/sh
# As makeself's: what is after -- is for the program inside.
[ "$*" = "--noprogress -- --force-install" ] || { echo "kkm.run: not these: $*"; exit 1; }
uname -r > /etc/kkm-sample
"""

FILES = {"bin/km": KRUN, "bin/krun": KRUN, "bin/docker_config.sh": DOCKER, "bin/podman_config.sh": PODMAN}


def product(folder: Path, files: Mapping[str, str] = FILES, installer: str = KKM) -> Path:
    """The sample in that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "kontain.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.mode = len(text.encode()), 0o755
            archive.addfile(member, io.BytesIO(text.encode()))
    (folder / "kkm.run").write_text(installer)
    (folder / "kontain_bin.tar.gz").write_bytes((folder / "kontain.tar.gz").read_bytes())
    return folder
