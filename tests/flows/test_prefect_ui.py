"""The Prefect UI in a real browser: deployments are listed, a run is started by clicking, ends green, shows the matrix.

Debian's chromium, without a screen, driven by playwright. Screenshots lie in the test's folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reports.matrix import BANNER
from tests.flows.conftest import ROOT
from tests.flows.test_serve import deployments
from tests.redis_server import free_port

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="No chromium here. On Debian: apt-get install chromium."),
]

RUN_MS = 900_000
"""Of the clicked run on a busy machine: three simulated hours, about 95 CPU seconds with the server."""
ASKED = {"Hours": "3", "Folds": "1", "Max Candidates": "800"}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("prefect-ui")


@pytest.fixture(scope="module")
def address(place: Path) -> Iterator[str]:
    """A server of our own with everything that `make prefect` serves."""
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment |= {
        "OFI_META_DATA": str(place / "data"),
        "PREFECT_HOME": str(place / "prefect"),
        "PREFECT_PORT": str(port),
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PYTHONPATH": str(ROOT),
    }
    with (place / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "flows.serve"], cwd=place, env=environment, stdout=log, stderr=log
        )
    try:
        deadline, before = time.monotonic() + 420, None
        while time.monotonic() < deadline and server.poll() is None:
            names = {one["name"] for one in deployments(port)}
            if any("shadow" in name for name in names) and names == before:  # they come one after the other
                break
            before = names
            time.sleep(3)
        else:
            pytest.fail((place / "log").read_text()[-2_000:])
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(timeout=180)
        except subprocess.TimeoutExpired:
            server.kill()
            raise


@pytest.fixture(scope="module")
def page(place: Path):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:

        def told(*what) -> None:
            with (place / "browser.log").open("a") as log:
                print(*what, file=log)

        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        opened = browser.new_page(viewport={"width": 1400, "height": 1000})
        opened.set_default_timeout(30_000)
        opened.on("response", lambda answer: told(answer.status, answer.url) if answer.status >= 400 else None)
        opened.on("requestfailed", lambda request: told(request.failure, request.url))
        yield opened
        picture(opened, place, "last")  # of a test that fails: what there was instead
        browser.close()


def picture(page, place: Path, name: str) -> None:
    page.screenshot(path=place / f"{name}.png", full_page=True)


def of_parameter(page, label: str):
    """The field of the form that has this label."""
    title = page.locator(".schema-form-property__label", has_text=re.compile(rf"^{label}\b"))
    return page.locator(".p-label", has=title).last


def choose(page, label: str, before: str, after: str) -> None:
    """A list is opened by the arrow: a click moves the page under it, and may close it again."""
    from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

    field = of_parameter(page, label).get_by_role("button", name=before, exact=True)
    option = page.get_by_role("option", name=after, exact=True)
    for _ in range(10):
        field.press("ArrowDown")
        try:
            option.wait_for(timeout=2_000)
        except PlaywrightTimeoutError:
            continue
        break
    option.click()
    of_parameter(page, label).get_by_role("button", name=after, exact=True).wait_for()


def submit(page) -> None:
    """Again where a busy server did not take it: the page then says so and stays."""
    from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

    for _ in range(3):
        page.get_by_role("button", name="Submit").click(timeout=60_000)
        try:
            page.wait_for_url(lambda url: not url.partition("?")[0].endswith("/run"), timeout=60_000)
        except PlaywrightTimeoutError:
            continue
        return
    pytest.fail("the form was not taken, see browser.log")


def open_run(page, address: str, name: str) -> None:
    """The list of runs ends at the moment when it was opened: a run that began just then is on the next one."""
    from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

    for _ in range(12):
        page.goto(f"{address}/runs")
        link = page.get_by_role("link", name=name).first
        try:
            link.wait_for(timeout=10_000)
        except PlaywrightTimeoutError:
            continue
        break
    link.click()


def test_every_deployment_is_listed(page, place, address):
    page.goto(f"{address}/deployments")
    served = deployments(int(address.rpartition(":")[2]))
    assert any("shadow" in one["name"] for one in served)
    for one in served:
        page.get_by_role("link", name=one["name"], exact=True).first.wait_for()
    picture(page, place, "1-deployments")


def test_a_run_started_by_clicking_ends_green_and_its_artifact_shows_the_matrix(page, place, address):
    page.goto(f"{address}/deployments")
    page.get_by_role("link", name=re.compile("shadow")).first.click()
    page.wait_for_url("**/deployment/**")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text(re.compile("custom run", re.IGNORECASE)).first.click()
    typed = page.get_by_role("button", name="ShadowParameters")
    page.get_by_role("button", name="Submit").wait_for()
    if typed.count():  # where the whole form may be left out
        typed.click()
    for label, value in ASKED.items():
        of_parameter(page, label).locator("input").fill(value)
    choose(page, "Model", "tcn", "logistic")
    picture(page, place, "2-custom-run")
    name = page.locator(".p-label", has_text="Run Name").last.locator("input").input_value()
    submit(page)
    open_run(page, address, name)
    page.wait_for_url("**/runs/flow-run/**")
    badge = page.locator(".state-badge, .flow-run-state-badge, [class*='state-badge']").first
    badge.wait_for()
    done = page.locator("[class*='state-badge']", has_text=re.compile("^(Completed|Failed|Crashed)$")).first
    done.wait_for(timeout=RUN_MS)
    picture(page, place, "3-run")
    assert done.inner_text() == "Completed", (place / "log").read_text()[-4_000:]

    page.get_by_text("Artifacts", exact=True).first.click()
    page.get_by_text("shadow-matrix").first.click()
    matrix = page.locator("table", has_text="profile").first
    matrix.wait_for()
    picture(page, place, "4-artifact")
    matrix.scroll_into_view_if_needed()
    picture(page, place, "5-matrix")
    assert BANNER in page.inner_text("body"), "simulated data says so wherever it is seen"
    assert "NO-GO" in page.inner_text("body")
    header, *rows = [
        [cell.strip() for cell in row.locator("th, td").all_inner_texts()] for row in matrix.locator("tr").all()
    ]
    assert header == ["fee tier", "profile", "model", "candidates", "allowed", "trades", "mean net bps"]
    told = json.loads((place / "reports" / "metrics.json").read_text())
    arms = [[a["fee_tier"], a["profile"], "yes" if a["model"] else "no", str(a["candidates"])] for a in told["matrix"]]
    assert [row[:4] for row in rows] == arms
    assert {row[0] for row in rows} == {"regular", "vip9"}
    assert any(row[2] == "yes" and int(row[4]) > 0 for row in rows), "an arm with the model allowed something"
