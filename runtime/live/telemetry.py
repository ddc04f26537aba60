"""The vitals for a monitoring system: GET /metrics in Prometheus's text format, GET /healthz as JSON."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from socketserver import TCPServer
from typing import Any, Self
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.utils import floatToGoString

from feature_repo.errors import InputError

from .vitals import Vitals
from .vitals_view import P_EDGES, VitalsView

__all__ = ["Telemetry", "VitalsCollector"]

PREFIX = "ofi_meta_"
_JSON = "application/json; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"
_CLIENT_S = 10.0
"""A client that sends or reads nothing for so long is given up."""


class VitalsCollector:
    """Reads the vitals once for each scrape, so that all of its numbers are of one moment. Unknown values are left out.

    Durations are in seconds and shares are ratios, whatever the unit inside the process.
    """

    def __init__(self, vitals: Vitals, clock_ns: Callable[[], int]) -> None:
        self._vitals, self._clock_ns = vitals, clock_ns

    def collect(self) -> Iterable[Metric]:
        view = self._vitals.snapshot(self._clock_ns())
        yield from _process(view)
        yield from _feed(view)
        yield from _decisions(view)
        yield from _stores(view)


def _process(view: VitalsView) -> Iterable[Metric]:
    facts = {
        "release": view.release,
        "symbol": view.symbol,
        "venue": view.venue,
        "profile": view.profile,
        "source": view.source,
        "replay": str(view.replay).lower(),
        "simulated": str(view.simulated).lower(),
    }
    yield InfoMetricFamily(PREFIX + "release", "What serves; the release is empty where only the guards do", facts)
    yield _gauge("healthy", "1 while /healthz answers 200", view.health()[0])
    yield _gauges(
        "error",
        "1 while this part of the process fails",
        ("part",),
        {
            ("recorder",): view.recorder_error is not None,
            ("online_store",): view.push_error is not None,
            ("decision_log",): view.log_error is not None,
            ("release",): view.release_error is not None,
        },
    )


def _feed(view: VitalsView) -> Iterable[Metric]:
    yield _gauges("connected", "1 while the route is up", ("route",), {(r,): up for r, up in view.connected.items()})
    yield _counter("reconnects", "Connections made again", view.reconnects)
    messages = CounterMetricFamily(PREFIX + "messages", "Messages received", labels=("kind",))
    for kind, n in view.messages.items():
        messages.add_metric((kind,), n)
    yield messages
    yield _gauge("feed_age_seconds", "Since the last message of any kind", _seconds(view.feed_age_ms, 1e3))
    yield _gauge("clock_offset_seconds", "Correction of the local clock", _seconds(view.clock_offset_ns, 1e9))
    yield _gauge("book_valid", "1 while the book is valid", view.book_valid)
    yield _counter("gaps", "Gaps in the sequence of the book's updates", view.gaps)
    yield _counter("snapshots", "Snapshots of the book taken up", view.snapshots)
    yield _counter("snapshot_failures", "Snapshots of the book that failed", view.snapshot_failures)
    yield _counter("windows", "Windows of 100 ms that closed", view.windows)
    yield _gauge("last_window_timestamp_seconds", "End of the last window", _seconds(view.last_window_ns, 1e9))


def _decisions(view: VitalsView) -> Iterable[Metric]:
    decisions = CounterMetricFamily(
        PREFIX + "decisions", "Answers of the gate, by the first check that failed or allow", labels=("reason",)
    )
    for reason, n in view.by_reason.items():
        decisions.add_metric((reason.value,), n)
    yield decisions
    bounds = [*map(floatToGoString, P_EDGES[1:]), "+Inf"]
    counts = [*accumulate(view.p.bins), view.p.count]
    yield HistogramMetricFamily(
        PREFIX + "p_ratio", "Probability of the target barrier", list(zip(bounds, counts, strict=True)), view.p.sum
    )
    share = view.cost_share
    yield _gauges(
        "cost_share_ratio",
        "Fees and slippage over the expected reward, of the last 1,000 candidates",
        ("quantile",),
        {("0.5",): share.p50, ("0.95",): share.p95, ("0.99",): share.p99},
    )
    e2e = {sig_type.name.lower(): latency for sig_type, latency in view.e2e.items()}
    yield _gauges(
        "e2e_seconds",
        "From the event that closes the window to the decision in hand, of the last 1,000",
        ("sig_type", "quantile"),
        {
            (name, quantile): _seconds(ms, 1e3)
            for name, x in e2e.items()
            for quantile, ms in (("0.5", x.p50_ms), ("0.95", x.p95_ms), ("0.99", x.p99_ms))
        },
    )
    for name, about, values in (
        ("e2e_budget_seconds", "Largest e2e_seconds allowed", {n: x.budget_ms / 1e3 for n, x in e2e.items()}),
        ("e2e_within_budget_ratio", "Share of e2e_seconds in budget", {n: x.within for n, x in e2e.items()}),
        ("e2e_sample_size", "Decisions behind e2e_seconds", {n: x.n for n, x in e2e.items()}),
    ):
        yield _gauges(name, about, ("sig_type",), {(n,): v for n, v in values.items()})


def _stores(view: VitalsView) -> Iterable[Metric]:
    yield _counter("recorded_lines", "Lines written by the recorder", view.recorded_lines)
    yield _counter("lost_lines", "Lines that the recorder had to drop", view.lost_lines)
    yield _counter("pushes", "Windows pushed to the online store", view.pushes)
    yield _counter("push_failures", "Windows that did not reach the online store", view.push_failures)
    yield _gauge("push_duration_seconds", "Of the last push to the online store", _seconds(view.push_ms, 1e3))
    yield _gauge("state_saved_timestamp_seconds", "When the state was last saved", _seconds(view.saved_ns, 1e9))


def _seconds(value: float | None, a_second: float) -> float | None:
    return None if value is None else value / a_second


def _counter(name: str, about: str, value: int) -> Metric:
    return CounterMetricFamily(PREFIX + name, about, value)


def _gauge(name: str, about: str, value: float | None) -> Metric:
    return GaugeMetricFamily(PREFIX + name, about, value)


def _gauges(name: str, about: str, labels: tuple[str, ...], values: dict[tuple[str, ...], float | None]) -> Metric:
    metric = GaugeMetricFamily(PREFIX + name, about, labels=labels)
    for key, value in values.items():
        if value is not None:
            metric.add_metric(key, value)
    return metric


class Telemetry:
    """Serves the vitals over HTTP from a thread of its own, to this machine only unless told otherwise.

    /healthz answers 200 while the process is healthy and 503 while it is not, with the reasons. Nothing is written to
    stderr; ``last_error`` holds what the last answer of 500 was about.

    Parameters
    ----------
    clock_ns : now, on the clock of the times in the vitals
    host : address or name of the interface to listen on; there is no password, so choose well
    port : 0 takes any free one; ``port`` tells which

    Raises
    ------
    InputError
        When nothing can listen there.
    """

    def __init__(
        self, vitals: Vitals, clock_ns: Callable[[], int], *, host: str = "127.0.0.1", port: int = 9108
    ) -> None:
        if not 0 <= port <= 65_535:
            raise InputError(f"port {port}", "1 up to 65,535, or 0 for any free one", "Give another port")
        self.vitals, self.clock_ns = vitals, clock_ns
        self.last_error: str | None = None
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(VitalsCollector(vitals, clock_ns))
        try:
            self._server = _Server((host, port), self)
        except OSError as e:
            raise InputError(
                f"port {port} of {host}, where nothing can listen ({e.strerror or e})",
                "a free port above 1,023 and an address of this machine",
                "End what listens there, or give another port; 0 takes any free one",
            ) from e
        self.host, self.port = host, int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="telemetry", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; a second time does nothing."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def answer(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        """Status, content type and body for a path. Never raises."""
        try:
            if path == "/metrics":
                return HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self.registry)
            if path == "/healthz":
                return self._health()
        except Exception as e:  # told to the one who asked, and the next one may fare better
            self.last_error = f"{type(e).__name__}: {e}"
            return HTTPStatus.INTERNAL_SERVER_ERROR, _TEXT, f"{self.last_error}\n".encode()
        return HTTPStatus.NOT_FOUND, _TEXT, b"Not here. There are /metrics and /healthz.\n"

    def _health(self) -> tuple[HTTPStatus, str, bytes]:
        view = self.vitals.snapshot(self.clock_ns())
        healthy, reasons = view.health()
        body = {
            "healthy": healthy,
            "reasons": reasons,
            "symbol": view.symbol,
            "release": view.release or None,
            "feed_age_ms": view.feed_age_ms,
        }
        status = HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE
        return status, _JSON, json.dumps(body, allow_nan=False).encode() + b"\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], telemetry: Telemetry) -> None:
        self.telemetry = telemetry
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's would look its own name up, which may take seconds
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _CLIENT_S
    server_version, sys_version = "ofi-meta", ""

    def do_GET(self) -> None:
        self._send(*self.server.telemetry.answer(urlsplit(self.path).path))

    do_HEAD = do_GET

    def _refuse(self) -> None:
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"Only GET and HEAD.\n")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _send(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the screen belongs to the decisions."""
