"""A monitoring system reads the vitals as they are, and nothing that it does disturbs the process."""

from __future__ import annotations

import http.client
import json
import socket

import pytest
from prometheus_client.parser import text_string_to_metric_families

from feature_repo.errors import InputError
from runtime.candidate import SigType
from runtime.decision import Reason
from runtime.live.telemetry import Telemetry

from .test_vitals import NOW, SECOND, empty, running, troubled


def ask(telemetry: Telemetry, path: str, method: str = "GET") -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection(telemetry.host, telemetry.port, timeout=5)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode(), dict(response.getheaders())
    finally:
        connection.close()


def scraped(telemetry: Telemetry) -> dict[tuple[str, frozenset], float]:
    """Every sample by its name and labels."""
    status, text, headers = ask(telemetry, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    samples = {}
    for family in text_string_to_metric_families(text):
        assert family.name.startswith("ofi_meta_")
        assert family.documentation
        for sample in family.samples:
            key = sample.name.removeprefix("ofi_meta_"), frozenset(sample.labels.items())
            assert key not in samples
            samples[key] = sample.value
    return samples


def labels(**given: str) -> frozenset:
    return frozenset(given.items())


PLAIN = labels()


@pytest.fixture(scope="module")
def vitals():
    return running()


@pytest.fixture(scope="module")
def telemetry(vitals):
    with Telemetry(vitals, lambda: NOW + 12_500_000, port=0) as served:
        yield served


def test_the_metrics_are_the_vitals(vitals, telemetry):
    samples, view = scraped(telemetry), vitals.snapshot(NOW + 12_500_000)
    expected = {
        "healthy": 1,
        "reconnects_total": 1,
        "feed_age_seconds": 0.0125,
        "clock_offset_seconds": -0.00123,
        "book_valid": 1,
        "gaps_total": 2,
        "snapshots_total": 3,
        "snapshot_failures_total": 0,
        "windows_total": 2,
        "last_window_timestamp_seconds": NOW / 1e9,
        "recorded_lines_total": 123_456,
        "lost_lines_total": 0,
        "pushes_total": 1,
        "push_failures_total": 0,
        "push_duration_seconds": 0.00314,
        "state_saved_timestamp_seconds": NOW / 1e9 - 12,
        "p_ratio_count": view.p.count,
        "p_ratio_sum": view.p.sum,
    }
    assert {name: samples[name, PLAIN] for name in expected} == pytest.approx(expected)
    for kind, n in view.messages.items():
        assert samples["messages_total", labels(kind=kind)] == n
    for route in ("public", "market"):
        assert samples["connected", labels(route=route)] == 1
    for quantile, value in (("0.5", view.cost_share.p50), ("0.95", view.cost_share.p95), ("0.99", view.cost_share.p99)):
        assert samples["cost_share_ratio", labels(quantile=quantile)] == value
    for sig_type, x in view.e2e.items():
        mine = labels(sig_type=sig_type.name.lower())
        for quantile, ms in (("0.5", x.p50_ms), ("0.95", x.p95_ms), ("0.99", x.p99_ms)):
            assert samples["e2e_seconds", mine | labels(quantile=quantile)] == ms / 1e3
        assert samples["e2e_budget_seconds", mine] == x.budget_ms / 1e3
        assert samples["e2e_within_budget_ratio", mine] == x.within
        assert samples["e2e_sample_size", mine] == x.n == 8


def test_every_reason_is_there_from_the_start():
    vitals = empty()
    with Telemetry(vitals, lambda: NOW, port=0) as telemetry:
        samples = scraped(telemetry)
    decisions = {key[1]: n for key, n in samples.items() if key[0] == "decisions_total"}
    assert decisions == {labels(reason=reason.value): 0 for reason in Reason}
    unknown = {"feed_age_seconds", "clock_offset_seconds", "push_duration_seconds", "cost_share_ratio", "e2e_seconds"}
    assert not unknown & {name for name, _ in samples}  # what is not known is left out, not 0
    assert samples["healthy", PLAIN] == 0
    assert samples["e2e_budget_seconds", labels(sig_type="momentum")] == 0.015


def test_reasons_are_counted(vitals, telemetry):
    samples, view = scraped(telemetry), vitals.snapshot(NOW)
    assert {r: samples["decisions_total", labels(reason=r.value)] for r in Reason} == view.by_reason


def test_the_histogram_of_p_is_cumulative_and_whole(vitals, telemetry):
    samples, p = scraped(telemetry), vitals.snapshot(NOW).p
    buckets = {dict(key[1])["le"]: n for key, n in samples.items() if key[0] == "p_ratio_bucket"}
    assert len(buckets) == 21
    assert list(buckets.values()) == sorted(buckets.values())
    assert (buckets["0.05"], buckets["0.5"]) == (p.bins[0], sum(p.bins[:10]))
    assert buckets["1.0"] == buckets["+Inf"] == p.count == 20


def test_who_serves_is_told_by_an_info_metric(vitals, telemetry):
    info = next(dict(key[1]) for key in scraped(telemetry) if key[0] == "release_info")
    assert info == {
        "release": "eth-1",
        "symbol": "ETHUSDT",
        "venue": "binance_usdm",
        "profile": "B",
        "source": "online store",
        "replay": "false",
        "simulated": "false",
    }


def test_what_fails_is_told_apart():
    with Telemetry(troubled(), lambda: NOW, port=0) as telemetry:
        samples = scraped(telemetry)
    assert all(samples["error", labels(part=p)] == 1 for p in ("recorder", "online_store", "decision_log", "release"))
    assert samples["connected", labels(route="market")] == samples["book_valid", PLAIN] == 0
    assert samples["lost_lines_total", PLAIN] == 31


def test_a_scrape_reads_the_vitals_of_that_moment():
    vitals = running()
    with Telemetry(vitals, lambda: NOW, port=0) as telemetry:
        before = scraped(telemetry)["windows_total", PLAIN]
        vitals.window(NOW)
        assert scraped(telemetry)["windows_total", PLAIN] == before + 1


def test_healthz_follows_the_health():
    now, vitals = [NOW], running()
    with Telemetry(vitals, lambda: now[0], port=0) as telemetry:
        status, body, headers = ask(telemetry, "/healthz")
        assert (status, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
        assert json.loads(body) == {
            "healthy": True,
            "reasons": [],
            "symbol": "ETHUSDT",
            "release": "eth-1",
            "feed_age_ms": 0.0,
        }
        now[0] = NOW + 7 * SECOND
        status, body, _ = ask(telemetry, "/healthz")
        assert status == 503
        assert json.loads(body)["reasons"] == ["No message for 7 s."]
        vitals.feed(last_message_ns=now[0])
        vitals.released("")
        status, body, _ = ask(telemetry, "/healthz")
        assert (status, json.loads(body)["release"]) == (200, None)


def test_healthz_of_a_process_that_starts():
    with Telemetry(empty(), lambda: NOW, port=0) as telemetry:
        status, body, _ = ask(telemetry, "/healthz")
    answer = json.loads(body)
    assert (status, answer["healthy"], answer["feed_age_ms"]) == (503, False, None)
    assert all(reason.startswith("Starting: ") for reason in answer["reasons"])


@pytest.mark.parametrize("path", ["/", "/metrics/", "/metrics/../healthz", "/favicon.ico", "/%2e%2e/etc/passwd"])
def test_anything_else_is_404(telemetry, path):
    status, body, _ = ask(telemetry, path)
    assert (status, body) == (404, "Not here. There are /metrics and /healthz.\n")


def test_a_query_is_ignored(telemetry):
    assert ask(telemetry, "/healthz?x=1")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_only_reading_is_allowed(telemetry, method):
    status, _, headers = ask(telemetry, "/metrics", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(("path", "expected"), [("/metrics", 200), ("/healthz", 200), ("/nothing", 404)])
def test_head_is_get_without_the_body(telemetry, path, expected):
    status, body, headers = ask(telemetry, path, "HEAD")
    assert (status, body) == (expected, "")
    assert int(headers["Content-Length"]) == len(ask(telemetry, path)[1].encode())


@pytest.mark.parametrize("path", ["/metrics", "/healthz"])
def test_an_exception_inside_is_500_and_the_next_one_works(monkeypatch, capfd, path):
    vitals = running()
    with Telemetry(vitals, lambda: NOW, port=0) as telemetry:
        with monkeypatch.context() as broken:
            broken.setattr(vitals, "snapshot", lambda now_ns: 1 / 0)
            assert ask(telemetry, path)[:2] == (500, "ZeroDivisionError: division by zero\n")
        assert telemetry.last_error == "ZeroDivisionError: division by zero"
        assert ask(telemetry, path)[0] == 200
    assert capfd.readouterr() == ("", "")


def test_an_exception_in_the_middle_of_a_scrape_gives_no_half_of_it(monkeypatch):
    vitals = running()
    with Telemetry(vitals, lambda: NOW, port=0) as telemetry:
        vitals.pushed("fast")  # not a number: found out after half of the metrics
        status, body, _ = ask(telemetry, "/metrics")
        assert (status, body.count("\n")) == (500, 1)
        vitals.pushed(1.0)
        assert ask(telemetry, "/metrics")[0] == 200


def test_clients_that_talk_nonsense_or_hang_up_disturb_nobody(telemetry, capfd):
    for said in (b"", b"\r\n\r\n", b"\x16\x03\x01nonsense\r\n\r\n", b"GET /metrics HTTP/1.1\r\n"):
        with socket.create_connection((telemetry.host, telemetry.port), timeout=5) as client:
            client.sendall(said)
    silent = socket.create_connection((telemetry.host, telemetry.port), timeout=5)
    assert ask(telemetry, "/metrics")[0] == 200
    silent.close()
    assert capfd.readouterr().err == ""


def test_it_listens_on_this_machine_only(telemetry):
    assert telemetry.host == "127.0.0.1"
    assert telemetry.port > 0


def test_a_port_in_use_is_told_in_a_sentence(vitals, telemetry):
    with pytest.raises(InputError, match=rf"port {telemetry.port} of 127.0.0.1, where nothing can listen .* free port"):
        Telemetry(vitals, lambda: NOW, port=telemetry.port)
    assert ask(telemetry, "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", -1), ("127.0.0.1", 65_536), ("192.0.2.1", 0), ("no such host", 0)]
)
def test_where_nothing_can_listen(vitals, host, port):
    with pytest.raises(InputError, match="Expected "):
        Telemetry(vitals, lambda: NOW, host=host, port=port)


def test_a_closed_one_has_left_its_port(vitals):
    first = Telemetry(vitals, lambda: NOW, port=0)
    assert ask(first, "/healthz")[0] == 200
    first.close()
    first.close()
    with pytest.raises(OSError):
        ask(first, "/healthz")
    with Telemetry(vitals, lambda: NOW, port=first.port) as second:
        assert ask(second, "/healthz")[0] == 200


def test_two_processes_in_one_keep_their_metrics_apart(vitals, telemetry):
    with Telemetry(empty(), lambda: NOW, port=0) as other:
        assert scraped(other)["windows_total", PLAIN] == 0
        assert scraped(telemetry)["windows_total", PLAIN] == 2


def test_all_signal_types_have_a_budget(telemetry):
    samples = scraped(telemetry)
    assert all(("e2e_budget_seconds", labels(sig_type=t.name.lower())) in samples for t in SigType)
