"""What packer is given: the same each time, in its own form, with every value as it was."""

from __future__ import annotations

import json
import os
import subprocess
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hcl2
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from cloud import connect
from cloud.errors import InputError
from cloud.local.images import LocalImages
from cloud.local.store import Store
from packer import definition as definitions
from packer import driver
from packer.render import hcl, plugins, render, write
from tasks import _settings
from tests.packer.test_definition import is_one_line_with_the_file, toml

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
GOLDEN = DATA / "golden" / "local"
KEPT = (
    "image.pkr.hcl",
    "provision/image.env",
    "provision/tools.tsv",
    "provision/repositories.tsv",
    "provision/downloads.tsv",
    "provision/plugins.tsv",
)

VARIABLES = {
    "record": "record.json",
    "manifest": "manifest.json",
    "base": "base.qcow2",
    "key": "key",
    "seed": "seed",
    "output": "output",
    "console": "console.log",
    "accelerator": "tcg",
    "cpu": "qemu64",
    "cpus": "2",
    "memory": "2048",
    "ssh_timeout": "240s",
}


@pytest.fixture
def rendered(tmp_path: Path) -> dict[str, bytes]:
    """The files of L0BaseImage on this machine, with the project's own settings."""
    local = LocalImages(Store.at(str(tmp_path / "store")), _settings.load({}, tmp_path / "none").local)
    return render(definitions.load(definitions.DEFINITIONS / "l0base.toml"), "local", local.source(), "1.6.6")


