"""The stores that other tests lean on do what the real ones do: a precondition that fails writes nothing."""

import urllib.request
from urllib.error import HTTPError

import pytest


def put(url: str, data: bytes, method: str = "PUT", **headers: str) -> int:
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


def test_s3_makes_an_object_once(s3):
    url = f"{s3.endpoint}/{s3.create_bucket('once')}/x"
    headers = {"If-None-Match": "*", "Authorization": f"AWS4-HMAC-SHA256 Credential={s3.key}/20260101/us-east-1/s3/x"}
    assert put(url, b"first", **headers) == 200
    assert put(url, b"second", **headers) == 412


def test_gcs_makes_an_object_once(gcs):
    bucket = gcs.create_bucket("once")
    url = f"{gcs.endpoint}/upload/storage/v1/b/{bucket}/o?uploadType=media&name=x&ifGenerationMatch=0"
    assert put(url, b"first", "POST") == 200
    assert put(url, b"second", "POST") == 412


@pytest.mark.java
def test_hdfs_answers(hdfs):
    assert hdfs.startswith("hdfs://127.0.0.1:")
