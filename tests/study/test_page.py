"""The report in a real browser."""

from __future__ import annotations

import json
import os
from itertools import combinations
from pathlib import Path

import pytest
from test_report import single, study  # noqa: F401 - fixtures

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
def page(browser, study, single, tmp_path):  # noqa: F811
    report([str(study), str(single[0])], "report.html")

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
    schemes = [url.partition(":")[0] for url in of_page]
    assert schemes[0] == "file"
    assert set(schemes[1:]) <= {"data"}  # the bar of a colour scale


WIDTHS = [360, 1000, 1600]


def test_every_plot_is_drawn_inside_its_frame(page):
    """A drawing that is cut or empty has no lines, or texts beyond its own edges."""
    plots = page().execute_script(
        "return [...document.querySelectorAll('.plot svg')].map(svg => {"
        " const edge = svg.getBoundingClientRect();"
        " const outside = [...svg.querySelectorAll('text')].filter(text => {"
        "  const box = text.getBoundingClientRect();"
        "  return box.left < edge.left - 1 || box.right > edge.right + 1"
        "   || box.top < edge.top - 1 || box.bottom > edge.bottom + 1});"
        " return [svg.parentElement.id, svg.querySelectorAll('path').length,"
        "  edge.width, outside.map(text => text.textContent)]})"
    )
    assert len(plots) == 10
    for name, paths, width, outside in plots:
        assert paths > 8, name
        assert width > 300, name
        assert outside == [], name


def test_every_plot_has_its_numbers_as_text(page, study):  # noqa: F811
    cells = page().execute_script(
        "return [...document.querySelectorAll('figure')].map(figure =>"
        " [...figure.querySelectorAll('tbody tr')].map(row =>"
        " [...row.cells].map(cell => cell.textContent)))"
    )
    assert all(cells)
    lines = RunFolder(Path(study) / "runs" / "BPR-tiny-default-2020").epochs()
    shown = [float(row[2]) for row in cells[1] if row[0].startswith("study, default")]
    assert shown == [line["valid_score"] for line in lines]
    starred = {row[0].split(" (")[0]: float(row[1]) for row in cells[1] if "★" in row[0]}
    assert starred.pop("study, default") == 2
    assert [*starred.values()] == [2]  # of the single run


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(page, width):
    browser = page(width)
    wide, window = browser.execute_script(
        "return [document.documentElement.scrollWidth, innerWidth]"
    )
    assert wide <= window == width


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_of_a_comparison_is_never_cut(page, width):
    browser = page(width)
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('.brief')].map(table =>"
        " [table.scrollWidth, table.parentElement.clientWidth])"
    )
    assert sizes
    assert all(table <= frame for table, frame in sizes)


@pytest.mark.parametrize("width", WIDTHS)
def test_texts_of_a_plot_are_legible_and_do_not_overlap(page, width):
    plots = page(width).execute_script(
        "return [...document.querySelectorAll('.plot')].map(plot => [plot.id,"
        " [...plot.querySelectorAll('text')].map(text => {"
        "  const box = text.getBoundingClientRect();"
        "  return [text.textContent, box.left, box.top, box.right, box.bottom]})])"
    )
    assert plots
    for name, texts in plots:
        assert len(texts) > 8, name
        for one, other in combinations(texts, 2):
            across = min(one[3], other[3]) - max(one[1], other[1])
            along = min(one[4], other[4]) - max(one[2], other[2])
            assert across <= 1 or along <= 3, (name, one[0], other[0])  # boxes have leading
        heights = [min(right - left, bottom - top) for _, left, top, right, bottom in texts]
        assert max(heights) >= 10, name


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
        " css('.plot text', 'fill'), css('figure', 'backgroundColor')]"
    )
    assert (luminance(back) < 0.1) == (scheme == "dark")
    for ink, paper in ((text, back), (axis, panel)):
        low, high = sorted((luminance(ink), luminance(paper)))
        assert (high + 0.05) / (low + 0.05) >= 7


def test_lines_differ_by_more_than_colour(page):
    """Each line of the first plot and its dash, which is empty for a solid one."""
    looks = page().execute_script(
        "return [...document.querySelector('.plot').querySelectorAll('path')].map(path =>"
        " [path.style.stroke, path.style.strokeDasharray])"
    )
    dashes = {stroke: dash for stroke, dash in looks if "series" in stroke}
    assert len(dashes) == len(set(dashes.values())) == 3


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
