"""Packer as a program: its version, its files, a build. What it says becomes our words.

Facts about packer's ways are from its sources and from runs of 1.6.6: the manifest is the only
account of artifacts that is neither scrubbed nor doubled, a build that makes nothing ends with
0, and a cancelled one with 1.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import platformdirs

from cloud import process, wait
from cloud.base import Artifact
from cloud.errors import CommandFailed, InputError, MissingTool, TemporaryError, TimedOut
from cloud.files import turn
from cloud.progress import Progress
from packer import render
from packer.errors import BuildFailed, Stalled
from packer.settings import PackerSettings

_VERSION = re.compile(r"^Packer v(\d+)\.(\d+)\.(\d+)")

_TEMPORARY = "tmp"
"""Packer's temporary files, in the folder where it runs: they go with it. The path is relative,
for packer puts sockets there and crashes when their path is longer than 107 bytes."""

# A check of ours that failed says more than packer's own last words, which are a summary.
_CHECK = re.compile(r"^failed (?P<name>[^:]+): ")
_ERROR = re.compile(r"^(Build '.*' errored[^:]*: |Error: |error: |\* )(?P<reason>.+)")
_PREFIX = re.compile(r"^(==> |--> )?\s*([\w-]+\.\w+: )?")
# What AWS's SDK for Go puts on a line of its own below each error.
_TAIL = re.compile(r"status code: \d+, request id: ")

_FETCH = 600.0
"""Seconds in which packer's plugins are fetched: a hundred MB each."""

_NETWORK = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_")
"""Variables, in either case of letters, by which a program in Go finds its way out and whom it believes."""

# Go's words for a network that is away; and those of GitHub, which serves strangers sixty times an hour.
_AWAY = (
    *("dial tcp", "no such host", "proxyconnect", "i/o timeout", "TLS handshake timeout", "connection reset"),
    *("connection refused", "unexpected EOF", "deadline exceeded", "Client.Timeout", "rate limit"),
)
_AGAIN = "look at the network, then again"


