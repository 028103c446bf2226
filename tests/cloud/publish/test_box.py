"""A box file is judged without being unpacked, in constant memory, whatever is in it."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud import wait
from cloud.errors import InputError, Interrupted
from cloud.publish import box
from tests.publishing import a_box, archive, sha256

METADATA = b'{"provider": "libvirt", "architecture": "arm64", "format": "qcow2", "virtual_size": 3}'


def test_a_box_tells_what_it_is(tmp_path: Path) -> None:
    path = a_box(tmp_path / "a.box", "virtualbox", "arm64", name="org/name")
    found = box.read(path)
    assert (found.provider, found.architecture, found.name) == ("virtualbox", "arm64", "org/name")
    assert (found.size, found.sha256) == (path.stat().st_size, sha256(path))


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_every_form_of_tar_will_do(tmp_path: Path, format: int) -> None:
    path = tmp_path / "a.box"
    long = "/".join(["folder" * 8] * 3) + "/a-file"
    with tarfile.open(path, "w:gz", format=format) as made:
        for name, content in ((".", None), ("./metadata.json", METADATA), (long, b"x" * 700), ("box.img", b"y")):
            member = tarfile.TarInfo(name)
            if content is None:
                member.type = tarfile.DIRTYPE
            member.size = len(content or b"")
            made.addfile(member, io.BytesIO(content or b""))
    assert box.read(path).architecture == "arm64"


def test_gzip_in_several_members_will_do(tmp_path: Path) -> None:
    """As parallel packers write it."""
    path = a_box(tmp_path / "a.box")
    whole = gzip.decompress(path.read_bytes())
    path.write_bytes(b"".join(gzip.compress(whole[at : at + 5000]) for at in range(0, len(whole), 5000)))
    assert box.read(path).provider == "libvirt"


def test_real_tars_will_do(tmp_path: Path) -> None:
    """GNU tar's own, with a sparse file, which has a header of another kind."""
    (tmp_path / "metadata.json").write_bytes(METADATA)
    with open(tmp_path / "box.img", "wb") as disk:
        for at in range(0, 100 << 20, 3 << 20):
            disk.seek(at)
            disk.write(b"data")
    for words in ("--sparse", "--sparse --format=posix", "--format=posix"):
        made = tmp_path / "made.box"
        argv: list[str | Path] = ["tar", *words.split(), "-C", tmp_path, "-czf", made, "metadata.json", "box.img"]
        subprocess.run(argv, check=True)
        assert box.read(made).architecture == "arm64"


def test_a_second_look_reads_nothing_unless_the_file_has_changed(tmp_path: Path) -> None:
    path = a_box(tmp_path / "a.box")
    heard: list[int] = []
    first = box.read(path, heard.append)
    assert heard
    heard.clear()
    assert box.read(path, heard.append) == first
    assert heard == []
    a_box(path)
    assert box.read(path, heard.append).sha256 == sha256(path) != first.sha256
    assert heard


def test_a_damaged_memory_of_it_is_none(tmp_path: Path) -> None:
    path = a_box(tmp_path / "a.box")
    first = box.read(path)
    for kept in (Path.home() / ".cache/kontain/boxes").iterdir():
        kept.write_text('{"sha256": 1}')
    assert box.read(path) == first


def test_what_other_rules_have_found_is_looked_for_again(tmp_path: Path) -> None:
    """A box that passed when less was asked of it does not pass for ever."""
    path = a_box(tmp_path / "a.box")
    box.read(path)
    (kept,) = (Path.home() / ".cache/kontain/boxes").iterdir()
    now = json.loads(kept.read_text())
    for changed in ({**now, "rules": now["rules"] - 1}, {key: now[key] for key in now if key != "rules"}):
        kept.write_text(json.dumps(changed))
        heard: list[int] = []
        box.read(path, heard.append)
        assert heard


def bombs(path: Path, kind: str) -> None:
    """A few kilobytes that would become gigabytes in the memory of who trusts their headers."""
    size = 2 << 30
    member = tarfile.TarInfo("metadata.json" if kind == "metadata" else "x")
    member.size = size
    if kind != "metadata":
        member.type = {"pax": tarfile.XHDTYPE, "global": tarfile.XGLTYPE, "long name": tarfile.GNUTYPE_LONGNAME}[kind]
    packer = zlib.compressobj(wbits=31)
    with open(path, "wb") as file:
        file.write(packer.compress(member.tobuf(tarfile.GNU_FORMAT)))
        file.writelines(packer.compress(bytes(1 << 20)) for _ in range(64))
        file.write(packer.flush())


@pytest.mark.parametrize("kind", ["metadata", "pax", "global", "long name"])
def test_what_would_fill_the_memory_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bomb.box"
    bombs(path, kind)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=str(2 << 30)):
            box.read(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_large_box_takes_no_more_memory_than_a_small_one(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.box", {"metadata.json": METADATA, "box.img": bytes(200 << 20)})
    tracemalloc.start()
    try:
        box.read(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["metadata.json", "box.img", "./box.img"])
def test_a_member_that_is_there_twice_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.box"
    with tarfile.open(path, "w:gz") as made:
        for each in ("metadata.json", "box.img", name):
            member = tarfile.TarInfo(each)
            member.size = len(METADATA)
            made.addfile(member, io.BytesIO(METADATA))
    with pytest.raises(InputError, match="twice"):
        box.read(path)


@pytest.mark.parametrize("record", [b"5 a=\n", b"99 path=x\n", b"x path=x\n", b"path", b"0 path=x\n", b"-5 path=x\n"])
def test_a_damaged_header_is_refused(tmp_path: Path, record: bytes) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, len(record)
    content = header.tobuf(tarfile.USTAR_FORMAT) + record + bytes(512 - len(record))
    content += tarfile.TarInfo("y").tobuf(tarfile.USTAR_FORMAT)
    (tmp_path / "a.box").write_bytes(gzip.compress(content))
    with pytest.raises(InputError, match="no box"):
        box.read(tmp_path / "a.box")


def test_a_folder_is_no_box(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Is a directory"):
        box.read(tmp_path)


def test_an_interrupt_ends_the_reading(tmp_path: Path) -> None:
    path = a_box(tmp_path / "a.box")
    wait.interrupt()
    with pytest.raises(Interrupted):
        box.read(path)


@given(st.binary(max_size=3000), st.booleans())
def test_any_bytes_are_a_box_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes, packed: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "any.box"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(InputError):
        box.read(path)


@given(st.integers(min_value=0), st.binary(min_size=1, max_size=4), st.integers(min_value=0))
def test_a_box_with_other_bytes_in_it_is_a_box_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, other: bytes, cut: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "changed.box"
    members = {"metadata.json": METADATA, "info.json": b'{"name": "org/box"}', "box.img": b"x" * 100}
    whole = bytearray(gzip.decompress(archive(path, members).read_bytes()))
    at %= len(whole)
    whole[at : at + len(other)] = other
    path.write_bytes(gzip.compress(bytes(whole[: cut % (2 * len(whole))])))
    try:
        found = box.read(path)
    except InputError:
        pass
    else:
        assert found.provider.isprintable() and found.sha256 == sha256(path)
