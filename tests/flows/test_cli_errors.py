"""Bad input to a command: one clear sentence, a non-zero exit, no traceback, nothing half-written."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys

import pytest

from feature_repo.build import build_features
from feature_repo.market.tape import write_stream
from flows.cli import main
from tests.feature_repo.small_tape import small
from tests.flows.conftest import ROOT
from tests.runtime.gate_builders import bundle_folder


def depth(u: int, local_ns: int, symbol: str = "ETHUSDT") -> str:
    ms = local_ns // 1_000_000
    data = {"e": "depthUpdate", "E": ms, "T": ms, "s": symbol, "U": u, "u": u, "pu": u - 1}
    data |= {"b": [["100.0", "1"]], "a": []}
    return f"{local_ns} " + json.dumps({"stream": f"{symbol.lower()}@depth@0ms", "data": data})


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run `ofi-meta` in a folder of its own; returns (exit code, what a person reads)."""
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["ofi-meta", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return left.value.code, said.out + said.err

    return call


def assert_refused(code: int, said: str, *names: str) -> None:
    assert code not in (0, None)
    assert "Traceback" not in said
    assert "error:" in said
    assert "Expected" in said
    for name in names:
        assert name in said, said


def left_over(tmp_path) -> list[str]:
    return sorted(str(p.relative_to(tmp_path)) for p in (tmp_path / "data").rglob("*") if p.is_file())


def test_a_missing_tape(run, tmp_path):
    code, said = run("features", str(tmp_path / "nowhere.gz"))
    assert_refused(code, said, "nowhere.gz", "does not exist")
    assert left_over(tmp_path) == []


def test_a_missing_tape_is_told_before_the_flow_starts(run, tmp_path):
    code, said = run("shadow", "--tape", str(tmp_path / "nowhere.gz"), "--out", str(tmp_path / "out"))
    assert_refused(code, said, "nowhere.gz", "does not exist", "Check TAPE")
    assert not (tmp_path / "out").exists()


def test_an_empty_file(run, tmp_path):
    (tmp_path / "empty.gz").write_bytes(b"")
    code, said = run("tape", "import", str(tmp_path / "empty.gz"))
    assert_refused(code, said, "empty.gz")
    assert left_over(tmp_path) == []


def test_a_truncated_gz(run, tmp_path):
    lines = "\n".join(depth(i, 1_700_000_000_000_000_000 + i * 1_000_000) for i in range(20_000))
    whole = gzip.compress(lines.encode())
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    code, said = run("tape", "import", str(tmp_path / "cut.gz"))
    assert_refused(code, said, "cut.gz")
    assert left_over(tmp_path) == []


def test_a_line_that_is_no_json(run, tmp_path):
    good = [depth(i, 1_700_000_000_000_000_000 + i * 1_000_000) for i in range(3)]
    (tmp_path / "odd.txt").write_text("\n".join([*good, "1700000000004000000 {nonsense"]))
    code, said = run("tape", "import", str(tmp_path / "odd.txt"))
    assert_refused(code, said, "odd.txt", "4")
    assert left_over(tmp_path) == []


def test_an_unknown_symbol(run, tmp_path):
    (tmp_path / "odd.txt").write_text(
        "\n".join(depth(i, 1_700_000_000_000_000_000 + i * 1_000_000, "NOSUCHUSDT") for i in range(3))
    )
    code, said = run("tape", "import", str(tmp_path / "odd.txt"))
    assert_refused(code, said, "NOSUCHUSDT", "instruments.json")
    assert left_over(tmp_path) == []


def test_a_binary_file(run, tmp_path):
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40)
    code, said = run("tape", "import", str(tmp_path / "picture.png"))
    assert_refused(code, said, "picture.png")


def test_a_parameter_out_of_range(run):
    code, said = run("shadow", "--t", "7")
    assert_refused(code, said, "--t")


def test_a_simulated_tape_of_two_lengths(run, tmp_path):
    code, said = run("tape", "simulate", "--hours", "0.1", "--days", "1")
    assert_refused(code, said, "--hours 0.1 and --days 1", "one of them")
    assert left_over(tmp_path) == []


def test_an_unknown_fee_tier(run):
    code, said = run("shadow", "--fee-tier", "free")
    assert_refused(code, said, "--fee-tier", "vip9")


@pytest.mark.slow
def test_a_parameter_of_the_night_out_of_range(run):
    code, said = run("nightly", "--folds", "50")
    assert_refused(code, said, "--folds 50. Expected less than or equal to 20. Give another value.")


