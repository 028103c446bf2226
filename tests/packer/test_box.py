"""What a box is: its file, and what becomes of it before anything runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from cloud import connect, ssh
from cloud.errors import InputError, NotFound
from packer import box as definitions
from packer import boxes, product
from packer.render import render, ruby, write
from packer.shelf import Shelf
from tasks import _settings
from tests import sample
from tests.packer.test_definition import toml
from tests.packer.test_render import DATA, VARIABLES, packer
from tests.toolkit import ROOT

FOLDER = ROOT / "vagrant"
NAMES = {
    "debian": "kontain/debian-kkm-beta3",
    "fedora-43": "kontain/fedora43-kkm-beta3",
    "fedora-44": "kontain/fedora-kkm-beta3",
    "ubuntu-22.04": "kontain/ubuntu2204-kkm-beta3",
    "ubuntu-24.04": "kontain/ubuntu-kkm-beta3",
}
"""Those of the newest of each vendor are the tags that km's documentation tells people to take."""
SHIPPED = tuple(NAMES)
OF_A_VENDOR = SHIPPED[1:]
SUMS = {"kontain.tar.gz": "1" * 64, "kkm.run": "2" * 64}


def test_there_are_boxes_of_these_systems_and_the_settings_name_no_other() -> None:
    assert definitions.names(FOLDER) == sorted(SHIPPED)
    assert set(_settings.load({}).boxes.os) == set(OF_A_VENDOR)
    assert not list(FOLDER.rglob("*.py")), "they would stand in for the package python-vagrant"


def rendered(os: str, folder: Path) -> dict[str, bytes]:
    """All files of the box of that system, for the packer that is here."""
    source = connect("local", _settings.load({"KM_LOCAL__STORE": str(folder / "store")})).images.source()
    box = definitions.load(FOLDER, os)
    files = render(box.definition, "local", source, "1.6.6", SUMS)
    return {**files, **{path: text for each in definitions.PROVIDERS for path, text in recipe(box, each).items()}}


def recipe(box: definitions.Box, provider: definitions.Provider) -> dict[str, bytes]:
    return {f"{provider}/{path.removeprefix('box/')}": text for path, text in boxes._recipe(box, provider).items()}


@pytest.mark.parametrize("system", SHIPPED)
class TestABoxThatIsShipped:
    def test_is_rendered_as_it_was_looked_at(self, system: str, tmp_path: Path) -> None:
        """UPDATE_GOLDEN=1 writes it anew; the change is then read in git diff."""
        files = {path: text for path, text in rendered(system, tmp_path).items() if not path.endswith(".sh")}
        golden = DATA / "golden" / "boxes" / system
        if os.environ.get("UPDATE_GOLDEN") == "1":
            write(files, golden)
        assert files == {path: (golden / path).read_bytes() for path in files}

    def test_is_valid_for_the_real_packer(self, system: str, tmp_path: Path) -> None:
        write(rendered(system, tmp_path), tmp_path)
        (tmp_path / "seed").mkdir()
        for name in ("seed/user-data", "seed/meta-data", "record.json", "kontain.tar.gz", "kkm.run"):
            (tmp_path / name).touch()
        ssh.make_key(tmp_path / "key", "test")
        assert packer(tmp_path, "fmt", "-check", "-diff", "image.pkr.hcl").stdout == ""
        variables = {f"PKR_VAR_{key}": text for key, text in {**VARIABLES, "product": str(tmp_path)}.items()}
        judged = packer(tmp_path, "validate", "image.pkr.hcl", env=variables)
        assert judged.returncode == 0, judged.stdout

    def test_has_its_users_programs_and_the_public_name(self, system: str) -> None:
        box = definitions.load(FOLDER, system)
        assert box.name == NAMES[system]
        checks = " ".join(box.packages.values())
        assert all(f"{program} --version" in checks for program in ("docker", "podman", "gdb", "jq", "crun"))
        assert box.manager == ("dnf" if system.startswith("fedora") else "apt")


@pytest.mark.parametrize("system", OF_A_VENDOR)
def test_a_vendors_image_is_pinned_by_its_checksum(system: str) -> None:
    base = definitions.load(FOLDER, system).base
    assert re.fullmatch(r"[0-9a-f]{64}", base.sha256) and base.sums.startswith(base.url.rpartition("/")[0])


