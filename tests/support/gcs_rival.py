"""`gcs_xml` with another writer in it: when the first commit of a Delta table is to be written, one is there already.

Run as a program, as `gcs_xml` is.
"""

import sys

from support.gcs_xml import CONDITION, Front, Request

VERSION = "_delta_log/00000000000000000001.json"
COMMIT = b'{"commitInfo":{"timestamp":0,"operation":"WRITE","operationParameters":{}}}\n'


class BehindTheRival(Request):
    """The rival comes between the client's last look at the log and its own commit."""

    def do_PUT(self) -> None:
        if self.place[1].endswith(f"orders/{VERSION}") and self.headers.get(CONDITION) == "0":
            self.server.put(self.place, COMMIT, "0")
        super().do_PUT()


if __name__ == "__main__":
    Front(sys.argv[1], int(sys.argv[2]), BehindTheRival).serve_forever()
