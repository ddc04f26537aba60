"""Places where a tape cannot be written or read."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from feature_repo.errors import InputError
from feature_repo.market.tape import open_tape, write_stream

from .small_tape import small


def test_a_place_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "binance_usdm").write_text("a file")
    with pytest.raises(InputError, match="ETHUSDT cannot be written"):
        write_stream(small(), tmp_path)

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(InputError, match=r"ETHUSDT cannot be written \(No locks available\)"):
        write_stream(small(), tmp_path / "elsewhere")


def test_a_place_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    folder = write_stream(small(), tmp_path)

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "glob", refuse)  # root may read everything
    with pytest.raises(InputError, match=r"ETHUSDT cannot be read \(Permission denied\)\. .*Check its rights"):
        open_tape(folder)


def test_a_link_or_a_file_in_the_place_of_a_tape_is_left_alone(tmp_path):
    market = tmp_path / "binance_usdm"
    market.mkdir()
    (market / "ETHUSDT").symlink_to(tmp_path)
    (market / "BTCUSDT").write_text("mine")
    for name in ("ETHUSDT", "BTCUSDT"):
        with pytest.raises(InputError, match=f"{name} is no folder of its own"):
            write_stream(small(name), tmp_path)
    assert (market / "ETHUSDT").is_symlink()
    assert (market / "BTCUSDT").read_text() == "mine"