@pytest.mark.parametrize("system", OF_A_VENDOR)
def test_a_checksum_that_nobody_has_put_in_is_refused_with_the_way_to_it(system: str, tmp_path: Path) -> None:
    box = definitions.load(FOLDER, system)
    box = msgspec.structs.replace(box, base=msgspec.structs.replace(box.base, sha256=""))
    cloud = connect("local", _settings.load({"KM_LOCAL__STORE": str(tmp_path)}))
    brought = product.found(sample.product(tmp_path / "product"))
    with pytest.raises(InputError) as refused:
        boxes.plan(box, definitions.PROVIDERS, cloud, Shelf(tmp_path), brought, "1.6.6")
    assert refused.value.message == f"{system}: box.toml has no checksum of {box.base.url}"
    assert f"{system}/box.toml" in refused.value.hint and box.base.sums in refused.value.hint


GOOD: dict[str, Any] = {
    "name": "kontain/test",
    "description": "a test",
    "guest": "Debian_64",
    "manager": "apt",
    "base": {"url": "/base.qcow2", "sha256": "0" * 64},
    "packages": {"jq": "jq --version"},
}


def written(folder: Path, told: dict[str, Any]) -> Path:
    """A folder with one box, as it is told."""
    (folder / "one").mkdir(parents=True, exist_ok=True)
    (folder / "one/box.toml").write_text("".join(f"{key} = {toml(value)}\n" for key, value in told.items()), "utf-8")
    return folder


def one_line(error: InputError) -> None:
    assert error.message.startswith("one/box.toml: ") and len(error.message.splitlines()) == 1
    assert error.hint and error.exit_code == 2


whole = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=150)
@given(
    name=whole | st.just("kontain/test"),
    description=whole | st.just("a test"),
    guest=whole | st.just("Debian_64"),
    package=whole | st.just("jq"),
    check=whole | st.just("jq --version"),
    url=whole | st.just("/base.qcow2"),
)
@example("kontain/test\n", "a test", "Debian_64", "jq", "jq", "/base")
@example("kontain/test", "it's \\ #{x} <&>", "Debian_64", "jq", "$(id) `x` ü", "/base")
def test_texts_reach_every_file_as_they_are_or_are_refused_with_the_file(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    description: str,
    guest: str,
    package: str,
    check: str,
    url: str,
) -> None:
    folder = tmp_path_factory.mktemp("box")
    base = {"url": url, "sha256": "0" * 64}
    told = {
        **GOOD,
        "name": name,
        "description": description,
        "guest": guest,
        "packages": {package: check},
        "base": base,
    }
    written(folder, told)
    try:
        box = definitions.load(folder, "one")
    except InputError as error:
        one_line(error)
        return
    files = render(box.definition, "local", {"builder": "builder", "disk": 20}, "1.6.6", SUMS)
    assert files["provision/tools.tsv"].decode() == f"{package}\tapt\t{package}\t0\t{check}\n"
    assert (box.name, box.base.url) == (name, url)
    assert f"<ovf:Description>{guest}</ovf:Description>" in recipe(box, "virtualbox")["virtualbox/box.ovf"].decode()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "kontain"}, "name"),
        ({"name": "../test"}, "name"),
        ({"manager": "brew"}, "manager"),
        ({"disk": 1}, "disk"),
        ({"base": {}}, "either a url or packages"),
        ({"base": {"url": "/base", "packages": []}}, "either a url or packages"),
        ({"base": {"url": "ftp://vendor/base"}}, "url"),
        ({"base": {"url": "/base", "sha256": "abc"}}, "sha256"),
        ({"steps": ["nothing"]}, "the step 'nothing' has no nothing.sh"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_no_box_is_refused_with_its_place(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said) as refused:
        definitions.load(written(tmp_path, {**GOOD, **changed}), "one")
    one_line(refused.value)


def test_a_system_that_there_is_no_box_of_is_not_found(tmp_path: Path) -> None:
    for system in ("plan9", "", "../vagrant/debian", "one\n"):
        with pytest.raises(NotFound, match="no box of"):
            definitions.load(written(tmp_path, GOOD), system)


texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["'", "\\", "#{1}", "\\'"])


@settings(max_examples=4, phases=[Phase.generate])
@given(st.lists(texts, min_size=50))
def test_a_text_in_a_vagrantfile_is_that_text_to_ruby(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    script = tmp_path_factory.mktemp("ruby") / "texts.rb"
    texts = [text.replace("\r", "") for text in texts]  # Ruby reads a line end of Windows as one of its own
    literals = ", ".join(map(ruby, texts))
    script.write_text(f"require 'json'\nprint JSON.generate([{literals}])\n", "utf-8")
    told = subprocess.run(["ruby", "-E", "UTF-8", script], capture_output=True, check=True)
    assert json.loads(told.stdout) == texts


def test_the_shipped_files_say_nothing_that_the_struct_does_not_know() -> None:
    for system in SHIPPED:
        told = tomllib.loads((FOLDER / system / "box.toml").read_text())
        assert msgspec.convert(told, definitions.Box)