def packer(folder: Path, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The real program."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "CHECKPOINT_DISABLE": "1", **(env or {})}
    return subprocess.run(
        ["packer", *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def read_back(folder: Path, terms: Sequence[str], text: str = "", env: dict[str, str] | None = None) -> list[str]:
    """What packer makes of the HCL terms, all in one run.

    Not by jsonencode: packer brings its result into normal form, where an escape's last letter and
    an accent become one.
    """
    between = "\x01between\x01"
    content = f'join("{between.replace(chr(1), chr(92) + "u0001")}", [{", ".join(terms)}])'
    source = f'source "file" "x" {{\n content = {content}\n target = "read"\n}}\n'
    (folder / "read.pkr.hcl").write_text(f'{text}{source}build {{\n sources = ["source.file.x"]\n}}\n', "utf-8")
    ended = packer(folder, "build", "-color=false", "read.pkr.hcl", env=env)
    assert ended.returncode == 0, f"{ended.stdout}\n{(folder / 'read.pkr.hcl').read_text('utf-8')}"
    return (folder / "read").read_bytes().decode().split(between)


def expressible(text: str) -> bool:
    """Whether packer has a way to say it: see `hcl`."""
    whole = not any(unicodedata.category(letter) == "Cs" for letter in text)
    return whole and "{{" not in text and unicodedata.normalize("NFC", text) == text


nasty = st.lists(
    st.sampled_from(["$", "{", "}", "%", "${", "%{", "$${", "%%{", "{{", "}}", "\\", '"', "\n", "\r", "\t", "\0"])
    | st.sampled_from(["~", "<<EOT\n", "#", "/*", "a", "é", "e\u0301", "😀", "\u2028", "\ufeff", "\x7f", "\u0300"]),
    max_size=8,
).map("".join)
texts = nasty | st.text(max_size=20)
many = st.lists(texts, min_size=60, max_size=60)


class TestTheFiles:
    def test_are_the_ones_that_were_looked_at(self, rendered: dict[str, bytes]) -> None:
        """UPDATE_GOLDEN=1 writes them anew; the change is then read in git diff."""
        if os.environ.get("UPDATE_GOLDEN") == "1":
            write({path: rendered[path] for path in KEPT}, GOLDEN)
        assert {path: rendered[path] for path in KEPT} == {path: (GOLDEN / path).read_bytes() for path in KEPT}

    def test_bring_every_script_and_its_check_and_nothing_else(self, rendered: dict[str, bytes]) -> None:
        steps = (*definitions.load(definitions.DEFINITIONS / "l0base.toml").steps, "clean")
        scripts = {f"{step}{end}" for step in steps for end in (".sh", ".check.sh")}
        scripts |= {"check.sh", "report.sh", "step.sh"}
        assert set(rendered) == set(KEPT) | {f"provision/{script}" for script in scripts}
        for script in scripts:
            assert rendered[f"provision/{script}"] == (definitions.PROVISION / script).read_bytes()

    def test_are_in_packers_own_form(self, rendered: dict[str, bytes], tmp_path: Path) -> None:
        write(rendered, tmp_path)
        ended = packer(tmp_path, "fmt", "-check", "-diff", "image.pkr.hcl")
        assert ended.returncode == 0, ended.stdout

    def test_are_valid_for_the_real_packer(self, rendered: dict[str, bytes], tmp_path: Path) -> None:
        write(rendered, tmp_path)
        (tmp_path / "seed").mkdir()
        for name in ("record.json", "base.qcow2", "key", "seed/user-data", "seed/meta-data"):
            (tmp_path / name).touch()
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "fresh")]
        subprocess.run(key, check=True)
        (tmp_path / "fresh").rename(tmp_path / "key")
        env = {f"PKR_VAR_{name}": text for name, text in VARIABLES.items()}
        ended = packer(tmp_path, "validate", "image.pkr.hcl", env=env)
        assert ended.returncode == 0, ended.stdout
        assert packer(tmp_path, "validate", "image.pkr.hcl").returncode != 0

    def test_are_read_by_a_shell_as_they_were_meant(self, rendered: dict[str, bytes], tmp_path: Path) -> None:
        write(rendered, tmp_path)
        script = '. ./image.env; echo "$KM_IMAGE|$KM_CLOUD|$KM_USER|$KM_BUILDER|$KM_STEPS"'
        words = ["sh", "-c", script]
        told = subprocess.run(words, cwd=tmp_path / "provision", capture_output=True, text=True, check=True)
        steps = " ".join(definitions.load(definitions.DEFINITIONS / "l0base.toml").steps)
        assert told.stdout == f"L0BaseImage|local|kontain|builder|{steps}\n"

    def test_name_packers_plugins_with_their_versions_in_a_file_of_their_own(self, tmp_path: Path) -> None:
        text = plugins({"qemu": "1.1.4", "amazon": "1.8.2"}).decode()
        (tmp_path / "plugins.pkr.hcl").write_text(text)
        assert packer(tmp_path, "fmt", "-check", "plugins.pkr.hcl").returncode == 0
        assert '"github.com/hashicorp/qemu"' in text and '"= 1.1.4"' in text and '"= 1.8.2"' in text


class TestAText:
    @settings(max_examples=6, phases=[Phase.generate])  # a smaller failure would take minutes of packer
    @given(many)
    def test_is_read_by_packer_exactly_as_it_was_or_refused(
        self, tmp_path_factory: pytest.TempPathFactory, values: list[str]
    ) -> None:
        values = [*values, "$${", "$$${x}", "%%%{", "\\u0041", '\\"', "\0\x1b\x7f", "${var.x}", "a\r\nb", "\n\u0303"]
        sent, terms = [], []
        for value in values:
            try:
                terms.append(hcl(value))
                sent.append(value)
            except InputError:
                assert not expressible(value)
        assert [value for value in values if expressible(value)] == sent
        assert read_back(tmp_path_factory.mktemp("hcl"), terms) == sent

    @settings(max_examples=6, phases=[Phase.generate])  # a smaller failure would take minutes of packer
    @given(many)
    def test_goes_through_a_variable_exactly_as_it_was(
        self, tmp_path_factory: pytest.TempPathFactory, values: list[str]
    ) -> None:
        paths = ['/a "b" c', "/a\\b", "/${x}", "/%{x}", "[1]", "null", "true", "007", "1e3", "", " x ", "<<E\nx\nE"]
        sent = [value for value in [*values, *paths] if expressible(value) and "\0" not in value]
        folder = tmp_path_factory.mktemp("variables")
        names = [f"v{number}" for number in range(len(sent))]
        text = "".join(f'variable "{name}" {{\n type = string\n}}\n' for name in names)
        env = driver._environment(dict(zip(names, sent, strict=True)))
        assert read_back(folder, [f"var.{name}" for name in names], text, env) == sent

    @pytest.mark.parametrize("value", ["a {{ .Vars }}", "e\u0301", "\ud800"])
    def test_that_packer_would_change_is_bad_input(self, value: str) -> None:
        with pytest.raises(InputError) as refused:
            hcl(value)
        assert refused.value.exit_code == 2

    @pytest.mark.parametrize("value", [True, None, 1.5, ["a"], b"a"])
    def test_is_not_made_of_anything_else(self, value: object) -> None:
        with pytest.raises(TypeError):
            hcl(value)

    @given(st.integers())
    def test_may_be_a_number(self, number: int) -> None:
        assert hcl(number) == str(number)


whole = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


class TestTheTextsOfADefinition:
    @settings(max_examples=150)
    @given(name=whole | st.just("Image"), user=whole | st.just("kontain"), tool=whole, check=whole, version=whole)
    @example(name="Image", user="kontain\n", tool="git", check="git --version", version="2")
    @example(name="Image", user="kontain", tool="git\n", check="git --version", version="2")
    @example(name="Image", user="kontain", tool="git", check="git --version\n", version="2")
    @example(name="Image", user="kontain", tool="git", check="git --version", version="2\n")
    @example(name="Image", user="kontain", tool="git", check="a\x00b", version="2")
    @example(name='I"$(id)`', user="$(id)", tool="$(id)", check="$(id)", version="")
    @example(name="Image", user="kontain", tool="git", check="$(id) `x` \\t | ; ü", version="")
    def test_reach_the_guest_as_they_are_or_are_refused_before_anything_is_touched(
        self, tmp_path_factory: pytest.TempPathFactory, name: str, user: str, tool: str, check: str, version: str
    ) -> None:
        folder = tmp_path_factory.mktemp("definition")
        told = {
            "name": name,
            "description": "a test",
            "user": user,
            "steps": ["packages"],
            "base": {"local": {"packages": []}},
            "tool": [{"name": tool, "source": "apt", "version": version, "check": check, "clouds": ["local"]}],
        }
        path = folder / "a.toml"
        path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in told.items()), "utf-8")
        try:
            files = render(definitions.load(path), "local", {"builder": "builder", "disk": 20}, "1.6.6")
        except InputError as error:
            is_one_line_with_the_file(error)
            return
        write(files, folder)
        script = '. ./image.env; printf "%s\\n" "$KM_IMAGE" "$KM_USER"; IFS="$(printf "\\t")"; '
        script += 'while read -r a b c d e; do printf "%s\\n" "$a" "$b" "$c" "$d" "$e"; done < tools.tsv'
        read = subprocess.run(["sh", "-c", script], cwd=folder / "provision", capture_output=True, check=True)
        assert read.stdout.decode().split("\n") == [name, user, tool, "apt", tool, version or "0", check, ""]


