"""The stores that other tests lean on do what the real ones do: a precondition that fails writes nothing."""

import re
import urllib.request
from urllib.error import HTTPError

import pytest
from support.gcs_xml import xml_front


def put(url: str, data: bytes, method: str = "PUT", **headers: str) -> int:
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


def got(url: str, method: str = "GET", **headers: str) -> bytes:
    request = urllib.request.Request(url, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


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


def test_the_xml_interface_of_gcs_is_the_json_ones_in_another_form(gcs):
    bucket = gcs.create_bucket("xml")
    with xml_front(gcs.endpoint) as url:
        place = f"{url}/{bucket}"
        once = {"x-goog-if-generation-match": "0"}
        assert put(f"{place}/a%2Fx%20y", b"0123456789", **once) == 200
        assert put(f"{place}/a%2Fx%20y", b"other", **once) == 412
        copy = {"x-goog-copy-source": f"{bucket}/a%2Fx%20y"}
        assert put(f"{place}/a%2Fz", b"", **copy, **once) == 200
        assert put(f"{place}/a%2Fz", b"", **copy, **once) == 412
        assert got(f"{gcs.endpoint}/storage/v1/b/{bucket}/o/a%2Fz?alt=media") == b"0123456789"
        assert got(f"{place}/a%2Fx%20y", Range="bytes=2-4") == b"234"
        number = re.search("<UploadId>(.*)</UploadId>", got(f"{place}/big?uploads", "POST").decode())[1]
        for part in (2, 1):
            assert put(f"{place}/big?partNumber={part}&uploadId={number}", b"%d" % part) == 200
        parts = "".join(f"<Part><ETag>x</ETag><PartNumber>{part}</PartNumber></Part>" for part in (1, 2))
        done = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        assert put(f"{place}/big?uploadId={number}", done, "POST") == 200
        assert got(f"{place}/big") == b"12"
        listed = got(f"{place}?list-type=2&start-after=a%2Fx%20y").decode()
        assert re.findall("<Key>(.*?)</Key><Size>(.*?)</Size>", listed) == [("a/z", "10"), ("big", "2")]
        assert "<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>" in got(f"{place}?delimiter=%2F").decode()
        assert put(f"{place}/big", b"", "DELETE") in (200, 204)
        assert put(f"{place}/big", b"", "GET") == 404


@pytest.mark.java
def test_hdfs_answers(hdfs):
    assert hdfs.startswith("hdfs://127.0.0.1:")
