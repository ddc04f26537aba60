"""A local server that stands for Tardis' datasets: it sends what a test tells it, damage included."""

from __future__ import annotations

import gzip
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["COLUMNS", "TardisServer", "day_csv"]

COLUMNS = {
    "incremental_book_L2": "is_snapshot,side,price,amount",
    "trades": "id,side,price,amount",
    "quotes": "ask_amount,ask_price,bid_price,bid_amount",
    "liquidations": "id,side,price,amount",
    "derivative_ticker": (
        "funding_timestamp,funding_rate,predicted_funding_rate,open_interest,last_price,index_price,mark_price"
    ),
}
_CELLS = {
    "incremental_book_L2": "false,bid,3200.5,1.25",
    "trades": "{id},buy,3200.51,0.3",
    "quotes": "2.5,3200.51,3200.5,1.25",
    "liquidations": ",sell,3190,0.8",
    "derivative_ticker": "1722499200000000,0.0001,,1500000,3200.5,3201.7,3200.9",
}
_FIRST_US = 1_722_470_400_123_456  # 2024-08-01


def day_csv(data_type: str, *, rows: int = 50, symbol: str = "ETHUSDT", first_us: int = _FIRST_US) -> bytes:
    """Unpacked content of a day's file of a USD-M future."""
    columns, cells = COLUMNS[data_type], _CELLS[data_type]
    lines = [f"exchange,symbol,timestamp,local_timestamp,{columns}"]
    lines += [
        f"binance-futures,{symbol},{first_us + i},{first_us + i},{cells.format(id=4711 + i)}" for i in range(rows)
    ]
    return ("\n".join(lines) + "\n").encode()


class TardisServer:
    """Use as a context manager; ``files`` maps a data type to (status, body) answers, of which the last one stays.

    ``hold`` (an Event) makes a body stop after its first half until it is set. ``promise`` adds to Content-Length.
    """

    def __init__(self, types: tuple[str, ...] = tuple(COLUMNS)) -> None:
        self.files: dict[str, list[tuple[int, bytes]]] = {t: [(200, gzip.compress(day_csv(t)))] for t in types}
        self.gets: Counter[str] = Counter()
        self.paths: list[str] = []
        self.keys: set[str | None] = set()
        self.hold: dict[str, threading.Event] = {}
        self.promise: dict[str, int] = {}
        self.halfway = threading.Event()

    def __enter__(self) -> TardisServer:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                outer.answer(self, body=False)

            def do_GET(self) -> None:
                outer.answer(self, body=True)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for event in self.hold.values():
            event.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/v1"

    def answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        path = request.path.partition("?")[0]
        data_type = path.split("/")[3]
        answers = self.files.get(data_type, [(404, b'{"code":404,"message":"no such data"}')])
        if body:
            self.gets[data_type] += 1
            self.paths.append(path)
            self.keys.add(request.headers.get("Authorization"))
        status, content = answers.pop(0) if body and len(answers) > 1 else answers[0]
        request.send_response(status)
        request.send_header("Content-Length", str(len(content) + self.promise.get(data_type, 0)))
        request.end_headers()
        if not body:
            return
        half = len(content) // 2
        try:
            request.wfile.write(content[:half])
            request.wfile.flush()
            if data_type in self.hold:
                self.halfway.set()
                self.hold[data_type].wait(30)
            request.wfile.write(content[half:])
        except ConnectionError:
            pass  # the client was killed
