"""A catalog in a bucket of S3.

A large file goes in parts, and those that are there from an interrupted run are not sent again. The document is
written on condition that nobody else has written it meanwhile (If-Match and If-None-Match, "Conditional writes" in
S3's user guide).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError

from cloud import wait
from cloud.aws.session import AwsError, Session
from cloud.errors import InputError, Interrupted, TemporaryError
from cloud.publish.settings import PublishSettings
from cloud.publish.transfer import Pace

PART = 16 << 20
"""Bytes of a part. S3 takes 10,000 of them, so that a file may have 156 GiB."""

_GONE = ("NoSuchKey", "404", "NoSuchUpload")
_OTHERS = ("PreconditionFailed", "ConditionalRequestConflict")


class Bucket:
    """A bucket, or what begins with a prefix there. Who may read it is the bucket's policy."""

    def __init__(self, settings: PublishSettings) -> None:
        name, _, prefix = settings.catalog.removeprefix("s3://").partition("/")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name):
            raise InputError(f"{settings.catalog!r} is no bucket", hint="publish.catalog as s3://BUCKET/PREFIX")
        self._name = name
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._region = settings.region
        self._session = Session(settings.region, settings.stall)

    def check(self) -> None:
        """See that the bucket is there and ours to look into."""
        self._call("list_objects_v2", MaxKeys=1, Prefix=self._prefix)

    def keys(self, prefix: str) -> list[str]:
        """Every object that is complete; S3 shows no others."""
        return [str(row["Key"]).removeprefix(self._prefix) for row in self._objects(prefix)]

    def _objects(self, prefix: str) -> Iterator[dict[str, Any]]:
        more: dict[str, Any] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=self._prefix + prefix, **more)
            yield from page.get("Contents", [])
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def begin(self, key: str) -> None:
        """There is nothing to make, and no lock."""

    def put(self, key: str, file: Path, size: int, pace: Pace) -> None:
        """The file: at once where it is small, in parts else."""
        kind = {"ContentType": "application/octet-stream"}
        if size <= PART:
            self._call("put_object", Key=self._prefix + key, Body=file.read_bytes(), **kind)
            return
        upload = self._begun(key)
        there = self._parts(key, upload) if upload else {}
        if not upload:
            upload = self._call("create_multipart_upload", Key=self._prefix + key, **kind)["UploadId"]
        parts = []
        with open(file, "rb") as source:
            for number in range(1, -(-size // PART) + 1):
                if wait.interrupted():
                    raise Interrupted
                content = source.read(PART)
                if there.get(number) != (hashlib.md5(content, usedforsecurity=False).hexdigest(), len(content)):
                    told = self._call(
                        "upload_part", Key=self._prefix + key, UploadId=upload, PartNumber=number, Body=content
                    )
                    tag = told["ETag"]
                else:
                    tag = f'"{there[number][0]}"'
                parts.append({"ETag": tag, "PartNumber": number})
                pace.at(min(size, number * PART))
        try:
            self._call(
                "complete_multipart_upload",
                Key=self._prefix + key,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
            )
        except AwsError as problem:
            # It was completed, and the answer was lost. Whether it is whole, reading back tells.
            if problem.code != "NoSuchUpload" or key not in self.keys(key):
                raise

    def _begun(self, key: str) -> str:
        """The newest upload of that key that was not completed; empty when there is none."""
        found = self._call("list_multipart_uploads", Prefix=self._prefix + key).get("Uploads", [])
        mine = [each for each in found if each["Key"] == self._prefix + key]
        return str(max(mine, key=lambda each: each["Initiated"])["UploadId"]) if mine else ""

    def _parts(self, key: str, upload: str) -> dict[int, tuple[str, int]]:
        """The parts that are there: checksum and size of each."""
        found: dict[int, tuple[str, int]] = {}
        more: dict[str, Any] = {}
        while True:
            page = self._call("list_parts", Key=self._prefix + key, UploadId=upload, **more)
            for row in page.get("Parts", []):
                found[int(row["PartNumber"])] = (str(row["ETag"]).strip('"'), int(row["Size"]))
            if not page.get("IsTruncated"):
                return found
            more = {"PartNumberMarker": page["NextPartNumberMarker"]}

    def read(self, key: str) -> tuple[bytes, str] | None:
        """The document and its ETag."""
        try:
            told = self._call("get_object", Key=self._prefix + key)
        except AwsError as problem:
            if problem.code in _GONE:
                return None
            raise
        try:
            with told["Body"] as body:
                return body.read(), str(told["ETag"])
        except (BotoCoreError, OSError) as problem:
            raise TemporaryError(f"S3 does not answer: {type(problem).__name__}", hint="again later") from problem

    def write(self, key: str, content: bytes, mark: str) -> bool:
        """On condition that it is what it was."""
        condition = {"IfMatch": mark} if mark else {"IfNoneMatch": "*"}
        kind = {"ContentType": "application/json", "CacheControl": "no-cache"}
        try:
            self._call("put_object", Key=self._prefix + key, Body=content, **kind, **condition)
        except AwsError as problem:
            if problem.code in (*_OTHERS, *_GONE):
                return False
            raise
        return True

    def remove(self, prefix: str) -> None:
        """Every object that begins so, and what was begun of any."""
        for row in list(self._objects(prefix)):
            self._call("delete_object", Key=row["Key"])
        for row in self._call("list_multipart_uploads", Prefix=self._prefix + prefix).get("Uploads", []):
            self._call("abort_multipart_upload", Key=row["Key"], UploadId=row["UploadId"])

    def address(self) -> str:
        """The bucket's own."""
        return f"https://{self._name}.s3.{self._region}.amazonaws.com/{self._prefix}"

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return self._session.call("s3", operation, Bucket=self._name, **arguments)
