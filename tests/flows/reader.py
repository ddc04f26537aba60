"""What a reader of the documents types, in the order of the README, and the tests that run what is not typed here."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ELSEWHERE", "READER", "Typed"]

TAPE, FEATURES = "data/tape/binance_usdm/ETHUSDT", "data/features/binance_usdm/ETHUSDT"
LABELS = "data/labels/binance_usdm/ETHUSDT.parquet"
SIM_TAPE, SIM_FEATURES = "$OFI_META_DATA/tape/simulated/ETHUSDT-SIM", "$OFI_META_DATA/features/simulated/ETHUSDT-SIM"
OF = "--symbol ETHUSDT --venue binance_usdm"


@dataclass(frozen=True)
class Typed:
    """What is typed here for commands of the documents, and what has to come of it.

    Attributes
    ----------
    typed : with values for the placeholders, and small
    told : as documents have it; empty where that is what is typed, None where no document has it
    said : part of what it prints
    leaves : a file that is there afterwards
    code : it ends with
    """

    typed: str
    told: tuple[str, ...] | None = ()
    said: str = ""
    leaves: str = ""
    code: int = 0


READER = [
    Typed("make help", said="experiment matrix"),
    # A recording of one's own, from the README's shadow run and night to a decision explained.
    Typed(
        "make shadow TAPE=raw FEE_TIER=regular",
        (
            "make shadow TAPE=data/raw/binance_usdm/ETHUSDT FEE_TIER=regular",
            "make shadow TAPE=path/to/recording OUT=out/mine FEE_TIER=vip9",
            "ofi-meta shadow --tape recording --fee-tier tier",
            "make shadow TAPE=",
        ),
        "too few",
        "reports/index.html",
    ),
    Typed(
        "make nightly SOURCE=raw DAYS=1 FEE_TIER=vip9 FOLDS=1",
        (
            "make nightly SOURCE=path/to/raw FEE_TIER=vip9",
            "make nightly SOURCE=data/live/binance_usdm/ETHUSDT/raw DAYS=30 FEE_TIER=vip9",
        ),
        "no release to compare with yet",  # minutes are too few to train on
        "reports/index.html",
    ),
    Typed(
        f"ofi-meta tape inspect recording.npz {OF} --plot raw.png",
        ("ofi-meta tape inspect data/raw/binance_usdm/ETHUSDT --plot day.png",),
        "ETHUSDT",
        "raw.png",
    ),
    Typed(
        f"ofi-meta tape import recording.npz {OF}",
        (
            "ofi-meta tape import path/to/recording",
            "ofi-meta tape import data/raw/binance_usdm/ETHUSDT",
            "ofi-meta tape import folder",
        ),
        TAPE,
        f"{TAPE}/2026-01-05.parquet",
    ),
    Typed(f"ofi-meta tape inspect {TAPE} --plot day.png", leaves="day.png"),
    Typed(f"ofi-meta tape inspect {TAPE}", ("ofi-meta tape inspect TAPE",), "ETHUSDT"),
    Typed(f"ofi-meta features {TAPE}", said=FEATURES),
    Typed(f"ofi-meta label {TAPE} --features {FEATURES}", said=LABELS, leaves=LABELS),
    Typed(
        f"ofi-meta train --features {FEATURES} --labels {LABELS} --bundle releases/mine --folds 1 --model logistic",
        (f"ofi-meta train --features {FEATURES} --labels {LABELS} --bundle releases/mine",),
        "releases/mine",
        "releases/mine/model.onnx",
    ),
    Typed(
        f"ofi-meta infer {TAPE} --bundle releases/mine --log decisions",
        (f"ofi-meta infer {TAPE} --bundle releases/mine --log decisions", "ofi-meta infer TAPE --log decisions"),
        "no order is placed",
    ),
    Typed("ofi-meta explain last --log decisions", said="bit for bit"),
    Typed(
        "ofi-meta explain DECISION --log decisions",
        ("ofi-meta explain ETHUSDT-1767571200000000000-buy-B --log decisions", "ofi-meta explain"),
        "bit for bit",
    ),
    # Its roll-out by hand, and back.
    Typed("ofi-meta release list", said="Nothing is served"),
    Typed(
        'ofi-meta release promote mine --why "a try"',  # trained by itself
        None,
        "trained without a shadow run",
        code=2,
    ),
    Typed(
        'ofi-meta release promote one --stage shadow --why "a try"',
        ("ofi-meta release promote tag --stage shadow --why ...", "ofi-meta release promote tag"),
        "no order is allowed",
        "releases/current/model.onnx",
    ),
    Typed(
        'ofi-meta release promote one --stage small_live --why "a try"',
        ("ofi-meta release promote tag --stage small_live --why ...",),
        "stage small_live",
    ),
    Typed(
        'ofi-meta release rollback --why "enough"',
        ("ofi-meta release rollback --why ...", "ofi-meta release rollback"),
        "current -> one.shadow",
    ),
    # What a symbol-day costs, on a shorter one.
    Typed(
        "ofi-meta tape simulate --hours 0.2 --rate 50",
        ("ofi-meta tape simulate --hours 24 --rate 1000",),
        "data/tape/simulated/ETHUSDT-SIM",
    ),
    Typed(f"ofi-meta features {SIM_TAPE}", said="data/features/simulated/ETHUSDT-SIM"),
    Typed(
        f"ofi-meta label {SIM_TAPE} --features {SIM_FEATURES} --max-candidates 500000",
        said="data/labels/simulated/ETHUSDT-SIM.parquet",
    ),
]

ELSEWHERE = {
    ".ci/run": ("make setup", "make test", "make lint", "make test-long"),
    "tests/flows/test_shadow_flow.py::test_every_named_output_is_there": (
        "make shadow",
        "make shadow HOURS=168 MAX_CANDIDATES=60000",
        "make shadow HOURS=504 MAX_CANDIDATES=400000 TRAIN_MINUTES=15",
    ),
    "tests/flows/test_entries_command.py::test_the_report_judges_these_entries_in_every_profile": (
        "make shadow TAPE=path/to/recording CANDIDATES=entries.csv FEE_TIER=regular",
        "make shadow TAPE=recording CANDIDATES=entries",
    ),
    "tests/flows/test_entries_command.py::test_label_takes_entries_too": (
        "ofi-meta label TAPE --features F --candidates entries",
    ),
    "tests/flows/test_dask.py::test_the_training_of_a_shadow_run_goes_to_the_cluster": ("RUNNER make shadow",),
    "tests/flows/test_runner.py::test_task_runners": (
        "RUNNER make prefect",
        "RUNNER SCHEDULER make prefect",
    ),
    "tests/flows/test_serve.py::test_every_deployment_is_served_with_its_schedule_and_its_form": ("make prefect",),
    "tests/flows/test_night.py::test_nights_end_in_a_decision_and_a_release_that_loses_is_taken_back": (
        "make nightly",
        "make nightly REHEARSAL=1",
    ),
    "tests/flows/test_cli_errors.py::test_every_command_has_help": ("ofi-meta shadow --help", "ofi-meta live --help"),
    # A replay: no test talks to the venue.
    "tests/flows/test_live_command.py::"
    "test_a_replay_runs_to_its_end_through_the_store_and_its_decisions_can_be_explained": (
        "make live REPLAY=path/to/recording BUNDLE=releases/tag",
        "make live REPLAY=recording SPEED=5 BUNDLE=releases/tag",
        "make live SYMBOL=ETHUSDT",
        "ofi-meta live",
        "ofi-meta explain last --log data/live/venue/symbol/decisions",
    ),
    "tests/flows/test_drift.py::test_a_day_like_the_training_span_ends_with_0_and_says_that_it_is_simulated": (
        "ofi-meta drift TAPE --features F --labels L --release R --day 2026-01-06"
        " --out reports --decisions LOG --time 300",
    ),
    "tests/flows/test_drift_measured.py::test_unchanged_days_are_no_alert": (
        "python -m tests.flows.drift_measured --seeds 20 --out FOLDER --docs",
    ),
    # A server of our own in place of Tardis.
    "tests/feature_repo/test_fetch.py::test_the_command_prints_a_table_and_how_to_import": (
        "make fetch SYMBOL=ETHUSDT DATE=2024-08-01",
        "ofi-meta tape fetch ETHUSDT 2024-08-01",
    ),
    "tests/feature_repo/test_redis_services.py::test_services_start_once_and_stop": (
        "make services",
        "make services-stop",
        "REDIS_PORT make services",
    ),
    "tests/feature_repo/test_feast.py::test_apply_from_the_shell": ("feast -c feature_repo apply",),
    "tests/feature_repo/test_serve_features.py::"
    "test_what_is_materialised_from_the_shell_is_served_unless_it_is_older": (
        "feast -c feature_repo materialize-incremental $(date -u +%Y-%m-%dT%H:%M:%S)",
        "feast -c feature_repo serve",
    ),
    "tests/feature_repo/test_fields.py::test_the_command_writes_the_page_or_prints_it": (
        "python -m feature_repo.features_page docs/features.md",
    ),
    "tests/flows/test_public_names.py::test_the_command_writes_the_page_or_prints_it": (
        "python -m flows.api_page docs/api.md",
    ),
    "tests/reports/test_schema.py::test_the_page_is_what_the_schema_says": (
        "python -m reports.schema docs/metrics.md",
    ),
    "tests/feature_repo/test_stylised.py::test_the_table_has_every_fact_and_one_column_each": (
        "python -m tests.feature_repo.simulator_table the-ETHUSDT-recording",
    ),
    "tests/honesty/test_honesty_command.py::test_the_short_form_keeps_a_result_a_run_and_nothing_else": (
        "make honesty",
        "ofi-meta honesty --short",
    ),
    "tests/meta_models/test_train_cli.py::test_trains_exports_and_says_what_the_data_is": (
        "python -m meta_models.train",
    ),
    "tests/runtime/test_shadow_labels.py::test_outcomes_agree_and_every_other_one_is_explained": (
        "python -m tests.runtime.label_agreement",
    ),
    "tests/bench/test_bench.py::test_a_bench_that_breaks_does_not_take_the_others_along": (
        "make bench",
        "python -m tests.bench --only labels",
    ),
    "tests/flows/test_reader.py::test_the_fast_subset_is_a_part_of_the_suite": ("make test-fast",),
}
"""The same code by the tests that are named, at another size or in place of what is not at hand here."""
