"""A file stops every gate that knows of it, within one decision."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from feature_repo.errors import InputError
from runtime import MetaFilter, Reason
from runtime.bundle import load_bundle
from runtime.kill_switch import KILL_NAME, KillSwitch

from .gate_builders import TS, bundle_folder, candidate, market_row, window


@pytest.fixture
def folder(tmp_path):
    return bundle_folder(tmp_path)


def answer(gate):
    return gate.decide(candidate(), TS, window(), market_row())


def test_it_denies_within_one_decision_and_lets_go_again(folder):
    gate, switch = MetaFilter.load(folder), folder.parent / KILL_NAME
    assert answer(gate).allow
    switch.touch()
    d = answer(gate)
    assert (d.allow, d.reason, d.size) == (False, Reason.KILL_SWITCH, 0.0)
    assert np.isnan(d.p)
    switch.unlink()
    assert answer(gate).allow


def test_it_comes_before_every_other_check(folder):
    gate = MetaFilter.load(folder)
    (folder.parent / KILL_NAME).touch()
    assert gate.decide(None, TS, None, None).reason is Reason.KILL_SWITCH


def test_a_gate_through_the_link_looks_beside_the_link(folder, tmp_path):
    link = tmp_path / "served" / "current"
    link.parent.mkdir()
    link.symlink_to(folder)
    gate = MetaFilter.load(link)
    (link.parent / KILL_NAME).touch()
    assert answer(gate).reason is Reason.KILL_SWITCH


def test_a_path_of_ones_own(folder, tmp_path):
    own = tmp_path / "stop"
    gate = MetaFilter.load(folder, kill_switch=own)
    (folder.parent / KILL_NAME).touch()
    assert answer(gate).allow
    own.mkdir()  # whatever it is
    assert answer(gate).reason is Reason.KILL_SWITCH


def test_a_relative_path_is_of_where_the_gate_was_made(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder.parent)
    gate = MetaFilter.load(folder.name)
    monkeypatch.chdir(tmp_path.parent)
    (folder.parent / KILL_NAME).touch()
    assert answer(gate).reason is Reason.KILL_SWITCH


def test_a_link_that_leads_nowhere_counts(tmp_path):
    switch = KillSwitch(tmp_path / "stop")
    (tmp_path / "stop").symlink_to(tmp_path / "nothing")
    assert switch.is_on()


def test_what_cannot_be_looked_for_counts(tmp_path):
    (tmp_path / "a").mkdir()
    switch = KillSwitch(tmp_path / "a" / "stop")
    assert not switch.is_on()
    shutil.rmtree(tmp_path / "a")
    assert switch.is_on()
    (tmp_path / "a").touch()  # no folder any more
    assert switch.is_on()


def test_a_folder_that_was_moved_away_or_made_anew(tmp_path):
    (tmp_path / "a").mkdir()
    switch = KillSwitch(tmp_path / "a" / "stop")
    assert not switch.is_on()
    (tmp_path / "a").rename(tmp_path / "b")
    assert switch.is_on()
    (tmp_path / "b" / "stop").touch()  # where nobody looks any more
    (tmp_path / "a").mkdir()
    assert not switch.is_on()
    (tmp_path / "a" / "stop").touch()
    assert switch.is_on()


def test_a_folder_behind_a_link(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    switch = KillSwitch(tmp_path / "link" / "stop")
    assert not switch.is_on()
    (tmp_path / "link").unlink()
    assert switch.is_on()
    (tmp_path / "b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "b")
    assert not switch.is_on()


@pytest.mark.parametrize("error", [PermissionError, NotADirectoryError, TimeoutError, OSError])
def test_whatever_else_keeps_it_from_looking_counts(tmp_path, monkeypatch, error):
    switch = KillSwitch(tmp_path / "stop")
    monkeypatch.setattr("os.lstat", lambda path: (_ for _ in ()).throw(error()))
    assert switch.is_on()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_folder_that_may_not_be_read_counts(tmp_path):
    (tmp_path / "a").mkdir()
    switch = KillSwitch(tmp_path / "a" / "stop")
    (tmp_path / "a").chmod(0)
    assert switch.is_on()


def test_a_switch_that_nobody_can_throw_is_refused(tmp_path, folder):
    with pytest.raises(InputError, match="folder that does not exist"):
        KillSwitch(tmp_path / "nowhere" / "KILL")
    with pytest.raises(InputError, match="folder that does not exist"):
        MetaFilter(load_bundle(folder), kill_switch=tmp_path / "nowhere" / "KILL")
