"""report.html and comparison.html in a real Chromium: drawn, filtered, read on a phone, on paper and by a screen reader."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from synth_ray.job.gates import parse_gate
from synth_ray.report.comparison import comparison_page
from synth_ray.report.page import page
from tests.report_data import full_examples, full_manifest, hostile_examples, hostile_manifest, old_manifest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed, so no page is opened in a browser")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium was found, so no page is opened in a browser"),
]

WIDTHS = (380, 800, 1280)
GATES = [parse_gate("accepted_share >= 0.9"), parse_gate("tstr.macro_f1 >= 0.7")]
OVERFLOWING = """() => [...document.querySelectorAll("main *")].filter((e) => {
  const box = e.getBoundingClientRect(), hidden = e.closest(".hidden, svg, thead, option");
  return !hidden && box.width > 0 && (box.right > innerWidth + 1 || box.left < -1);
}).map((e) => `${e.tagName}.${e.className}`).slice(0, 5)"""
UNDRAWN = """() => [...document.querySelectorAll("svg")].filter((e) => e.checkVisibility()).filter((e) => {
  const box = e.getBoundingClientRect(), shapes = [...e.querySelectorAll("rect, path, line")];
  return box.width < 20 || box.height < 4 || !shapes.length || /NaN|undefined|Infinity/.test(e.outerHTML);
}).map((e) => e.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The address of each page."""
    folder: Path = tmp_path_factory.mktemp("pages")
    texts = {
        "full": page(full_manifest(), full_examples(), GATES),
        "old": page(old_manifest()),
        "hostile": page(hostile_manifest(), hostile_examples(), GATES),
        "comparison": comparison_page(full_manifest(), old_manifest(), names=("out/a", "out/b")),
        "hostile comparison": comparison_page(
            hostile_manifest(), full_manifest(), names=("<script>window.ran=1</script>" * 9, "b")
        ),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in texts}


def opened(browser: Any, address: str, *, width: int = 1280, scheme: str = "light") -> tuple[Any, list[str]]:
    """A tab with the page, and what its console says."""
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
    tab.goto(address)
    return tab, said


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["full", "old", "hostile", "comparison", "hostile comparison"])
def test_a_page_fits_its_charts_are_drawn_and_nothing_runs_or_complains(
    browser: Any, pages: dict[str, str], name: str, width: int
) -> None:
    tab, said = opened(browser, pages[name], width=width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(OVERFLOWING) == []
    assert tab.evaluate("document.querySelectorAll('svg').length") > 3 or "comparison" in name
    assert tab.evaluate(UNDRAWN) == []
    assert tab.evaluate("window.ran") is None
    assert said == []
    tab.close()


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        ("full", 380, "light"),
        ("full", 800, "dark"),
        ("full", 1280, "light"),
        ("old", 380, "dark"),
        ("comparison", 380, "light"),
        ("comparison", 1280, "dark"),
    ],
)
def test_axe_finds_nothing(browser: Any, pages: dict[str, str], name: str, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    tab, _ = opened(browser, pages[name], width=width, scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
    results = axe.Axe().run(tab)
    assert results.violations_count == 0, results.generate_report()
    tab.close()


def shown(tab: Any) -> list[Any]:
    records: list[Any] = tab.locator(".record:visible").all()
    return records


def test_rows_are_filtered_by_split_class_verdict_reason_and_text(browser: Any, pages: dict[str, str]) -> None:
    tab, said = opened(browser, pages["full"])
    assert len(shown(tab)) == 22 and tab.inner_text("#filter-count") == "22 rows"
    tab.select_option("#filter-reason", "Almost repeats a kept row")
    assert len(shown(tab)) == 3 and tab.inner_text("#filter-count") == "3 of 22 rows"
    assert tab.locator("[data-group]:visible").count() == 1
    tab.fill("#filter-text", "DAY 1")
    assert len(shown(tab)) == 1
    tab.select_option("#filter-reason", "")
    tab.fill("#filter-text", "")
    for name, value in (("split", "test"), ("class", "refund"), ("verdict", "accepted")):
        tab.select_option(f"#filter-{name}", value)
        assert {record.get_attribute(f"data-{name}") for record in shown(tab)} == {value}
        tab.select_option(f"#filter-{name}", "")
    tab.fill("#filter-text", "no row has this")
    assert shown(tab) == [] and tab.inner_text("#filter-count") == "0 of 22 rows"
    assert said == []
    tab.close()


def test_filters_and_choices_work_by_keyboard(browser: Any, pages: dict[str, str]) -> None:
    tab, _ = opened(browser, pages["full"])
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.focus("#filter-verdict")
    tab.keyboard.type("rej")
    assert {record.get_attribute("data-verdict") for record in shown(tab)} == {"rejected"}
    tab.focus("#choose-by")
    tab.keyboard.press("ArrowDown")
    assert tab.locator("#breakdown h3:visible").all_inner_texts() == ["By class"]
    tab.focus("#speed summary >> nth=0")
    tab.keyboard.press("Enter")
    assert tab.locator("#speed table:visible").count() == 1
    tab.close()


def test_paper_shows_everything_and_no_controls(browser: Any, pages: dict[str, str]) -> None:
    tab, _ = opened(browser, pages["full"])
    tab.fill("#filter-text", "no row has this")
    tab.emulate_media(media="print")
    assert len(shown(tab)) == 22
    assert tab.locator(".filters:visible, nav:visible, select:visible").count() == 0
    assert tab.locator("#breakdown h3:visible").all_inner_texts() == ["By split", "By class", "By teacher"]
    tables = tab.evaluate("[...document.querySelectorAll('details table')].map((e) => e.getBoundingClientRect().height)")
    assert tables and all(height > 0 for height in tables)
    assert len(tab.pdf()) > 50_000
    tab.close()


def test_without_scripts_everything_is_there(browser: Any, pages: dict[str, str]) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(pages["full"])
    assert tab.locator(".record:visible").count() == 22
    assert tab.locator("select:visible").count() == 0
    assert tab.locator("#breakdown h3:visible").count() == 3
    context.close()
