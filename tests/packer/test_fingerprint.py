"""The fingerprint: changed by all that a build reads, and by nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.base import Base
from packer import definition
from packer.fingerprint import fingerprint

ROOT = Path(__file__).resolve().parents[2]

# Prints the fingerprint of the tree that it runs in: as it is, then with each change alone.
SCRIPT = """
import json, sys
from pathlib import Path
from cloud.base import Base
from packer import definition
from packer.fingerprint import fingerprint
from packer.render import render

def mark(disk=20, builder="builder", base="debian-1", source=None):
    told = definition.load(Path("packer/definitions/l0base.toml"))
    files = render(told, "local", {"builder": builder, "disk": disk}, "1.6.6")
    return fingerprint(files, Base(base, source or {}))

found = {"": mark()}
for path in sys.argv[1:]:
    before = Path(path).read_bytes()
    Path(path).write_bytes(before + b"# changed\\n")
    found[path] = mark()
    Path(path).write_bytes(before)
if sys.argv[1:]:
    found |= {"disk": mark(disk=21), "builder": mark(builder="other"), "base": mark(base="debian-2")}
    found["again"] = mark()
    found["source"] = mark(source={"url": "http://another-mirror"})
print(json.dumps(found))
"""


def copy(folder: Path) -> Path:
    """The parts of the project that a build reads, elsewhere."""
    for part in ("packer", "cloud", "templates"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def marks(tree: Path, *changes: str, umask: int = 0o022, **environment: str) -> dict[str, str]:
    """The fingerprints that a fresh process finds in the tree."""
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, *changes],
        cwd=tree,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tree), **environment},
        umask=umask,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(ended.stdout))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy(tmp_path_factory.mktemp("tree"))


class TestTheFingerprint:
    def test_is_changed_by_everything_that_the_build_reads_and_by_each_thing_alone(self, tree: Path) -> None:
        steps = definition.load(definition.DEFINITIONS / "l0base.toml").steps
        scripts = [f"{step}{end}" for step in (*steps, "clean") for end in (".sh", ".check.sh")]
        harness = ["check.sh", "report.sh", "step.sh"]
        read = [f"packer/provision/{script}" for script in scripts + harness]
        read += ["templates/image.pkr.hcl.j2", "templates/source.local.pkr.hcl.j2"]
        found = marks(tree, *read)
        unchanged = found.pop("")
        assert found.pop("again") == found.pop("source") == unchanged
        assert len(found) == len(read) + 3
        assert len({unchanged, *found.values()}) == len(found) + 1

    def test_is_changed_by_what_the_definition_says_and_not_by_how(self, tmp_path: Path) -> None:
        tree = copy(tmp_path / "tree")
        file = tree / "packer/definitions/l0base.toml"
        text, before = file.read_text(), marks(tree)[""]
        for old, new in (
            ('user = "kontain"', 'user = "ann"'),
            ('name = "L0BaseImage"', 'name = "L1BaseImage"'),
            ('"docker", "user"', '"user", "docker"'),
            ('version = "2.30"', 'version = "2.31"'),
            ('check = "gcc --version"', 'check = "gcc --help"'),
        ):
            assert old in text
            file.write_text(text.replace(old, new))
            assert marks(tree)[""] != before, new
        file.write_text(f"# a remark\n{text}")
        assert marks(tree)[""] == before

    def test_is_not_changed_by_where_when_or_by_whom(self, tree: Path, tmp_path: Path) -> None:
        elsewhere = copy(tmp_path / "ein anderer Ort")
        subprocess.run(["git", "init", "-q"], cwd=elsewhere, check=True)
        for number, path in enumerate(sorted(elsewhere.rglob("*.*"))):
            os.utime(path, (number, 1e9 - number))
        (elsewhere / "packer/provision/.clean.sh.swp").touch()
        (elsewhere / "untracked").touch()
        found = {
            marks(tree)[""],
            marks(tree, TZ="Pacific/Kiritimati", LC_ALL="tr_TR.UTF-8", LANG="C")[""],
            marks(tree, PYTHONHASHSEED="1")[""],
            marks(tree, PYTHONHASHSEED="2", PYTHONUTF8="0", LC_ALL="C")[""],
            marks(elsewhere, HOME="/nowhere", USER="nobody", KM_LOCAL__CPUS="9", umask=0o077)[""],
        }
        assert len(found) == 1

    def test_is_that_of_a_fresh_clone(self, tmp_path: Path) -> None:
        """Files that git does not know, or knows with other line ends, would make it another one."""
        clone = copy(tmp_path / "clone")
        for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a", "commit", "-qm", "x"]):
            subprocess.run(["git", *words], cwd=clone, check=True)
        subprocess.run(["git", "clone", "-q", clone, tmp_path / "fresh"], check=True)
        assert marks(tmp_path / "fresh") == marks(clone)


files = st.dictionaries(st.text("ab/", max_size=3), st.binary(max_size=3), max_size=4)


@given(files, files, st.sampled_from(["x", "xa"]), st.sampled_from(["x", "xa"]))
def test_equal_fingerprints_mean_equal_files_and_bases(
    one: dict[str, bytes], other: dict[str, bytes], base: str, another: str
) -> None:
    same = (one, base) == (other, another)
    assert (fingerprint(one, Base(base, {})) == fingerprint(other, Base(another, {}))) == same


@given(st.data(), files)
def test_the_order_of_the_files_does_not_matter(data: st.DataObject, some: dict[str, bytes]) -> None:
    shuffled = dict(data.draw(st.permutations(list(some.items()))))
    assert fingerprint(shuffled, Base("x", {})) == fingerprint(some, Base("x", {"from": "elsewhere"}))