@pytest.fixture(params=["aws", "azure", "local"])
def current(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, bytes]]:
    """A cloud, and the files of L0BaseImage there for the packer that real clouds want."""
    told = _settings.load({"KM_LOCAL__STORE": str(tmp_path / "store")}, tmp_path / "none")
    source = connect(request.param, told).images.source()
    definition = definitions.load(definitions.DEFINITIONS / "l0base.toml")
    return request.param, render(definition, request.param, source, told.packer.minimum)


class TestForACurrentPacker:
    """Which is not run here: what it would read is looked at, and held against the options that it accepts."""

    def test_files_are_the_ones_that_were_looked_at(self, current: tuple[str, dict[str, bytes]]) -> None:
        cloud, files = current
        if os.environ.get("UPDATE_GOLDEN") == "1":
            write({path: files[path] for path in KEPT}, DATA / "golden" / cloud)
        assert {path: files[path] for path in KEPT} == {
            path: (DATA / "golden" / cloud / path).read_bytes() for path in KEPT
        }

    def test_every_option_is_one_that_its_builder_accepts(self, current: tuple[str, dict[str, bytes]]) -> None:
        _, files = current
        known = json.loads((DATA / "packer-options.json").read_text())["source"]
        read = hcl2.loads(files["image.pkr.hcl"].decode())
        (source,) = read["source"]
        ((builder, named),) = source.items()
        ((_, body),) = ((name, body) for name, body in named.items() if not name.startswith("__"))
        assert unknown_options(body, known[builder.strip('"')]) == []

    def test_a_release_ami_has_the_product_and_only_valid_options(self, tmp_path: Path) -> None:
        """Golden too: the AMI that others get."""
        told = _settings.load({}, tmp_path / "none")
        definition = definitions.load(ROOT / told.release.definition)
        sums = {"kontain.tar.gz": "0" * 64, "kkm.run": "1" * 64}
        files = render(definition, "aws", connect("aws", told).images.source(), told.packer.minimum, sums)
        kept = {path: files[path] for path in (*KEPT, "provision/product.sums")}
        if os.environ.get("UPDATE_GOLDEN") == "1":
            write(kept, DATA / "golden/release")
        assert kept == {path: (DATA / "golden/release" / path).read_bytes() for path in kept}
        text = files["image.pkr.hcl"].decode()
        steps = [text.index(f"step.sh {step}") for step in ("kernel", "docker", "user", "product", "record")]
        assert steps == sorted(steps) and 'destination = "/var/tmp/kontain/kkm.run"' in text
        body = hcl2.loads(text)["source"][0]['"amazon-ebs"']['"image"']
        assert (
            unknown_options(body, json.loads((DATA / "packer-options.json").read_text())["source"]["amazon-ebs"]) == []
        )

    def test_is_given_imdsv2_on_aws_and_an_older_one_is_not(self, tmp_path: Path) -> None:
        told = _settings.load({}, tmp_path / "none")
        definition = definitions.load(definitions.DEFINITIONS / "l0base.toml")
        source = connect("aws", told).images.source()
        for oldest, there in (("1.14.1", True), ("1.6.6", False)):
            text = render(definition, "aws", source, oldest)["image.pkr.hcl"].decode()
            assert ("imds_support" in text) is there and ("http_tokens" in text) is there

    def test_encrypts_the_disk_where_that_is_set(self, tmp_path: Path) -> None:
        told = _settings.load({"KM_AWS__ENCRYPTED": "true"}, tmp_path / "none")
        source = connect("aws", told).images.source()
        definition = definitions.load(definitions.DEFINITIONS / "l0base.toml")
        write(render(definition, "aws", source, "1.6.6"), tmp_path)
        assert "encrypted             = true" in (tmp_path / "image.pkr.hcl").read_text()
        assert packer(tmp_path, "fmt", "-check", "image.pkr.hcl").returncode == 0

    def test_is_given_trusted_launch_on_azure_where_that_is_set(self, tmp_path: Path) -> None:
        definition = definitions.load(definitions.DEFINITIONS / "l0base.toml")
        for variables, there, secure in (
            ({}, True, "false"),
            ({"KM_AZURE__SECURE_BOOT": "true"}, True, "true"),
            ({"KM_AZURE__SECURITY_TYPE": "Standard"}, False, ""),
        ):
            source = connect("azure", _settings.load(variables, tmp_path / "none")).images.source()
            text = render(definition, "azure", source, "1.14.1")["image.pkr.hcl"].decode()
            assert ('"TrustedLaunch"' in text) is there
            assert not there or f"secure_boot_enabled = {secure}\n" in text
            assert "managed_image_name" not in text

    def test_an_option_that_nobody_knows_would_be_found(self) -> None:
        known = {"a": {"kind": "attribute"}, "b": {"kind": "block", "attributes": {"c": {"kind": "attribute"}}}}
        assert unknown_options({"a": 1, "b": [{"c": 1, "d": 2}], "e": 3}, known) == ["b.d", "e"]


def unknown_options(body: dict[str, Any], known: dict[str, Any], within: str = "") -> list[str]:
    """The options that stand in a block and that its builder does not accept."""
    found: list[str] = []
    for name, value in body.items():
        if name.startswith("__"):
            continue
        if name not in known:
            found.append(within + name)
        elif known[name]["kind"] == "block" and known[name]["attributes"]:
            for block in value if isinstance(value, list) else [value]:
                found += unknown_options(block, known[name]["attributes"], f"{within}{name}.")
    return found