@dataclass(frozen=True)
class Packer:
    """The program that the settings name, of the version that it tells."""

    settings: PackerSettings
    version: tuple[int, int, int]

    @classmethod
    def found(cls, settings: PackerSettings) -> Packer:
        """Ask the program for its version. Fedora's `packer` is another program, which waits for input.

        Raises:
            MissingTool: it is not there, or is not packer.
        """
        try:
            told = process.run([settings.binary, "version"], env=_environment({}), timeout=30, check=False)
        except MissingTool:
            raise
        except Exception as problem:
            raise MissingTool(
                f"{settings.binary} does not tell its version", hint="set packer.binary to HashiCorp's packer"
            ) from problem
        for line in told.lines:
            if found := _VERSION.match(line):
                return cls(settings, (int(found[1]), int(found[2]), int(found[3])))
        raise MissingTool(f"{settings.binary} is not HashiCorp's packer", hint="set packer.binary")

    def suffices(self, cloud: str) -> None:
        """See to it that this packer can build on that cloud. On this machine every one can.

        Raises:
            MissingTool: it is older than packer.minimum.
        """
        if cloud != "local" and self.version < tuple(map(int, self.settings.minimum.split("."))):
            raise MissingTool(
                f"packer {self.version_text} is too old for {cloud}: packer.minimum is {self.settings.minimum}",
                hint="install HashiCorp's newer one, and set packer.binary to it",
            )

    @property
    def version_text(self) -> str:
        """Its version, as `1.6.6`."""
        return ".".join(map(str, self.version))

    def place(self, files: Mapping[str, bytes], folder: Path) -> None:
        """Write the rendered files, and the list of plugins where this packer knows such a thing."""
        render.write(files, folder)
        if self.version >= render.PLUGINS_SINCE:
            render.write({"plugins.pkr.hcl": render.plugins(self.settings.plugins)}, folder)

    def validate(self, folder: Path, variables: Mapping[str, str], progress: Progress) -> None:
        """Let packer judge the files that were placed there: their form and their meaning.

        Raises:
            InputError: it finds fault with them, or can't have the plugins that are set.
            TemporaryError: the network does not answer, from where plugins come.
        """
        self._init(folder, progress)
        told = {"record": str(folder / "image.pkr.hcl"), "manifest": str(folder / "manifest.json"), **variables}
        for words in (["fmt", "-check", "-diff", "image.pkr.hcl"], ["validate", *self._target()]):
            try:
                self._run(words, folder, told, progress, timeout=120)
            except CommandFailed as failure:
                raise InputError(
                    f"packer {words[0]} refuses image.pkr.hcl: {_reason(failure.output)}",
                    hint="packer's own words are in the log",
                ) from failure

    def build(
        self,
        folder: Path,
        variables: Mapping[str, str],
        progress: Progress,
        watch: Callable[[], None] = lambda: None,
        access: Mapping[str, str] | None = None,
        quiet: float = 0,
    ) -> Artifact:
        """Build, and return what packer made. `access` is of the environment: how it gets into a cloud.

        `quiet` are the seconds for which it has no word to say while its cloud makes an image
        (hashicorp/packer#10299: half an hour and more). What is set for silence, and for the whole, comes
        on top of them: packer has its own deadline there and is to be the one who tells that it is over.

        Raises:
            BuildFailed: it ended without an artifact.
            Stalled: its VM did not answer in time, or went silent.
            TimedOut: it was not done in time.
            InputError: it can't have the plugins that are set.
            TemporaryError: the network does not answer, from where plugins come.
        """
        self._init(folder, progress)
        manifest = folder / "manifest.json"
        silence = _Silence(self.settings.silence + quiet, progress)

        def watched() -> None:
            silence.look()
            watch()

        try:
            self._run(
                ["build", "-color=false", *self._target()],
                folder,
                {**variables, "manifest": str(manifest)},
                silence,
                timeout=self.settings.timeout + quiet,
                watch=watched,
                access=access or {},
            )
        except CommandFailed as failure:
            reason = _reason(failure.output)
            kind = Stalled if "Timeout waiting for SSH" in reason else BuildFailed
            raise kind(f"packer: {reason}", hint="the whole story is in the log") from failure
        return self._artifact(manifest)

    def _artifact(self, manifest: Path) -> Artifact:
        """The artifact of the last run that the manifest tells of: it may tell of earlier ones too."""
        try:
            told = json.loads(manifest.read_text())
            (build,) = (each for each in told["builds"] if each["packer_run_uuid"] == told["last_run_uuid"])
            files = tuple(manifest.parent / file["name"] for file in build["files"] or ())
            return Artifact(str(build["artifact_id"]), files)
        except (OSError, ValueError, TypeError, KeyError) as problem:
            raise BuildFailed("packer ended well but made nothing", hint="the log has its words") from problem

    def _init(self, folder: Path, progress: Progress) -> None:
        """Have it fetch its plugins. They are one folder of the user's, so that one fetches at a time."""
        if self.version < render.PLUGINS_SINCE:
            return
        place = platformdirs.user_cache_path("kontain")
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        network = {key: text for key, text in os.environ.items() if key.upper().startswith(_NETWORK)}

        def waiting() -> None:
            progress.line("waiting for another packer, which fetches plugins")

        try:
            with turn(place / "plugins.lock", what="plugins of packer", timeout=_FETCH, waiting=waiting):
                self._run(["init", "."], folder, {}, progress, timeout=_FETCH, access=network)
        except TimedOut as late:
            raise TemporaryError(f"packer's plugins do not come: {late}", hint=_AGAIN) from late
        except CommandFailed as failure:
            reason = _reason(failure.output)
            if any(sign in line for line in failure.output for sign in _AWAY):
                raise TemporaryError(f"packer's plugins can't be fetched: {reason}", hint=_AGAIN) from failure
            raise InputError(
                f"packer init: {reason}", hint="look at packer.plugins; packer's words are in the log"
            ) from failure

    def _target(self) -> list[str]:
        # 1.6.6 does not take a folder that holds other files.
        return ["."] if self.version >= render.PLUGINS_SINCE else ["image.pkr.hcl"]

    def _run(
        self,
        words: Sequence[str],
        folder: Path,
        variables: Mapping[str, str],
        progress: Progress,
        *,
        timeout: float,
        watch: Callable[[], None] = lambda: None,
        access: Mapping[str, str] | None = None,
    ) -> None:
        (folder / _TEMPORARY).mkdir(mode=0o700, exist_ok=True)
        process.run(
            [self.settings.binary, *words],
            cwd=folder,
            env={**(access or {}), **_environment(variables), "TMPDIR": _TEMPORARY, "PACKER_CACHE_DIR": _TEMPORARY},
            on_line=progress.line,
            watch=watch,
            timeout=timeout,
        )


class _Silence:
    """Passes on what packer says, and knows how long it has said nothing."""

    def __init__(self, limit: float, progress: Progress) -> None:
        self._limit = limit
        self._progress = progress
        self._last = wait.clock.monotonic()
        self.step, self.note = progress.step, progress.note

    def line(self, text: str) -> None:
        self._last = wait.clock.monotonic()
        self._progress.line(_PREFIX.sub("", text))

    def look(self) -> None:
        if wait.clock.monotonic() - self._last > self._limit:
            raise Stalled(
                f"packer's VM said nothing for {self._limit:.0f} s", hint="packer.silence sets how long it may"
            )


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Only what packer needs of ours. Variables go this way: arguments can be read by everybody."""
    wanted = ("PATH", "HOME", "LANG", "PACKER_LOG", "PACKER_LOG_PATH", "PACKER_PLUGIN_PATH", "PACKER_CONFIG_DIR")
    kept = {key: os.environ[key] for key in wanted if key in os.environ}
    for text in variables.values():
        render.readable(text)
    return {**kept, "CHECKPOINT_DISABLE": "1", **{f"PKR_VAR_{key}": text for key, text in variables.items()}}


def _reason(lines: Sequence[str]) -> str:
    """The line of packer's output that tells why: of a failed step its own last one."""
    told = (_PREFIX.sub("", line).strip() for line in lines)
    plain = [text for text in told if text and not _TAIL.match(text)]
    if checks := [line for line in plain if _CHECK.match(line)]:
        return "; ".join(checks)
    for before, line in pairwise(plain):
        if line.startswith("Provisioning step had errors"):
            return before
    errors = [found["reason"] for line in plain if (found := _ERROR.match(line))]
    return (errors or plain or ["no output"])[-1]
