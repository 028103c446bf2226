"""S3 as a server: moto keeps the objects; faults and who may do what are added here.

A bucket is there whose objects all the world may read, as a catalog's must be. moto honours If-Match and If-None-Match
when an object is written, and knows uploads in parts. Who writes is our user; who has no key at all may read an object
and no more.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import boto3
import requests
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.fakes import ec2_rules

BUCKET, PREFIX, REGION = "kontain-boxes", "vagrant", "us-east-2"
USER, SECRET = "AKIAIOSFODNN7EXAMPLE", "canary-secret-of-a-bucket-77c0"  # it opens nothing but this

_REFUSED = {
    "busy": ("503 Slow Down", "SlowDown"),
    "broken": ("500 Internal Server Error", "InternalError"),
    "denied": ("403 Forbidden", "AccessDenied"),
}
KINDS = (*_REFUSED, "reset", "lost")
"""How a call may end: with an answer that is an error, or on a line that is cut before or after its work is done."""


class _Quiet(WSGIRequestHandler):
    """Writes no line for each call: they are in `calls`."""

    def log(self, type: str, message: str, *args: object) -> None:
        pass


@dataclass
class S3:
    """A bucket: `with S3() as s3`."""

    calls: list[str] = field(default_factory=list)
    """Method, path and query of every call."""
    after: Callable[[str], None] = lambda call: None
    """Called when a call's work is done, before it is answered."""

    def __enter__(self) -> S3:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._guard = threading.RLock()
        self._at = (0, "")
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=_Quiet)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.port}"
        requests.post(f"{self.url}/moto-api/reset", timeout=10)
        self.client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        everything = f"arn:aws:s3:::{BUCKET}/*"
        statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": everything}
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        self.client.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))
        self.calls.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()

    @cached_property
    def client(self) -> Any:
        """boto3's own client."""
        keys = {"aws_access_key_id": "AKIAADMINISTRATOR000", "aws_secret_access_key": "x"}
        return boto3.client("s3", region_name=REGION, endpoint_url=self.url, **keys)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of one who publishes here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": USER,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
            "KM_PUBLISH__TO": "catalog",
            "KM_PUBLISH__CATALOG": f"s3://{BUCKET}/{PREFIX}",
            "KM_PUBLISH__ADDRESS": f"{self.url}/{BUCKET}/{PREFIX}",
            "KM_PUBLISH__REGION": REGION,
        }

    def fails_at(self, number: int, kind: str) -> None:
        """Let the call of that number, counted from now on, end so; 0: none any more."""
        with self._guard:
            self._at = (len(self.calls) + number if number else 0, kind)

    def objects(self) -> dict[str, bytes]:
        """All that is in the bucket, by what follows the prefix."""
        kept = s3_backends["123456789012"]["aws"].buckets[BUCKET].keys
        return {str(key).removeprefix(f"{PREFIX}/"): bytes(kept[key].value) for key in list(kept)}

    def released(self, tag: str) -> dict[str, dict[str, str]]:
        """A box's released versions: each provider's checksum, where its file has it."""
        objects = self.objects()
        told = json.loads(objects.get(f"{tag}/catalog.json", b'{"versions": []}'))
        base = self.variables["KM_PUBLISH__ADDRESS"] + "/"
        return {
            row["version"]: {
                each["name"]: each["checksum"]
                for each in row["providers"]
                if hashlib.sha256(objects.get(each["url"].removeprefix(base), b"")).hexdigest() == each["checksum"]
            }
            for row in told["versions"]
        }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request (WSGI)."""
        who = environ.get("HTTP_AUTHORIZATION", "")
        call = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}"
        way = ""
        if "AKIAADMINISTRATOR" not in who and "moto-api" not in call:
            with self._guard:
                self.calls.append(call)
                way = self._at[1] if len(self.calls) == self._at[0] else ""
            if not who and environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
                way = "denied"
        if way in _REFUSED:
            status, code = _REFUSED[way]
            length = int(environ.get("CONTENT_LENGTH") or 0)
            environ["wsgi.input"].read(length)
            told = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(told)))])
            return [told]
        if way == "reset":
            ec2_rules.hang_up(environ)
        answer: Iterable[bytes] = self._moto(environ, start_response)
        self.after(call)
        if way == "lost":
            list(answer)
            ec2_rules.hang_up(environ)
        return answer
