"""The XML interface of Google Cloud Storage before fake-gcs-server, which has the JSON one: as object_store calls it.

Each request becomes one or two of the JSON interface, and conditions on generations go along: the server decides them
in the step that writes. The parts of an upload in parts wait here. What the client sends, and needs of the answers:
https://github.com/apache/arrow-rs-object-store/blob/main/src/gcp/client.rs
"""

import itertools
import json
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from support.kafka_broker import free_ports
from support.object_stores import Server, answers

GIVEN_BACK = ("Content-Range", "Content-Type", "ETag", "Last-Modified", "X-Goog-Generation")
CONDITION = "x-goog-if-generation-match"


@dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def missed(self) -> bool:
        return self.status >= 400


class Front(ThreadingHTTPServer):
    """`uploads` are the parts that wait, by the upload's id and their number."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, behind: str, port: int, handler: "type[Request] | None" = None) -> None:
        super().__init__(("127.0.0.1", port), handler or Request)
        self.behind = behind
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.ids = itertools.count(1)

    def ask(self, method: str, path: str, body: bytes | None = None, /, headers: Mapping[str, str] = {}, **query: str):
        """A request of the JSON interface."""
        url = f"{self.behind}{path}?{urlencode(query, quote_via=quote)}"
        request = urllib.request.Request(url, body, dict(headers), method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, answer.read(), dict(answer.headers))
        except HTTPError as error:
            with error:
                return Answer(error.code, error.read(), dict(error.headers))

    def put(self, place: tuple[str, str], body: bytes, condition: str | None) -> Answer:
        """Make the object, all of it at once."""
        more = {} if condition is None else {"ifGenerationMatch": condition}
        bucket, name = place
        done = self.ask("POST", f"/upload/storage/v1/b/{quote(bucket)}/o", body, uploadType="media", name=name, **more)
        if done.missed:
            return done
        made = json.loads(done.body)
        return Answer(200, headers={"ETag": f'"{made["etag"]}"', "X-Goog-Generation": made["generation"]})

    def get(self, place: tuple[str, str], headers: Mapping[str, str] = {}, method: str = "GET", **query: str) -> Answer:
        path = f"/download/storage/v1/b/{quote(place[0])}/o/{quote(place[1], safe='')}"
        return self.ask(method, path, headers=headers, **query)


class Request(BaseHTTPRequestHandler):
    server: Front
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if not self.place[1]:
            return self.answer(self.listed())
        headers = {"Range": self.headers["Range"]} if "Range" in self.headers else {}
        return self.answer(self.server.get(self.place, headers, self.command, **self.query))

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        condition = self.headers.get(CONDITION)
        if "uploadId" in self.query:
            return self.answer(self.part(body))
        if "x-goog-copy-source" in self.headers:
            bucket, _, name = self.headers["x-goog-copy-source"].lstrip("/").partition("/")
            source = self.server.get((unquote(bucket), unquote(name)))
            if source.missed:
                return self.answer(source)
            body = source.body
        return self.answer(self.server.put(self.place, body, condition))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "uploads" in self.query:
            bucket = self.server.ask("GET", f"/storage/v1/b/{quote(self.place[0])}")
            if bucket.missed:
                return self.answer(bucket)
            number = f"upload-{next(self.server.ids)}"
            self.server.uploads[number] = {}
            return self.answer(xml("InitiateMultipartUploadResult", f"<UploadId>{number}</UploadId>"))
        return self.answer(self.completed(body))

    def do_DELETE(self) -> None:
        if "uploadId" in self.query:
            self.server.uploads.pop(self.query["uploadId"], None)
            return self.answer(Answer(204))
        bucket, name = self.place
        return self.answer(self.server.ask("DELETE", f"/storage/v1/b/{quote(bucket)}/o/{quote(name, safe='')}"))

    def part(self, body: bytes) -> Answer:
        number = int(self.query["partNumber"])
        self.server.uploads[self.query["uploadId"]][number] = body
        return Answer(200, headers={"ETag": f'"part-{number}"'})

    def completed(self, body: bytes) -> Answer:
        """The object of the parts that the request names, in its order."""
        parts = self.server.uploads.pop(self.query["uploadId"])
        named = [int(part.findtext("PartNumber", "")) for part in ElementTree.fromstring(body).iter("Part")]
        done = self.server.put(self.place, b"".join(parts[number] for number in named), None)
        if done.missed:
            return done
        return xml("CompleteMultipartUploadResult", f"<ETag>{escape(done.headers['ETag'])}</ETag>", done.headers)

    def listed(self) -> Answer:
        names = {"prefix": "prefix", "delimiter": "delimiter", "continuation-token": "pageToken"}
        names |= {"max-keys": "maxResults", "start-after": "startOffset"}
        asked = {names[name]: value for name, value in self.query.items() if name in names}
        found = self.server.ask("GET", f"/storage/v1/b/{quote(self.place[0])}/o", **asked)
        if found.missed:
            return found
        answer = json.loads(found.body)
        # JSON lists from a name on, XML behind it.
        items = [item for item in answer.get("items", ()) if item["name"] != self.query.get("start-after")]
        lines = [
            f"<Contents><Key>{escape(item['name'])}</Key><Size>{item['size']}</Size><ETag>{escape(item['etag'])}</ETag>"
            f"<LastModified>{item['updated']}</LastModified></Contents>"
            for item in items
        ]
        for prefix in answer.get("prefixes", ()):
            lines.append(f"<CommonPrefixes><Prefix>{escape(prefix)}</Prefix></CommonPrefixes>")
        if "nextPageToken" in answer:
            lines.append(f"<NextContinuationToken>{escape(answer['nextPageToken'])}</NextContinuationToken>")
        return xml("ListBucketResult", "".join(lines))

    @property
    def place(self) -> tuple[str, str]:
        """Bucket and object."""
        bucket, _, name = urlsplit(self.path).path.lstrip("/").partition("/")
        return unquote(bucket), unquote(name)

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))

    def answer(self, found: Answer) -> None:
        self.send_response(found.status)
        headers = {name.lower(): value for name, value in found.headers.items()}
        for name in GIVEN_BACK:
            if name.lower() in headers:
                self.send_header(name, headers[name.lower()])
        length = headers["content-length"] if self.command == "HEAD" and not found.missed else str(len(found.body))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(found.body)

    def log_message(self, format: str, *arguments: object) -> None:
        return


def xml(root: str, inner: str, headers: Mapping[str, str] = {}) -> Answer:
    body = f"<?xml version='1.0' encoding='UTF-8'?><{root}>{inner}</{root}>".encode()
    return Answer(200, body, {**headers, "Content-Type": "application/xml"})


@contextmanager
def xml_front(behind: str, module: str = "support.gcs_xml") -> Iterator[str]:
    """The XML interface of the server at `behind`, as a URL.

    A process of its own: deltalake holds Python's lock while it waits for some answers.
    """
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = ["env", f"PYTHONPATH={Path(__file__).parents[1]}", sys.executable, "-m", module, behind, str(port)]
    with Server("gcs-xml", command, lambda _: answers(url)):
        yield url


if __name__ == "__main__":
    Front(sys.argv[1], int(sys.argv[2])).serve_forever()
