"""What runs inside a VM refuses what the definition did not pin. In a namespace: nothing of this machine changes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from packer import product
from packer.definition import PROVISION
from tests import sample
from tests.fakes.vendor import Vendor


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    made = Vendor(tmp_path_factory.mktemp("vendor"))
    yield made
    made.close()


def take(
    step: str, tables: dict[str, str], folder: Path, packer: str = "#!/bin/sh\nexit 1\n", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Take a step with these tables where /etc is a copy, without apt, and apt-get does nothing; then its check."""
    shutil.copytree(PROVISION, folder / "provision")
    for table, text in {"repositories.tsv": "", "downloads.tsv": "", "tools.tsv": "", "plugins.tsv": ""}.items():
        (folder / "provision" / table).write_text(tables.get(table, text))
    (folder / "bin").mkdir()
    for program, script in (("apt-get", "exit 0"), ("apt-mark", "exit 0"), ("dpkg-query", "echo ii")):
        (folder / "bin" / program).write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bin" / program).chmod(0o755)
    (folder / "bin/apt-cache").write_text("#!/bin/sh\necho ' answer | 5:1.2.3-1~vendor | http://x'\n")
    (folder / "bin/apt-cache").chmod(0o755)
    (folder / "bin/packer").write_text(packer)
    (folder / "bin/packer").chmod(0o755)
    # The tool of a package is not there: nothing was installed.
    scripts = [f"{step}.sh", *([f"{step}.check.sh"] if step != "packages" else [])]
    steps = " && ".join(f"sh ./{script}" for script in scripts)
    own = f'cp -r /etc "{folder}/etc" 2> /dev/null; mount --bind "{folder}/etc" /etc && mount -t tmpfs none /etc/apt'
    inside = f'{own} && cd "{folder}/provision" && {steps} && find /etc/apt -type f'
    return subprocess.run(
        ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount", "sh", "-c", inside],
        env={"PATH": f"{folder}/bin:{os.environ['PATH']}", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def repository(vendor: Vendor, fingerprint: str) -> dict[str, str]:
    url = f"http://127.0.0.1:{vendor.port}"
    return {"repositories.tsv": f"vendor\t{url}/apt/\t./\t-\t{url}/key.asc\t{fingerprint}\n"}


def download(vendor: Vendor, sha256: str) -> dict[str, str]:
    return {"downloads.tsv": f"http://127.0.0.1:{vendor.port}/file.bin\t{sha256}\t/etc/apt/deep/file.bin\n"}


class TestARepository:
    def test_is_added_with_the_key_that_is_pinned(self, vendor: Vendor, tmp_path: Path) -> None:
        ran = take("repositories", repository(vendor, vendor.fingerprint), tmp_path)
        assert ran.returncode == 0, ran.stderr
        assert "failed" not in ran.stdout and "ok repository-vendor: Signed-By: " in ran.stdout
        files = set(ran.stdout.split("no-key-for-all: none")[1].split())
        assert files == {"/etc/apt/keyrings/vendor.gpg", "/etc/apt/sources.list.d/vendor.sources"}

    def test_whose_key_is_another_one_is_refused(self, vendor: Vendor, tmp_path: Path) -> None:
        ran = take("repositories", repository(vendor, "0" * 40), tmp_path)
        assert ran.returncode == 1
        assert f"failed vendor: the key at http://127.0.0.1:{vendor.port}/key.asc is {vendor.fingerprint}" in ran.stdout


class TestADownload:
    def test_is_put_in_its_place(self, vendor: Vendor, tmp_path: Path) -> None:
        ran = take("downloads", download(vendor, vendor.sha256), tmp_path)
        assert ran.returncode == 0 and "/etc/apt/deep/file.bin" in ran.stdout, ran.stderr
        assert "ok file.bin: " in ran.stdout

    def test_with_another_checksum_is_refused(self, vendor: Vendor, tmp_path: Path) -> None:
        ran = take("downloads", download(vendor, "0" * 64), tmp_path)
        assert ran.returncode != 0 and "file.bin" not in ran.stdout.replace("work/file", "")


class TestAPackage:
    def test_of_a_version_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        ran = take("packages", {"tools.tsv": "answer\tvendor\tanswer\t1.2\tanswer\n"}, tmp_path)
        assert ran.returncode == 1 and "failed answer: vendor has no answer 1.2\n" in ran.stdout

    def test_of_the_version_that_is_pinned_is_found_through_its_packaging(self, tmp_path: Path) -> None:
        ran = take("packages", {"tools.tsv": "answer\tvendor\tanswer\t1.2.3\tanswer\n"}, tmp_path)
        assert ran.returncode == 0, ran.stdout


PACKER = """#!/bin/sh
[ "$PACKER_PLUGIN_PATH" = /opt/kontain/packer-plugins ] || exit 1
log=$(dirname "$0")/installed
case "$2" in
    install) n=${3##*/}; echo "$PACKER_PLUGIN_PATH/$3/packer-plugin-${n}_${4}_x5.0_linux_amd64" >> "$log" ;;
    installed) cat "$log" ;;
esac
"""


def test_nested_guests_on_azure_go_without_the_enlightened_vmcs(tmp_path: Path) -> None:
    for cloud, told in (("azure", "ok nested: options kvm_intel enlightened_vmcs=N"), ("aws", "")):
        ran = take("nested", {}, tmp_path / cloud, KM_CLOUD=cloud, KM_PHASE="build")
        assert ran.returncode == 0 and ran.stdout.strip() == told, ran.stderr


class TestAPlugin:
    def test_is_installed_for_everybody_in_its_version(self, tmp_path: Path) -> None:
        ran = take("plugins", {"plugins.tsv": "amazon\t1.8.2\nqemu\t1.1.4\n"}, tmp_path, packer=PACKER)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "ok plugins-for-all" in ran.stdout and "ok plugin-amazon: 1.8.2\nok plugin-qemu: 1.1.4\n" in ran.stdout

    def test_of_another_version_is_not_believed(self, tmp_path: Path) -> None:
        other = PACKER.replace("${4}", "v9.9.9")
        ran = take("plugins", {"plugins.tsv": "amazon\t1.8.2\n"}, tmp_path, packer=other)
        assert "failed plugin-amazon: no 1.8.2 among 1 plugins" in ran.stdout


def test_defect_31_azures_agent_forgets_the_vm_that_was_built_on_and_no_key_stays(tmp_path: Path) -> None:
    """By the lines of the script themselves: the whole of it would clean this machine."""
    lines = (PROVISION / "clean.sh").read_text().splitlines()
    (agent,) = [line for line in lines if "waagent" in line and not line.startswith("#")]
    (tmp_path / "waagent").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/told\n')
    (tmp_path / "waagent").chmod(0o755)
    for path, told in ((f"{tmp_path}:/usr/bin:/bin", "-force -deprovision\n"), ("/usr/bin:/bin", "")):
        (tmp_path / "told").write_text("")
        subprocess.run(["sh", "-euc", agent], env={"PATH": path}, check=True)
        assert (tmp_path / "told").read_text() == told
    # Its agent would take the builder with it: that one goes after it, as do all keys that let somebody in.
    gone = [number for number, line in enumerate(lines) if "userdel" in line or "authorized_keys" in line]
    assert len(gone) == 3 and min(gone) > lines.index(agent)


def test_no_script_trusts_a_key_for_everything_or_runs_what_it_fetches() -> None:
    for script in PROVISION.glob("*.sh"):
        text = script.read_text()
        assert "apt-key" not in text and "trusted.gpg.d" not in text, script
        assert not re.search(r"\|\s*(sudo\s+)?(ba)?sh\b(?!a)", text), script


class TestTheProduct:
    def test_that_is_another_one_than_was_looked_at_is_not_installed(self, tmp_path: Path) -> None:
        sample.product(tmp_path, installer=f"#!/bin/sh\ntouch {tmp_path}/installed\n")
        shutil.copy(PROVISION / "product.sh", tmp_path)
        (tmp_path / "product.sums").write_text(f"{'0' * 64}  kkm.run\n")
        ran = subprocess.run(["sh", "./product.sh"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode != 0 and "kkm.run: FAILED" in ran.stdout
        assert not (tmp_path / "installed").exists()

    def test_whose_module_can_not_be_installed_ends_the_build(self, tmp_path: Path) -> None:
        found = product.found(sample.product(tmp_path, installer="#!/bin/sh\necho no headers\nexit 3\n"))
        shutil.copy(PROVISION / "product.sh", tmp_path)
        (tmp_path / "product.sums").write_text("".join(f"{each}  {name}\n" for name, each in found.sums.items()))
        ran = subprocess.run(["sh", "./product.sh"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 3 and ran.stdout.endswith("no headers\n")
        assert (tmp_path / "kontain.tar.gz").exists(), "nothing was unpacked"
