"""What is drawn equals what was given: the figures' own bars, lines and patches, looked at before they are written."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_hex

from reports import pictures
from reports.buckets import bucket_rows
from reports.calibration_report import calibration_report
from reports.records import CalibrationInput
from reports.write import write_reports
from runtime.decision import Reason
from tests.reports import make, make_metrics
from tests.reports.drawn import lines, said

pytestmark = pytest.mark.slow  # matplotlib

HOUR_NS = 3600 * 1_000_000_000


def _curve(profile="B", model=True, tier="regular", hours=(1, 2, 4), cum=(5.0, 3.0, 9.0)):
    t = make_metrics.START + np.array(hours, np.int64) * HOUR_NS
    return SimpleNamespace(fee_tier=tier, profile=profile, model=model, t_ns=t, cum_bps=np.array(cum, float))


def _calibration():
    rng = np.random.default_rng(1)
    p = rng.random(600)
    return calibration_report(CalibrationInput(p, rng.random(600) < p, rng.integers(0, 5, 600)))


# --- calibration


def test_calibration_draws_the_bins_and_the_histogram():
    report = _calibration()
    top, bottom = pictures.calibration_figure(report).axes
    drawn = next(c for c in top.containers if c.get_label() == "bins, 95 %").lines[0].get_xydata()
    np.testing.assert_array_equal(drawn, [(b.p_mean, b.y_rate) for b in report.bins])
    assert [bar.get_height() for bar in bottom.patches] == list(report.histogram)


def test_calibration_without_a_model_says_why():
    report = calibration_report(CalibrationInput(np.array([]), np.array([]), np.array([]), "no model: 3 labels"))
    figure = pictures.calibration_figure(report)
    assert figure.axes == []
    assert said(figure) == "no model: 3 labels"


# --- equity


def test_equity_draws_each_curve_from_zero():
    curves = [_curve(), _curve(model=False, cum=(-1.0, -2.0, -3.0)), _curve(tier="vip9", cum=(6.0, 6.0, 7.0))]
    regular, vip9 = pictures.equity_figure(curves).axes
    model = lines(regular)["B model (n = 3)"]
    np.testing.assert_allclose(model.get_xydata(), [(0, 0), (0, 5), (1, 3), (3, 9)])
    none = lines(regular)["B no model (n = 3)"]
    np.testing.assert_allclose(none.get_ydata(), [0, -1, -2, -3])
    assert (model.get_linestyle(), none.get_linestyle()) == ("-", "--")
    np.testing.assert_allclose(lines(vip9)["B model (n = 3)"].get_ydata(), [0, 6, 6, 7])
    assert "vip9 fees, runner exit" in vip9.get_title(loc="left")


def test_the_six_arms_have_six_different_lines():
    curves = [_curve(p, m, cum=(i, i, i)) for i, (p, m) in enumerate((p, m) for p in "ABC" for m in (False, True))]
    (ax,) = pictures.equity_figure(curves).axes
    looks = {(line.get_color(), line.get_linestyle()) for name, line in lines(ax).items() if "model" in name}
    assert len(looks) == 6


def test_the_variant_is_drawn_only_where_it_differs():
    same = pictures.equity_figure([_curve("C"), _curve("C6")]).axes[0]
    assert "C6 model: as C" in lines(same)
    assert len(lines(same)["C6 model: as C"].get_xdata()) == 0
    other = pictures.equity_figure([_curve("C"), _curve("C6", cum=(5.0, 3.0, 8.0))]).axes[0]
    np.testing.assert_allclose(lines(other)["C6 model (n = 3)"].get_ydata(), [0, 5, 3, 8])


def test_an_arm_without_trades_is_named():
    (ax,) = pictures.equity_figure([_curve(), _curve("A", hours=(), cum=())]).axes
    assert len(lines(ax)["A model (no trades)"].get_xdata()) == 0


@pytest.mark.parametrize("curves", [[], [_curve(hours=(), cum=())]])
def test_equity_without_trades_is_a_sentence(curves):
    figure = pictures.equity_figure(curves)
    assert figure.axes == []
    assert said(figure) == "no trades: no equity curve"


# --- rejections


def test_rejections_are_the_rates_stacked_in_the_order_of_the_gate():
    metrics = make_metrics.metrics()
    (ax,) = pictures.rejection_figure(metrics).axes
    layers = {c.get_label(): c for c in ax.containers}
    assert list(layers) == ["spread", "depth", "reclaim", "slippage", "ev", "p below tau", "allowed"]
    order = [r.value for r in Reason]
    named = [name.replace(" ", "_") for name in layers if name != "allowed"]
    assert named == sorted(named, key=order.index)
    for i, arm in enumerate(metrics["matrix"]):
        at = 0.0
        for name, bars in layers.items():
            share = arm["allowed"] / arm["candidates"] if name == "allowed" else None
            want = arm["reason_rates"].get(name.replace(" ", "_"), 0.0) if share is None else share
            assert bars[i].get_width() == pytest.approx(want)
            assert bars[i].get_x() == pytest.approx(at)
            at += want
        assert at == pytest.approx(1.0)
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names[3] == "regular B model (n = 1,975)"
    assert len(names) == len(metrics["matrix"])


def test_reasons_that_share_a_colour_differ_in_their_hatch():
    every = [r.value for r in Reason if r is not Reason.ALLOW]
    arm = make_metrics.arm_dict()
    arm["reason_rates"] = dict.fromkeys(every, 1.0 / len(every))
    (ax,) = pictures.rejection_figure(make_metrics.metrics(arms=[arm])).axes
    looks = [(to_hex(c[0].get_facecolor()), c[0].get_hatch()) for c in ax.containers]
    assert len(set(looks)) == len(looks) == len(every) + 1


def test_rejections_of_nothing_are_a_sentence():
    assert "no candidates were judged" in said(pictures.rejection_figure(make_metrics.nothing_was_run()))


# --- latency


def test_latency_draws_shares_of_both_arms_of_profile_b_and_the_budgets():
    metrics = make_metrics.metrics()
    metrics["measured"]["latency"].append({**make_metrics.latency_dict(), "profile": "A"})
    (ax,) = pictures.latency_figure(metrics).axes
    assert [p.get_label() for p in ax.patches] == ["B no model (n = 1,803)", "B model (n = 1,803)"]
    for row, patch in zip(metrics["measured"]["latency"], ax.patches, strict=False):
        counts = np.array(row["histogram"]["counts"])
        values, edges, _ = patch.get_data()
        np.testing.assert_allclose(values, counts / counts.sum())
        np.testing.assert_allclose(edges, row["histogram"]["edges_ms"])
    assert [line.get_xdata()[0] for line in ax.lines] == [15.0, 30.0, 50.0]
    assert ax.get_xscale() == "log"
    assert "measured on this machine, not reproducible" in ax.get_title(loc="left")
    low, high = ax.get_xlim()
    assert 0.1 < low < 0.178, "the axis begins before the first bin that has a decision"
    assert high > 50.0


@pytest.mark.parametrize(
    "latency", [[], [{**make_metrics.latency_dict(), "histogram": {"edges_ms": [1, 2], "counts": [0]}}]]
)
def test_latency_that_was_not_measured_is_a_sentence(latency):
    metrics = make_metrics.metrics()
    metrics["measured"]["latency"] = latency
    figure = pictures.latency_figure(metrics)
    assert figure.axes == []
    assert "no end-to-end latency was measured" in said(figure)


# --- sensitivity


def test_sensitivity_draws_each_knob_with_its_band():
    metrics = make_metrics.metrics()
    tau, latency, fee, size = pictures.sensitivity_figure(metrics).axes
    want = [p for p in metrics["sensitivity"]["points"] if p["knob"] == "tau" and p["fee_tier"] == "vip9"]
    line = lines(tau)["vip9 B model"]
    np.testing.assert_allclose(line.get_xydata(), [(p["value"], p["net_bps"]["value"]) for p in want])
    band = tau.collections[1].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(min(p["net_bps"]["low"] for p in want))
    assert band[:, 1].max() == pytest.approx(max(p["net_bps"]["high"] for p in want))
    assert lines(fee)["B no model"].get_xdata().tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 7.5]
    assert (tau.get_xscale(), latency.get_xscale(), fee.get_xscale(), size.get_xscale()) == (
        "linear", "log", "linear", "log",
    )  # fmt: skip
    for ax in (tau, latency, fee, size):
        assert any(np.all(np.array(line.get_ydata()) == 0.0) for line in ax.lines), "no zero line"


def test_sensitivity_writes_the_trades_below_each_point():
    (tau, *_) = pictures.sensitivity_figure(make_metrics.metrics()).axes
    written = [t.get_text() for t in tau.texts]
    assert [w for w in written if w == "1,020"] == ["1,020"] * 2
    assert written.count("vip9") == 1


def test_sensitivity_marks_what_the_run_used():
    def marked(metrics):
        axes = pictures.sensitivity_figure(metrics).axes
        return [[line.get_xdata()[0] for line in ax.lines if line.get_label() == "_default"] for ax in axes[:4]]

    assert marked(make_metrics.metrics()) == [[0.314], [20.0], [5.0, 1.7], [10_000.0]]
    assert marked(make_metrics.metrics(training=None))[0] == [0.65]
    (_, _, fee, _) = pictures.sensitivity_figure(make_metrics.metrics()).axes
    assert {"regular", "vip9"} <= {t.get_text() for t in fee.texts}


def test_a_setting_without_a_number_stands_beside_the_curve():
    points = [make_metrics.point("latency_ms", v, net=3.0) for v in (1.0, 100.0)]
    points.append(make_metrics.point("latency_ms", None, net=7.0, label="tape's feed latency"))
    metrics = make_metrics.metrics(sensitivity={"note": "", "points": points})
    ax = pictures.sensitivity_figure(metrics).axes[1]
    star = lines(ax)["_tape's feed latency"]
    assert star.get_ydata() == [7.0]
    assert star.get_xdata()[0] > 100.0
    assert lines(ax)["regular B model"].get_xdata().tolist() == [1.0, 100.0]
    assert [t.get_text() for t in ax.get_xticklabels()][-1] == "tape's\nfeed\nlatency"


def test_a_knob_that_was_not_turned_says_so():
    points = [make_metrics.point("tau", 0.6, half=None), make_metrics.point("tau", 0.7, half=None)]
    figure = pictures.sensitivity_figure(make_metrics.metrics(sensitivity={"note": "", "points": points}))
    assert [t.get_text() for t in figure.axes[1].texts] == ["order latency, ms: not computed"]
    assert not figure.axes[1].axison
    assert figure.axes[0].axison


def test_points_without_a_trade_are_counted_and_not_drawn():
    points = [make_metrics.point("tau", 0.6), {**make_metrics.point("tau", 0.8, trades=0)}]
    points[1]["net_bps"] = {"value": None, "low": None, "high": None}
    ax = pictures.sensitivity_figure(make_metrics.metrics(sensitivity={"note": "", "points": points})).axes[0]
    assert lines(ax)["regular B model"].get_xdata().tolist() == [0.6]
    assert {"612", "0"} <= {t.get_text() for t in ax.texts}


def test_sensitivity_that_was_not_computed_is_a_sentence():
    figure = pictures.sensitivity_figure(make_metrics.without_new_sections())
    assert "sensitivity was not computed" in said(figure)


# --- buckets


def _cells(ax):
    """Cells by their lower left corner: colour, hatch."""
    return {
        (round(p.get_x(), 1), round(p.get_y(), 1)): (to_hex(p.get_facecolor()), p.get_hatch())
        for p in ax.patches
        if p.get_fill()
    }


def test_buckets_stand_at_their_place_with_ir_and_trades():
    low, high = ("low",) * 3, ("high",) * 3
    rows = [
        make_metrics.bucket("momentum", low, ir=-0.4, n=41),
        make_metrics.bucket("momentum", high, ir=0.4, n=42),
        make_metrics.bucket("reversion", high, "handover", ir=0.2, n=43),
    ]
    figure = pictures.bucket_figure(rows)
    ax = figure.axes[1]  # the model's
    assert [t.get_text() for t in ax.get_yticklabels()] == ["momentum, other", "reversion, handover"]
    cells = _cells(ax)
    assert set(cells) == {(0.0, 0.0), (27.0, 0.0), (27.0, 1.0)}
    written = [t.get_text() for t in ax.texts]
    assert {"-0.40", "41", "+0.40", "42", "+0.20", "43"} <= set(written)
    red, blue = (tuple(int(cells[at][0][i : i + 2], 16) for i in (1, 3, 5)) for at in ((0.0, 0.0), (27.0, 0.0)))
    assert red[0] > red[2]
    assert blue[2] > blue[0]


def test_the_colours_are_centred_on_zero():
    figure = pictures.bucket_figure([make_metrics.bucket(ir=0.5), make_metrics.bucket(states=("low",) * 3, ir=-0.1)])
    bar = figure.axes[-1]
    assert bar.get_ylim() == pytest.approx((-0.5, 0.5))


def test_few_trades_are_grey_and_hatched_whatever_their_ir():
    rows = [make_metrics.bucket(ir=9.0, n=29), make_metrics.bucket(states=("low",) * 3, ir=0.1, n=30)]
    figure = pictures.bucket_figure(rows)
    looks = list(_cells(figure.axes[1]).values())
    few = next(look for look in looks if look[1])
    assert few == ("#eceff2", "////")
    assert sum(look[1] is None for look in looks) == 1
    written = [t.get_text() for t in figure.axes[1].texts]
    assert "29" in written
    assert "+9.00" not in written
    assert figure.axes[-1].get_ylim()[1] == pytest.approx(0.1), "an IR of few trades must not set the colours"


def test_what_may_be_traded_on_its_own_evidence_is_framed():
    rows = [
        make_metrics.bucket(positive=True),
        make_metrics.bucket(states=("low",) * 3, positive=False),
        make_metrics.bucket(states=("high",) * 3, positive=True, n=12, judged_by="parent"),
    ]
    frames = [p for p in pictures.bucket_figure(rows).axes[1].patches if not p.get_fill()]
    assert len(frames) == 1


def test_parents_have_a_column_of_their_own():
    rows = [make_metrics.bucket(states=("all",) * 3), make_metrics.bucket(states=("low",) * 3)]
    assert set(_cells(pictures.bucket_figure(rows).axes[1])) == {(-1.5, 0.0), (0.0, 0.0)}


def test_one_fee_tier_is_shown():
    rows = [make_metrics.bucket(), make_metrics.bucket(fee_tier="vip9", ir=-0.3)]
    assert "regular fees" in said(pictures.bucket_figure(rows))
    other = said(pictures.bucket_figure(rows, "vip9"))
    assert "vip9 fees" in other
    assert "-0.30" in other


def test_an_arm_without_buckets_says_why_beside_one_that_has_some():
    rows = [
        make_metrics.bucket(),
        make_metrics.bucket(
            model=False, states=("all",) * 3, n=0, ir=np.nan, sig_type="all", session="all", note="N/A: no labels"
        ),
    ]
    none, model, *_ = pictures.bucket_figure(rows).axes
    assert [t.get_text() for t in none.texts] == ["B no model: N/A: no labels"]
    assert model.axison


def test_no_trades_at_all_are_a_sentence():
    nothing = bucket_rows(make.arm(make.decisions([Reason.EV]), 1.0), None, simulated=False)
    for rows in ([], nothing):
        figure = pictures.bucket_figure(rows)
        assert figure.axes == []
        assert said(figure) == "no trades: no buckets"


# --- files

METRICS_PICTURES = (
    pictures.draw_rejections, pictures.draw_latency, pictures.draw_sensitivity, pictures.draw_folds,
    pictures.draw_importance,
)  # fmt: skip
NAMES = (
    "equity", "rejections", "bucket_ir", "calibration", "folds", "importance", "sensitivity", "latency",
)  # fmt: skip
GIVEN_PICTURES = (
    (pictures.draw_equity, [_curve()]),
    (pictures.draw_buckets, [make_metrics.bucket()]),
    (pictures.draw_calibration, _calibration()),
)


def _write(draw, given, target, simulated):
    if draw in METRICS_PICTURES:
        return draw(make_metrics.metrics(simulated=simulated), target)
    return draw(given, target, simulated=simulated)


@pytest.mark.slow
@pytest.mark.parametrize(("draw", "given"), [*((d, None) for d in METRICS_PICTURES), *GIVEN_PICTURES])
def test_files_are_png_the_same_each_time_and_marked_when_simulated(draw, given, tmp_path):
    real = [_write(draw, given, tmp_path / f"{i}.png", False).read_bytes() for i in (0, 1)]
    assert real[0].startswith(b"\x89PNG")
    assert real[0] == real[1]
    assert _write(draw, given, tmp_path / "s.png", True).read_bytes() != real[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.png", "1.png", "s.png"]


def _report(metrics):
    return SimpleNamespace(
        metrics=metrics, buckets=(make_metrics.bucket(),), curves=(_curve(),), calibration=_calibration()
    )


@pytest.mark.slow
def test_a_report_writes_all_its_files(tmp_path):
    files = write_reports(_report(make_metrics.metrics()), tmp_path, releases=tmp_path / "releases")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in files.values())
    assert {name: path.name for name, path in files.items()} == {
        "metrics": "metrics.json", "buckets": "buckets.csv", "page": "index.html",
        **{n: f"{n}.png" for n in NAMES},
    }  # fmt: skip
    assert files["page"].read_text().count("data:image/png;base64,") == len(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("make_bare", [make_metrics.without_new_sections, make_metrics.nothing_was_run])
def test_a_report_with_empty_sections_writes_all_its_files(make_bare, tmp_path):
    assert len(write_reports(_report(make_bare()), tmp_path, releases=tmp_path / "releases")) == 3 + len(NAMES)


@pytest.mark.slow
def test_measured_times_reach_latency_the_page_and_the_metrics_only(tmp_path):
    slow = copy.deepcopy(make_metrics.without_new_sections())
    slow["measured"]["latency"] = [make_metrics.latency_dict(False)]
    one = write_reports(_report(make_metrics.without_new_sections()), tmp_path / "1", releases=tmp_path / "releases")
    two = write_reports(_report(slow), tmp_path / "2", releases=tmp_path / "releases")
    moved = {name for name in one if one[name].read_bytes() != two[name].read_bytes()}
    assert moved == {"metrics", "latency", "page"}
