"""A new release is taken up without a restart; a bad one leaves the old one serving."""

from __future__ import annotations

import os
import threading
import time

import pytest

from feature_repo.errors import InputError
from runtime import Reason
from runtime.serving import ServedFilter

from .gate_builders import TS, bundle_folder, candidate, market_row, serve, window


@pytest.fixture
def releases(tmp_path):
    """Two releases whose P differs; the first is current."""
    bundle_folder(tmp_path, tag="one", bias=2.0)
    bundle_folder(tmp_path, tag="two", bias=3.0)
    serve(tmp_path, "one")
    return tmp_path


def p_of(gate):
    d = gate.decide(candidate(), TS, window(), market_row())
    assert d.reason is Reason.ALLOW
    return round(d.p, 3)


ONE, TWO = 0.881, 0.953


def test_a_new_release_is_taken_up_when_asked(releases):
    gate = ServedFilter(releases / "current")
    assert p_of(gate) == ONE
    assert gate.refresh() is False
    serve(releases, "two")
    assert p_of(gate) == ONE  # nothing happens behind a caller's back
    assert gate.refresh() is True
    assert (p_of(gate), gate.manifest.tag, gate.last_error) == (TWO, "two", None)


def test_and_by_itself_when_watched(releases):
    with ServedFilter(releases / "current", watch_s=0.01) as gate:
        serve(releases, "two")
        deadline = time.monotonic() + 20
        while gate.manifest.tag != "two":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert p_of(gate) == TWO
    serve(releases, "one")
    assert gate._thread is not None
    assert not gate._thread.is_alive()
    assert p_of(gate) == TWO


def test_one_that_was_written_again_under_its_name_is_taken_up(releases):
    gate = ServedFilter(releases / "one")
    bundle_folder(releases, tag="one", bias=3.0)
    assert gate.refresh() is True
    assert p_of(gate) == TWO


def damaged(releases):
    (releases / "two" / "model.onnx").write_bytes(b"no graph")


def cut(releases):
    manifest = releases / "two" / "manifest.json"
    manifest.write_text(manifest.read_text()[:100])


def gone(releases):
    os.unlink(releases / "current")


def nowhere(releases):
    os.unlink(releases / "current")
    (releases / "current").symlink_to(releases / "three")


@pytest.mark.parametrize("spoil", [damaged, cut, gone, nowhere])
def test_a_bad_one_leaves_the_old_one_serving(releases, spoil):
    gate = ServedFilter(releases / "current")
    serve(releases, "two")
    spoil(releases)
    assert gate.refresh() is False
    assert gate.last_error
    assert (p_of(gate), gate.manifest.tag) == (ONE, "one")
    (releases / "current").unlink(missing_ok=True)
    bundle_folder(releases, tag="three", bias=3.0)
    serve(releases, "three")
    assert gate.refresh() is True
    assert (p_of(gate), gate.last_error) == (TWO, None)


def test_one_for_other_windows_is_not_taken_up(releases):
    gate = ServedFilter(releases / "current")
    bundle_folder(releases, tag="short", T=32)
    serve(releases, "short")
    assert gate.refresh() is False
    assert "the release 'short' for" in gate.last_error
    assert "windows [32, 24]" in gate.last_error
    assert p_of(gate) == ONE


def test_a_bad_one_is_tried_once(releases, monkeypatch):
    gate = ServedFilter(releases / "current")
    serve(releases, "two")
    damaged(releases)
    tried = []
    monkeypatch.setattr("runtime.serving.MetaFilter.load", lambda *a, **kw: tried.append(a) or gate.gate)
    gate.refresh()
    gate.refresh()
    assert len(tried) == 1


def test_every_decision_is_made_by_one_release(releases):
    """Under a thread that swaps without a pause, P and size always belong to each other."""
    with ServedFilter(releases / "current", watch_s=0.001) as gate:
        stop = threading.Event()

        def swap():
            while not stop.is_set():
                for tag in ("two", "one"):
                    serve(releases, tag)

        thread = threading.Thread(target=swap)
        thread.start()
        try:
            seen = {gate.decide(candidate(), TS, window(), market_row()) for _ in range(3_000)}
        finally:
            stop.set()
            thread.join()
    assert all(d.reason is Reason.ALLOW for d in seen)
    assert {round(d.p, 3) for d in seen} <= {ONE, TWO}
    assert len(seen) <= 2


def test_there_has_to_be_one_to_begin_with(tmp_path):
    with pytest.raises(InputError, match=r"no bundle at .*current"):
        ServedFilter(tmp_path / "current")


@pytest.mark.parametrize("watch_s", [0.0, -1.0, float("nan"), float("inf")])
def test_watch_s_is_checked(releases, watch_s):
    with pytest.raises(InputError, match="watch_s"):
        ServedFilter(releases / "current", watch_s=watch_s)
