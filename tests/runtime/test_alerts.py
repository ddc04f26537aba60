"""An alert arrives or it does not; whatever the other side does, nothing comes out of it but yes or no."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from runtime import alerts
from runtime.alerts import WEBHOOK, send_alert


class Webhook(BaseHTTPRequestHandler):
    """Answers each request as the server's next plan says; keeps what came."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.came.append((self.path, self.headers["Content-Type"], body))
        plan = self.server.plan.pop(0) if self.server.plan else 200
        if plan == "close":
            self.close_connection = True
        elif plan == "hang":
            self.server.over.wait(20)
        elif plan == "drip":
            while not self.server.over.wait(0.05):  # never silent for long, and never done
                self.wfile.write(b"H")
        elif plan == "nonsense":
            self.wfile.write(b"\x00\x01 what?\r\n\r\n")
        else:
            self.send_response(plan)
            if plan in (302, 307):
                self.send_header("Location", "/elsewhere")
            self.end_headers()

    def do_GET(self):  # where a redirect that was followed would end
        self.server.came.append((self.path, None, b""))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def webhook(*plan):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    server.plan, server.came, server.over = list(plan), [], threading.Event()
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_port}/hook"
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()


def test_the_event_arrives_as_json():
    with webhook() as (server, url):
        assert send_alert({"event": "rollback", "serves": None, "simulated": True, "at_ns": 5}, url) is True
    ((path, kind, body),) = server.came
    assert (path, kind) == ("/hook", "application/json")
    assert json.loads(body) == {"event": "rollback", "serves": None, "simulated": True, "at_ns": 5}


def test_the_address_of_the_environment(monkeypatch):
    with webhook() as (server, url):
        monkeypatch.setenv(WEBHOOK, url)
        assert send_alert({"a": 1}) is True
        monkeypatch.delenv(WEBHOOK)
        assert send_alert({"a": 1}) is False
    assert len(server.came) == 1


@pytest.mark.slow
@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_2xx_is_taken(status):
    with webhook(status) as (server, url):
        assert send_alert({}, url) is True
    assert len(server.came) == 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", [500, 404, 302, 307, "close", "nonsense"])
def test_a_try_that_fails_is_repeated_twice(fault):
    with webhook(fault, fault, 200) as (server, url):
        assert send_alert({}, url) is True
        assert len(server.came) == 3
    with webhook(fault, fault, fault, 200) as (server, url):
        assert send_alert({}, url) is False
        assert [path for path, *_ in server.came] == ["/hook"] * 3  # and a redirect is not followed


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_who_does_not_answer_is_waited_for_three_times_and_no_longer(fault, monkeypatch):
    assert alerts._LIMIT_S == 5.0
    monkeypatch.setattr(alerts, "_LIMIT_S", 0.3)
    with webhook(fault, fault, fault) as (server, url):
        began = time.monotonic()
        assert send_alert({}, url) is False
        assert time.monotonic() - began < 15
        assert len(server.came) == 3


def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert send_alert({}, f"http://127.0.0.1:{port}/") is False


@pytest.mark.parametrize(
    "url", ["", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://", "//host/x", "http://[", "no address", 5, b"x"]
)
def test_no_address_for_an_alert(url, monkeypatch):
    posted = []
    monkeypatch.setattr("runtime.alerts._post", lambda *to: posted.append(to) or True)
    assert send_alert({}, url) is False
    assert not posted


class Odd:
    def __str__(self):
        raise RuntimeError("no text")


def test_what_json_does_not_know_is_told_as_text():
    with webhook() as (server, url):
        assert send_alert({"p": math.nan, "where": Path("a/b"), 5: [math.inf, (1, {2})], "d": {"x": b"y"}}, url)
        assert send_alert({"odd": Odd()}, url) is False
        assert send_alert(None, url) is True
    bodies = [json.loads(body) for *_, body in server.came]
    assert bodies == [{"p": None, "where": "a/b", "5": [None, [1, [2]]], "d": {"x": "b'y'"}}, None]