@pytest.mark.parametrize("command", ["shadow", "nightly", "honesty"])
def test_a_file_where_the_reports_should_go_is_told_before_the_work(run, tmp_path, command):
    (tmp_path / "out").write_text("kept")
    code, said = run(command, "--out", str(tmp_path / "out"))
    assert_refused(code, said, "out is a file", "a folder")
    assert (tmp_path / "out").read_text() == "kept"


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("where", "arguments"),
    [
        ("flows.features.run", ("features", "any")),
        ("flows.steps.make_tape", ("tape", "simulate")),
        ("flows.release.show", ("release", "list")),
    ],
)
def test_ctrl_c_is_told_in_a_sentence(run, monkeypatch, where, arguments):
    monkeypatch.setattr(where, interrupted)
    code, said = run(*arguments)
    assert (code, said) == (130, "error: interrupted; outputs that were there before are as they were\n")


def test_a_flow_that_cannot_report_its_interruption_is_interrupted_all_the_same(run, monkeypatch):
    def lost(*_: object, **__: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise RuntimeError("no server to report to")  # noqa: B904  as Prefect leaves it

    monkeypatch.setattr("flows.features.run", lost)
    code, said = run("features", "any")
    assert (code, "Traceback" in said) == (130, False)
    assert "interrupted" in said


def test_any_other_error_is_not_hidden(run, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("flows.features.run", broken)
    monkeypatch.setattr(sys, "argv", ["ofi-meta", "features", "any"])
    with pytest.raises(RuntimeError, match="a bug"):
        main()


def test_a_folder_is_printed_as_it_is_named(run, tmp_path, monkeypatch):
    """For a shell: brackets in a name are no colours."""
    monkeypatch.setenv("OFI_META_DATA", str(tmp_path / "data [old]"))
    monkeypatch.setattr("flows.steps.make_tape", lambda *_, **__: tmp_path / "data [old]" / "tape")
    monkeypatch.setattr(sys, "argv", ["ofi-meta", "tape", "simulate"])
    monkeypatch.setattr(sys, "stdout", said := io.StringIO())
    with pytest.raises(SystemExit):
        main()
    assert said.getvalue() == f"{tmp_path}/data [old]/tape\n"


def test_infer_without_a_bundle(run, tmp_path):
    (tmp_path / "tape").mkdir()
    code, said = run("infer", str(tmp_path / "tape"))
    assert_refused(code, said, "tape")


def test_infer_with_a_bundle_for_another_symbol(run, tmp_path):
    tape = write_stream(small("BTCUSDT"), tmp_path / "tape")
    code, said = run("infer", str(tape), "--bundle", str(bundle_folder(tmp_path)))
    assert_refused(code, said, "a bundle for ETHUSDT-SIM on simulated and a tape of BTCUSDT on binance_usdm")


def test_label_with_the_features_of_another_symbol(run, tmp_path):
    tapes = [small(symbol) for symbol in ("BTCUSDT", "ETHUSDT")]
    features = build_features(tapes[0]).save(tmp_path / "features")
    tape = write_stream(tapes[1], tmp_path / "tape")
    code, said = run("label", str(tape), "--features", str(features))
    assert_refused(code, said, "features of BTCUSDT on binance_usdm beside a tape of ETHUSDT on binance_usdm")
    assert not (tmp_path / "data" / "labels").exists()


def test_rollback_without_history(run, tmp_path):
    (tmp_path / "releases").mkdir()
    code, said = run("release", "rollback")
    assert_refused(code, said, "nothing serves")


def test_promote_of_an_unknown_tag(run, tmp_path):
    (tmp_path / "releases").mkdir()
    code, said = run("release", "promote", "no-such-tag")
    assert_refused(code, said, "no-such-tag")
    assert not (tmp_path / "releases" / "current").exists()


def test_release_list_of_a_missing_folder(run):
    code, said = run("release", "list")
    assert_refused(code, said, "releases")


def test_release_list_of_a_folder_without_a_release(run, tmp_path):
    (tmp_path / "releases").mkdir()
    code, said = run("release", "list")
    assert_refused(code, said, "no bundle under releases", "ofi-meta shadow")


@pytest.mark.parametrize("command", ["tape", "features", "label", "train", "shadow", "infer", "release"])
def test_every_command_has_help(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ofi-meta", command, "--help"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    assert "--help" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "switch", "option"),
    [
        ("shadow", "ROLLING", "--rolling"),
        ("honesty", "SHORT", "--short"),
        ("fetch", "FORCE", "--force"),
        ("live", "IN_PROCESS", "--in-process"),
        ("nightly", "REHEARSAL", "--rehearsal"),
    ],
)
def test_a_switch_of_make_is_on_for_1_and_off_for_0(target, switch, option):
    def recipe(*given: str) -> str:
        return subprocess.run(
            ["make", "-n", target, *given], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout

    assert option in recipe(f"{switch}=1")
    for off in ((), (f"{switch}=",), (f"{switch}=0",)):
        assert option not in recipe(*off)
