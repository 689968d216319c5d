"""The report in a real browser."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from test_report import study  # noqa: F401 - a fixture

from recbole_sr.runs.folder import RunFolder
from recbole_sr.study.report.page import report

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.exists(CHROMIUM), reason=f"there is no {CHROMIUM}"),
    pytest.mark.skipif(not os.path.exists(DRIVER), reason=f"there is no {DRIVER}"),
]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, study, tmp_path):  # noqa: F811
    report([str(study)], "report.html")

    def show(width=1200, scheme="light"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get((tmp_path / "report.html").as_uri())
        return browser

    return show


def test_opens_from_a_file_without_errors_or_requests(page):
    browser = page()
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    of_page = [one["request"]["url"] for one in requests if "report.html" in one["documentURL"]]
    assert [url.partition(":")[0] for url in of_page] == ["file"]


def test_every_plot_has_points_and_they_are_those_of_the_runs(page, study):  # noqa: F811
    plots = page().execute_script(
        "return [...document.querySelectorAll('.plot')].map(plot => [plot.id,"
        " plot.querySelectorAll('.point').length,"
        " plot.data.map(trace => [trace.name, [...trace.y]])])"
    )
    assert len(plots) == 7
    for name, points, traces in plots:
        assert points >= sum(len(y) for _, y in traces) > 0, name
    shown = {name.removeprefix("BPR-tiny-"): dict(traces) for name, _, traces in plots}
    for run in ("default", "none"):
        lines = RunFolder(Path(study) / "runs" / f"BPR-tiny-{run}-2020").epochs()
        assert shown["valid-epochs"][run] == [line["valid_score"] for line in lines]
        assert shown["loss"][run] == [line["train_loss"] for line in lines]
        ranks = [line["stable_rank"]["user"] for line in lines]
        assert shown["stable-rank-user"][run] == ranks


def test_every_plot_has_its_numbers_as_text(page, study):  # noqa: F811
    cells = page().execute_script(
        "return [...document.querySelectorAll('figure')].map(figure =>"
        " [...figure.querySelectorAll('tbody tr')].map(row =>"
        " [...row.cells].map(cell => cell.textContent)))"
    )
    assert all(cells)
    lines = RunFolder(Path(study) / "runs" / "BPR-tiny-default-2020").epochs()
    shown = [float(row[2]) for row in cells[1] if row[0].startswith("default")]
    assert shown == [line["valid_score"] for line in lines]
    starred = [float(row[1]) for row in cells[1] if "★" in row[0]]
    assert starred == [2]


@pytest.mark.parametrize("width", [360, 1200])
def test_no_screen_overflows(page, width):
    browser = page(width)
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width


def luminance(colour):
    channels = [int(part) / 255 for part in colour.strip("rgba() ").split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_contrasts_with_the_page(page, scheme):
    browser = page(scheme=scheme)
    text, back, axis, panel = browser.execute_script(
        "const css = (query, name) => getComputedStyle(document.querySelector(query))[name];"
        "return [css('body', 'color'), css('body', 'backgroundColor'),"
        " css('.xtick text', 'fill'), css('figure', 'backgroundColor')]"
    )
    assert (luminance(back) < 0.1) == (scheme == "dark")
    for ink, paper in ((text, back), (axis, panel)):
        low, high = sorted((luminance(ink), luminance(paper)))
        assert (high + 0.05) / (low + 0.05) >= 7


def test_lines_differ_by_more_than_colour(page):
    looks = page().execute_script(
        "return document.querySelector('.plot').data.map(trace => trace.line.dash)"
    )
    assert len(set(looks)) == 2


def test_the_keyboard_reaches_skip_link_and_tables(page):
    from selenium.webdriver.common.keys import Keys

    browser = page()
    browser.switch_to.active_element.send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to content"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    reached = []
    for _ in range(6):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(browser.switch_to.active_element.tag_name)
    assert "summary" in reached
    summary = browser.find_element("css selector", "summary")
    summary.send_keys(Keys.ENTER)
    assert browser.find_element("css selector", "details").get_attribute("open")
