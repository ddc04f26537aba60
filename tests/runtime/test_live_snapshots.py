"""Depth snapshots by REST: when one is asked for, what of its answer is taken, and where it comes among messages."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from runtime.live.inbox import Inbox
from runtime.live.snapshots import SENT_HEADER, STAMP_HEADER, Snapshots

from .test_live_parts import until


def test_what_was_asked_for_during_a_request_is_answered_by_it(monkeypatch):
    """A second answer would be newer than the messages that still wait, and turn the book ahead of them."""
    fetched = []

    def fetch(self):
        fetched.append(1)
        self.want(0)
        self._delivered_ns = self._inbox.put(b"snapshot")

    monkeypatch.setattr(Snapshots, "_fetch", fetch)
    snapshots = Snapshots("http://127.0.0.1:9", Inbox(lambda: 5), least_s=0.01)
    snapshots.want(0)
    assert until(lambda: fetched)
    snapshots.want(4)  # of a message before the answer
    time.sleep(0.2)
    assert len(fetched) == 1
    snapshots.want(5)
    assert until(lambda: len(fetched) == 2)
    snapshots.close()


def test_the_connection_ends_after_the_snapshot_is_taken():
    """A replay goes on at that end: a message that it then sends must find the snapshot before it."""
    inbox = Inbox(lambda: 5)
    slow = inbox.put
    inbox.put = lambda *message: (time.sleep(0.1), slow(*message))[1]
    assert answered(b'{"lastUpdateId": 1}' + b" " * 200_000, inbox) == 1


@pytest.mark.parametrize("body", [b'{"code":-1121,"msg":"Invalid symbol."}', b'["lastUpdateId"]', b"7"])
def test_an_answer_that_is_no_snapshot_is_told_and_not_taken(body):
    inbox, told = Inbox(lambda: 5), []
    assert answered(body, inbox, on_failure=told.append) == 0
    assert until(lambda: told)
    assert told[0] == f"no depth snapshot: the answer is no snapshot: {body!r}"


def test_a_server_that_is_not_there_is_asked_again():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = []
    snapshots = Snapshots(f"http://127.0.0.1:{port}/", Inbox(lambda: 5), on_failure=told.append, least_s=0.01)
    snapshots.want(0)
    assert until(lambda: len(told) >= 3)
    snapshots.close()


def test_a_snapshot_waits_for_the_messages_that_a_replay_sent_before_it():
    """They come by another connection; behind it, they would be taken for later ones."""
    inbox = Inbox(lambda: 5)
    late = threading.Timer(0.2, inbox.put, (b"message", 40))
    late.start()
    assert answered(b'{"lastUpdateId": 1}', inbox, {STAMP_HEADER: 50, SENT_HEADER: 40}) == 2
    late.join()
    assert [(message.local_ns, message.payload) for message in (inbox.pop(), inbox.pop())] == [
        (40, b"message"),
        (50, b'{"lastUpdateId": 1}'),
    ]


def test_a_snapshot_does_not_wait_for_ever_for_a_message_that_was_lost(monkeypatch):
    monkeypatch.setattr("runtime.live.snapshots._BEHIND_S", 0.05)
    assert answered(b'{"lastUpdateId": 1}', Inbox(lambda: 5), {STAMP_HEADER: 50, SENT_HEADER: 40}) == 1


def answered(body, inbox, headers=(), **options):
    """How many messages the inbox holds when the connection ends that brought this answer."""
    seen, sockets = [], socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = sockets.accept()
        connection.recv(1 << 16)
        told = {"Connection": "close", "Content-Length": len(body), **dict(headers)}
        head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        connection.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass
        seen.append(len(inbox))

    server = threading.Thread(target=serve)
    server.start()
    snapshots = Snapshots(f"http://127.0.0.1:{sockets.getsockname()[1]}/depth", inbox, **options)
    snapshots.want(0)
    server.join(10)
    snapshots.close()
    sockets.close()
    (n,) = seen
    return n
