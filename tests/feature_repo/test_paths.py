"""Where data lives."""

from __future__ import annotations

import pytest

from feature_repo.errors import InputError
from feature_repo.paths import data_root


def test_a_folder_is_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OFI_META_DATA", "there")
    assert data_root() == tmp_path / "there"
    monkeypatch.delenv("OFI_META_DATA")
    assert data_root() == tmp_path / "data"
    monkeypatch.setenv("OFI_META_DATA", "")  # as a file of settings leaves it that only names it
    assert data_root() == tmp_path / "data"


@pytest.mark.parametrize("address", ["s3://bucket/data", "gs://bucket", "file:///data"])
def test_an_address_is_refused_instead_of_becoming_a_folder_of_that_name(monkeypatch, address):
    monkeypatch.setenv("OFI_META_DATA", address)
    with pytest.raises(InputError, match=r"Expected a folder\. Mount the store"):
        data_root()
