"""The live shadow in a terminal: what to follow, where to keep what comes of it, and one screen to look at."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from feature_repo.errors import InputError
from feature_repo.instruments import fee_tier as named_fee
from feature_repo.instruments import instrument
from feature_repo.market.sources import head_of
from feature_repo.paths import data_root
from feature_repo.store import StoreError
from feature_repo.window import FeatureWindow
from runtime.budget import WaitingSource
from runtime.bundle import load_bundle
from runtime.candidate import Candidate
from runtime.decision import Decision
from runtime.decision_log import LoggedGate, SeenWindow
from runtime.live.pushing import PushedWindow, Pusher
from runtime.live.screen import Screen, plain_line
from runtime.live.service import LivePlan, LiveShadow
from runtime.live.telemetry import Telemetry
from runtime.live.venues import ENDPOINTS, Endpoints, routes_of, snapshot_url, streams_of
from runtime.live.vitals import Vitals
from runtime.manifest import Manifest
from runtime.serving import ServedFilter

__all__ = ["LiveRequest", "live", "order_told"]

_LOOK_S = 0.25
_SWITCH_S = 0.001
_TRADES = ("aggTrade", "trade")


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """What a person asked for.

    Attributes
    ----------
    in_process : the gate reads this process's window, and not Feast's online store
    replay : a recording or a folder of one, played by a local server; None: the venue
    speed : of the replay; 0 is as fast as it goes
    folder : recordings, states and decisions go below it
    trades : "aggTrade" or "trade"
    public, market, rest : addresses instead of the venue's
    port : of /metrics and /healthz on loopback; 0 takes any
    record, resume : write the raw lines; go on from the state of the process before
    """

    symbol: str
    venue: str = "binance_usdm"
    bundle: Path = Path("releases/current")
    profile: str = "B"
    fee_tier: str | None = None
    in_process: bool = False
    replay: Path | None = None
    speed: float = 1.0
    folder: Path | None = None
    trades: str = "aggTrade"
    public: str | None = None
    market: str | None = None
    rest: str | None = None
    port: int = 9108
    record: bool = True
    resume: bool = True


def live(asked: LiveRequest) -> int:
    """Follow a feed until Ctrl-C, or a replay to its end. Returns the exit status.

    Raises
    ------
    InputError
        When something that was asked for cannot be used.
    """
    _check(asked)
    sys.setswitchinterval(_SWITCH_S)  # a screen is drawn in Python, too, and must not hold a decision up
    home = (data_root() / "live" if asked.folder is None else asked.folder) / asked.venue / asked.symbol
    with ExitStack() as until_done:
        for name in (signal.SIGTERM, signal.SIGINT):
            before = signal.signal(name, _interrupt)
            until_done.callback(signal.signal, name, before)
        if asked.replay is None:
            plan = _plan(asked, _endpoints(asked), streams_of(asked.venue, asked.symbol, asked.trades), home)
        else:
            plan = _replay_plan(asked, until_done.enter_context(_playing(asked)))
        log = home / ("decisions" if asked.replay is None else "replayed")
        return _follow(asked, plan, log, until_done)


def _follow(asked: LiveRequest, plan: LivePlan, log: Path, until_done: ExitStack) -> int:
    T = load_bundle(asked.bundle).manifest.T  # the gate itself is loaded once there is something for it to read
    window = FeatureWindow(T=T, instrument=instrument(asked.venue, asked.symbol))
    vitals = Vitals(
        asked.symbol,
        asked.venue,
        profile=asked.profile,
        source="in process" if asked.in_process else "online store",
        replay=asked.replay is not None,
    )
    pusher, source = None, window
    if not asked.in_process:
        online = _online(asked, T)
        online.snapshot_at(0)  # what the first read loads takes a third of a second, which no decision should wait for
        pusher = Pusher(online, on_push=vitals.pushed, on_failure=vitals.push_failed)
        source = WaitingSource(PushedWindow(pusher, online))
        until_done.callback(source.close)
    seen = SeenWindow(source)
    served = until_done.enter_context(
        ServedFilter(asked.bundle, source=seen, watch_s=1.0, profile=asked.profile, fee=_fee(asked), shadow=True)
    )
    _fits(served.manifest, asked)
    gate = LoggedGate(served, seen, log)
    orders: deque[str] = deque()  # printed by this thread: the one that decides has no time for it

    def note(candidate: Candidate, decision: Decision, _: float | None) -> None:
        if decision.allow:
            orders.append(order_told(candidate, decision))

    shadow = LiveShadow(plan, gate, vitals, window=window, pusher=pusher, on_decision=note)
    vitals.released(served.manifest.tag)
    telemetry = until_done.enter_context(Telemetry(vitals, shadow.now_ns, port=asked.port))
    screen = until_done.enter_context(Screen())
    screen.console.print(
        f"metrics and health: http://{telemetry.host}:{telemetry.port}/metrics, /healthz", highlight=False
    )
    if shadow.resumed:
        screen.console.print(shadow.resumed, highlight=False)
    try:
        with shadow:
            while shadow.running:
                time.sleep(_LOOK_S)
                if now_ns := shadow.now_ns():  # a replay has no time before its first message
                    view = vitals.snapshot(now_ns)
                    screen.update(view, view.health())
                while orders:
                    screen.console.print(orders.popleft(), highlight=False, soft_wrap=True)
    except KeyboardInterrupt:
        pass  # Ctrl-C or SIGTERM: the way a live process ends
    view = vitals.snapshot(shadow.now_ns())
    screen.update(view, view.health())
    for line in orders:
        screen.console.print(line, highlight=False, soft_wrap=True)
    screen.console.print(plain_line(view, view.health()), highlight=False, soft_wrap=True)
    if view.decisions:
        screen.console.out(f"Logged: ofi-meta explain last --log {log}", highlight=False)
    if isinstance(shadow.error, InputError):
        raise shadow.error
    if shadow.error is not None:
        raise InputError(
            f"the thread that decides has ended ({type(shadow.error).__name__}: {shadow.error})",
            "a feed that it can follow",
            "Start again; the recording and the decisions so far are on disk",
        ) from shadow.error
    return 0


def order_told(candidate: Candidate, decision: Decision) -> str:
    """The order that would have been sent, as a sentence."""
    at = datetime.fromtimestamp(candidate.ts_ns // 1_000_000_000, UTC).strftime("%H:%M:%S")
    return (
        f"{at}.{candidate.ts_ns // 100_000_000 % 10} UTC would {'buy' if candidate.side > 0 else 'sell'} "
        f"{decision.size:,.2f} USD of {candidate.symbol} at about {candidate.price:,.2f}: "
        f"{candidate.sig_type.name.lower()}, P {decision.p:.3f}; not placed"
    )


def _check(asked: LiveRequest) -> None:
    if asked.venue not in ENDPOINTS:
        raise InputError(f"venue {asked.venue!r}", ", ".join(ENDPOINTS), "Give one of them")
    if asked.trades not in _TRADES:
        raise InputError(f"trades {asked.trades!r}", " or ".join(_TRADES), "Give one of them")
    instrument(asked.venue, asked.symbol)


def _fits(manifest: Manifest, asked: LiveRequest) -> None:
    if (manifest.venue, manifest.symbol) != (asked.venue, asked.symbol):
        raise InputError(
            f"{asked.bundle}, a release for {manifest.symbol} on {manifest.venue}",
            f"one for {asked.symbol} on {asked.venue}, which is followed",
            "Train one on it (ofi-meta shadow --tape, then release promote), or give --bundle",
        )


def _fee(asked: LiveRequest) -> Any:
    return None if asked.fee_tier is None else named_fee(asked.venue, asked.fee_tier)


def _endpoints(asked: LiveRequest) -> Endpoints:
    told = {name: getattr(asked, name) for name in ("public", "market", "rest") if getattr(asked, name)}
    return ENDPOINTS[asked.venue]._replace(**{name: url.rstrip("/") for name, url in told.items()})


def _plan(asked: LiveRequest, endpoints: Endpoints, streams: list[str], home: Path) -> LivePlan:
    return LivePlan(
        asked.venue,
        asked.symbol,
        routes_of(endpoints, streams),
        snapshot_url(endpoints, asked.symbol),
        recordings=home / "raw" if asked.record else None,
        state=home / "state.npz" if asked.resume else None,
    )


def _replay_plan(asked: LiveRequest, told: dict[str, Any]) -> LivePlan:
    mine = [s for s in told["streams"] if s.startswith(f"{asked.symbol.lower()}@")]
    if not mine:
        raise InputError(
            f"{asked.replay}, which has {', '.join(told['streams']) or 'no named stream'}",
            f"a recording of {asked.symbol}",
            "Give its symbol and --venue",
        )
    local = ENDPOINTS[asked.venue]._replace(public=told["websocket"], market=told["websocket"], rest=told["rest"])
    plan = _plan(asked, local, mine, Path())
    return replace(plan, recordings=None, state=None, replay=True)


@contextmanager
def _playing(asked: LiveRequest) -> Iterator[dict[str, Any]]:
    """A replay server in a process of its own; what it said of itself."""
    path = asked.replay
    files = sorted(p for p in path.iterdir() if p.is_file() and head_of(p)) if path.is_dir() else [path]
    if not files:
        raise InputError(
            f"{path}, a folder without a recording", "`<local_ts> <json>` a line, plain or .gz", "Check it"
        )
    command = [sys.executable, "-m", "runtime.live.replay_server", *map(str, files), "--speed", str(asked.speed)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        if not line:
            raise InputError(
                f"a replay that did not start ({server.stderr.read().strip()})", "a Binance recording", "Check --replay"
            )
        yield json.loads(line)
    finally:
        server.terminate()
        server.wait(10)


def _online(asked: LiveRequest, T: int) -> Any:
    from runtime.live.online import OnlineWindow

    # A replay's times lie before what an earlier process left in the store.
    restart = asked.replay is not None
    try:
        return OnlineWindow(asked.symbol, T=T, restart=restart)
    except StoreError:
        from feature_repo.offline import apply_definitions

        apply_definitions()
        return OnlineWindow(asked.symbol, T=T, restart=restart)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
