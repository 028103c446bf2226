"""Workflows run by act, on this machine: a repository with them, and the toolkit as it is now beside it.

What comes from the marketplace can't be fetched. What stands for it does the same as far as a workflow sees it:
checkout clones, the cache has nothing yet, AWS gives a role its keys.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.toolkit import ROOT

ACT = Path(sys.prefix, "bin", "act")
TOOLKIT = "kontainapp/kontain-vms"

CHECKOUT = """\
name: checkout
description: Clones the caller, or else the toolkit, whatever its repository is called.
inputs:
  repository: {description: whose, required: true}
  ref: {description: which commit, required: true}
  path: {description: where to, required: true}
  token: {description: who asks, required: true}
  fetch-tags: {description: whether all tags come too, default: "false"}
  submodules: {description: whether submodules come too, default: "false"}
  persist-credentials: {description: whether git keeps the token, default: "true"}
runs:
  using: composite
  steps:
    - run: |
        [ "$REPOSITORY" != "$GITHUB_REPOSITORY" ] || FROM=$CALLER
        git clone -q "$FROM" "$WHERE"
        git -C "$WHERE" -c advice.detachedHead=false checkout -q "$REF"
      shell: bash
      env:
        REPOSITORY: ${{ inputs.repository }}
        WHERE: ${{ inputs.path }}
        REF: ${{ inputs.ref }}
        FROM: THE_TOOLKIT
        CALLER: THE_CALLER
"""

CACHE = """\
name: cache
description: Has nothing yet.
inputs:
  path: {description: what, required: true}
  key: {description: by what name, required: true}
runs:
  using: composite
  steps: [{run: "true", shell: bash}]
"""

AWS = """\
name: configure-aws-credentials
description: Gives whoever may be the one role its keys, as variables of the steps that follow.
inputs:
  role-to-assume: {description: which, required: true}
  role-session-name: {description: who asks, required: true}
  aws-region: {description: where, required: true}
runs:
  using: composite
  steps:
    - run: |
        test "$ROLE" = "$OIDC_ROLE"
        echo "AWS_ACCESS_KEY_ID=$OIDC_KEY" >> "$GITHUB_ENV"
        echo "AWS_SECRET_ACCESS_KEY=$OIDC_SECRET" >> "$GITHUB_ENV"
      shell: bash
      env:
        ROLE: ${{ inputs.role-to-assume }}
"""

AZURE = """\
name: login
description: There is no Azure CLI here that could log in.
inputs:
  client-id: {description: who, required: true}
  tenant-id: {description: where, required: true}
  subscription-id: {description: for what, required: true}
runs:
  using: composite
  steps: [{run: exit 1, shell: bash}]
"""

STANDS = {
    "actions/checkout": CHECKOUT,
    "actions/cache": CACHE,
    "aws-actions/configure-aws-credentials": AWS,
    "azure/login": AZURE,
}


def git(folder: Path, *words: str) -> str:
    """Run git there."""
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    return subprocess.run(["git", "-C", folder, *who, *words], capture_output=True, text=True, check=True).stdout


def repository(folder: Path, name: str) -> str:
    """Make the folder a repository of that name; its commit."""
    git(folder, "init", "-q", "-b", "main")
    git(folder, "remote", "add", "origin", f"https://github.com/{name}.git")
    git(folder, "add", "-Af")
    git(folder, "commit", "-qm", "x")
    return git(folder, "rev-parse", "HEAD").strip()


def toolkit(folder: Path) -> str:
    """The toolkit as it is now, in a repository with the .venv of this run; its commit."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return repository(folder, TOOLKIT)


def pinned() -> list[str]:
    """Each action of another's that our workflows and actions use, with its commit."""
    texts = [path.read_text() for path in (ROOT / ".github").glob("**/*.yml")]
    return sorted({found for text in texts for found in re.findall(r"uses: ([\w/-]+@[0-9a-f]{40})(?= #)", text)})


@dataclass(frozen=True)
class Ended:
    """How a run ended, and what it said."""

    code: int
    said: str

    def result(self, job: str) -> str:
        """How a job ended: success, failure, or skipped, which is none."""
        told = re.findall(rf"^\[(?:[^\]]*/)?{re.escape(job)}\s*\] 🏁  Job (\w+)", self.said, re.MULTILINE)
        return {"succeeded": "success", "failed": "failure"}[told[-1]] if told else "skipped"


@dataclass
class Runs:
    """Runs the workflows of a repository, with the toolkit at a commit."""

    home: Path
    tree: Path
    commit: str
    at: str = ""
    """The commit by which callers name the toolkit, where it is not its own."""
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    actor: str = "somebody"
    event: Mapping[str, Any] = field(default_factory=dict)

    def begin(self, where: Path, workflow: str, event: str = "workflow_dispatch") -> subprocess.Popen[str]:
        """The workflow, under way."""
        self.home.mkdir(exist_ok=True)
        told = self.home / "event.json"
        told.write_text(json.dumps(self.event))
        words = [f"--platform={label}=-self-hosted" for label in ("ubuntu-24.04", *self.labels)]
        for option, values in (("env", self.environment), ("secret", self.secrets), ("var", self.variables)):
            words += [f"--{option}={key}={text}" for key, text in values.items()]
        words += [f"--local-repository={name}={folder}" for name, folder in self._others(where).items()]
        return subprocess.Popen(
            [
                ACT,
                event,
                f"--workflows=.github/workflows/{workflow}",
                f"--actor={self.actor}",
                "--eventpath",
                told,
                *words,
            ],
            cwd=where,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "XDG_CACHE_HOME": str(self.home / "cache")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, where: Path, workflow: str, event: str = "workflow_dispatch", timeout: float = 120) -> Ended:
        """The workflow, to its end."""
        with self.begin(where, workflow, event) as act:
            try:
                said, _ = act.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                os.killpg(act.pid, signal.SIGKILL)
                raise
        return Ended(act.returncode, said)

    def _others(self, where: Path) -> dict[str, Path]:
        """Where act finds what it would fetch."""
        found = {f"{TOOLKIT}@{self.at or self.commit}": self.tree}
        for name in pinned():
            folder = self.home / name.replace("/", "-")
            folder.mkdir(exist_ok=True)
            text = STANDS[name.partition("@")[0]]
            text = text.replace("THE_TOOLKIT", str(self.tree)).replace("THE_CALLER", str(where))
            (folder / "action.yml").write_text(text)
            found[name] = folder
        return found
