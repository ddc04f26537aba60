"""index.html in Debian's chromium: nothing hangs over at the width of a desk or of a phone, and nothing is fetched.

The page stands in a frame of its own width (a window cannot be narrower than 500 px), untouched: what is asked of it is
asked from outside.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from reports.page_index import write_index
from reports.promotion import judge_promotion, write_promotion
from reports.write import write_reports
from tests.reports import make_beside as beside
from tests.reports import make_metrics, make_promotable
from tests.reports.test_pictures import _report

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)"),
]
WIDTHS = (1280, 390)
DARK, LIGHT = "0", "1"
_ASK = """
<script>
addEventListener("load", () => setTimeout(() => {
  const told = [...document.querySelectorAll("iframe")].map(f => {
    const root = f.contentDocument.documentElement, body = f.contentDocument.body;
    const edge = [...body.querySelectorAll("p, h1, h2, nav, .banner, .verdict, .scroll, figure, details, dl, li, dd")]
      .filter(e => e.getBoundingClientRect().right > root.clientWidth + 1).map(e => e.outerHTML.slice(0, 80));
    return {inner: root.clientWidth, wanted: Math.max(root.scrollWidth, body.scrollWidth), edge,
            fetched: f.contentWindow.performance.getEntriesByType("resource").map(e => e.name),
            ground: f.contentWindow.getComputedStyle(body).backgroundColor,
            pictures: [...f.contentDocument.images].filter(i => i.naturalWidth > 0).length};
  });
  document.getElementById("told").textContent = JSON.stringify(told);
}, 300));
</script><pre id="told"></pre>"""


def ask(folder, page, *, scheme=LIGHT):
    """What the browser says of the page, one answer a width."""
    text = html.escape(page)
    frames = "".join(f'<iframe style="width:{w}px;height:900px;border:0" srcdoc="{text}"></iframe>' for w in WIDTHS)
    (folder / "frames.html").write_text(f"<!doctype html><meta charset=utf-8><body>{frames}{_ASK}</body>")
    done = subprocess.run(
        [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
            f"--user-data-dir={folder / 'profile'}", f"--blink-settings=preferredColorScheme={scheme}",
            "--virtual-time-budget=15000", "--dump-dom", (folder / "frames.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    told = json.loads(html.unescape(re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.S)[1]))
    assert [one["inner"] for one in told] == list(WIDTHS)
    return told


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page with everything on it, one without a report, and one with the longest words that others may write."""
    out, releases = (tmp_path_factory.mktemp(name) for name in ("out", "releases"))
    write_reports(_report(make_metrics.metrics()), out, releases=releases)
    (out / "metrics.json").write_text(json.dumps(make_promotable.passing() | {"simulated": True}))
    checks = [beside.check(g, s, note="word " * 30) for g in beside.GROUPS for s in ("OK", "WARN", "ALERT")]
    for day in ("2026-01-04", "2026-01-05"):
        beside.write_drift(out, day=day, status="ALERT", checks=checks)
    beside.write_releases(releases, *(beside.change(k) for k in range(40)))
    write_promotion(judge_promotion(make_promotable.passing(), drift_status="ALERT"), out, tag=beside.FIRST)
    found = {"full": write_index(out, releases=releases).read_text()}
    long = "x" * 3_000
    (out / "metrics.json").write_text(json.dumps(make_metrics.metrics(banner=long)))
    beside.write_drift(out, "L" * 200, status=long, checks=[dict.fromkeys(beside.check("data"), long)], release=long)
    with (releases / "history.jsonl").open("a") as history:
        history.write(json.dumps(dict.fromkeys(beside.change(), long)) + "\n")
    failing = make_promotable.passing()
    failing["run"].update(fee_tier_given=long)
    failing["verdict"].update(go=False, word="NO-GO", reasons=[long])
    write_promotion(judge_promotion(failing), out, tag=long)
    found["long words"] = write_index(out, releases=releases).read_text()
    (out / "metrics.json").unlink()
    return found | {"no report": write_index(out, releases=releases).read_text()}


@pytest.mark.parametrize("name", ["full", "long words", "no report"])
def test_nothing_hangs_over_and_nothing_is_fetched(pages, name, tmp_path):
    for told in ask(tmp_path, pages[name]):
        assert told["wanted"] <= told["inner"], told
        assert told["edge"] == []
        assert told["fetched"] == []
        assert told["pictures"] == (0 if name == "no report" else 8)


def test_light_and_dark(pages, tmp_path):
    (light, _), (dark, _) = (ask(tmp_path, pages["full"], scheme=s) for s in (LIGHT, DARK))
    assert (light["ground"], dark["ground"]) == ("rgb(255, 255, 255)", "rgb(20, 25, 31)")


def test_what_hangs_over_would_be_seen(pages, tmp_path):
    wide = pages["no report"].replace("</body>", '<p style="width:1300px">wide</p></body>')
    for told in ask(tmp_path, wide):
        assert told["wanted"] > told["inner"]
        assert told["edge"]


def test_a_tag_that_slipped_through_would_fetch_nothing(pages, tmp_path):
    """The same tag in a bare page is fetched, so the test can see it; the page's own policy holds it back."""
    asked: list[str] = []

    class Recorder(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Recorder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        where = f"http://127.0.0.1:{server.server_port}"
        tags = f'<img src="{where}/picture"><link rel="stylesheet" href="{where}/style">'
        tags += f'<script src="{where}/run"></script>'
        ask(tmp_path, pages["no report"].replace("</body>", f"{tags}</body>"))
        assert asked == []
        ask(tmp_path, f"<!doctype html><body>{tags}</body>")
        assert {"/picture", "/style", "/run"} <= set(asked)
    finally:
        server.shutdown()
        server.server_close()
