"""The product's files are what they are called, or one line says what is wrong with which."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.errors import InputError
from packer import product
from tests import sample


def archive(*names: str, link: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as written:
        for name in names:
            member = tarfile.TarInfo(name)
            if link:
                member.type, member.linkname = tarfile.SYMTYPE, link
            written.addfile(member, io.BytesIO())
    return out.getvalue()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


ALL = tuple(sorted(product.INSIDE))

BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no archive": ("kontain.tar.gz", Path.unlink, "No such file or directory"),
    "no installer": ("kkm.run", Path.unlink, "No such file or directory"),
    "empty archive": ("kontain.tar.gz", lambda path: path.write_bytes(b""), ""),
    "not gzip": ("kontain.tar.gz", lambda path: path.write_bytes(b"PK\x03\x04 and so on"), "not a gzip file"),
    "cut off": ("kontain.tar.gz", lambda path: path.write_bytes(path.read_bytes()[:-200]), ""),
    "gzip of something else": ("kontain.tar.gz", lambda path: path.write_bytes(gzip.compress(b"text" * 999)), ""),
    "without krun": ("kontain.tar.gz", lambda path: path.write_bytes(archive(*ALL[:-1])), f"has no {ALL[-1]}"),
    "above the folder": ("kontain.tar.gz", lambda path: path.write_bytes(archive(*ALL, "../etc/passwd")), "outside"),
    "from the root": ("kontain.tar.gz", lambda path: path.write_bytes(archive(*ALL, "/etc/passwd")), "outside"),
    "no script": ("kkm.run", lambda path: path.write_bytes(b"\x7fELF"), "is no program that a shell runs"),
    "empty installer": ("kkm.run", lambda path: path.write_bytes(b""), "is no program that a shell runs"),
    "a folder": ("kkm.run", a_folder, "Is a directory"),
}


def test_the_product_is_found_with_the_checksum_of_each_file(tmp_path: Path) -> None:
    found = product.found(sample.product(tmp_path))
    assert found.folder == tmp_path
    for name in ("kontain.tar.gz", "kkm.run"):
        assert found.sums[name] == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()


@pytest.mark.parametrize("case", BAD)
def test_what_is_none_is_refused_in_one_line_with_the_file(case: str, tmp_path: Path) -> None:
    name, spoil, said = BAD[case]
    spoil(sample.product(tmp_path) / name)
    with pytest.raises(InputError) as refused:
        product.found(tmp_path)
    assert refused.value.message.startswith(f"the product's {tmp_path / name}: ") and said in refused.value.message
    assert refused.value.message.strip() != f"the product's {tmp_path / name}:"
    assert "--product" in refused.value.hint


@given(st.binary(max_size=200), st.integers(0, 600))
def test_no_bytes_are_a_traceback(tmp_path_factory: pytest.TempPathFactory, noise: bytes, place: int) -> None:
    folder = sample.product(tmp_path_factory.mktemp("product"))
    path = folder / "kontain.tar.gz"
    content = path.read_bytes()
    path.write_bytes(content[:place] + noise + content[place:])
    told = [""]
    try:
        product.found(folder)
    except InputError as refused:
        told = refused.message.splitlines()
    assert len(told) == 1


@pytest.mark.parametrize("folder", ["/nowhere", "{{ .Vars }}"])
def test_without_a_folder_that_can_be_used_there_is_no_product(folder: str) -> None:
    with pytest.raises(InputError):
        product.found(Path(folder))
