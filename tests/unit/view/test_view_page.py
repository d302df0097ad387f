"""The page in a real browser: it shows rows, filters, opens a row, keeps its state in the address, and is accessible."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from synth_ray.view.rows import Rows
from synth_ray.view.server import ViewServer
from tests.unit.view.conftest import Published

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the page is not tested in a browser")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: the page is not tested")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here: the page is not tested in a browser"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def url(viewed: Rows) -> Iterator[str]:
    with ViewServer(viewed, meanings={"near_duplicate": "It is close to a kept row."}) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


class Opened:
    """A page with what its console and its network had to say."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.page.goto(url)
        self.page.locator("select[name='is.verdict']").wait_for(state="attached")

    def status(self, text: str) -> None:
        sync_api.expect(self.page.locator("#status")).to_have_text(text)

    def close(self, url: str) -> None:
        assert self.errors == [] and self.hosts == {url.split("/")[2]}
        self.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 1280])
def test_the_page_is_accessible_and_fits_in_light_and_dark_on_a_phone_and_a_desk(
    width: int, scheme: str, browser: Any, url: str, published: Published
) -> None:
    opened = Opened(browser, url, viewport={"width": width, "height": 800}, color_scheme=scheme)
    opened.status(f"Rows 1 to 50 of {len(published.rows)}")
    assert_accessible(opened.page)
    opened.page.goto(f"{url}?is.reason=near_duplicate&text=a&sort=similarity&descending=1")
    opened.page.locator("#rows a").first.click()
    opened.page.locator("dialog .pair").first.wait_for()
    opened.page.get_by_text("What was found in it").or_(opened.page.get_by_text("Columns")).first.wait_for()
    assert_accessible(opened.page)
    opened.close(url)


def assert_accessible(page: Any) -> None:
    violations = axe.Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in violations if v["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it is wider than the screen"


def test_filters_a_row_and_the_page_are_in_the_address_and_the_way_back(browser: Any, url: str, published: Published) -> None:
    opened = Opened(browser, url, viewport={"width": 1280, "height": 800})
    page, echoes = opened.page, [row for row in published.rows if row.get("reason") == "echo"]
    page.locator("#next").click()
    opened.status(f"Rows 51 to {len(published.rows)} of {len(published.rows)}")
    page.get_by_label("reason").select_option(label=f"echo · {len(echoes)}")
    opened.status(f"Rows 1 to {len(echoes)} of {len(echoes)}")
    assert "is.reason=echo" in page.url and "page=" not in page.url
    page.locator("#rows a").first.focus()
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#row-title")).to_have_text(f"Row {echoes[0]['id']}")
    page.keyboard.press("ArrowRight")
    sync_api.expect(page.locator("#row-title")).to_have_text(f"Row {echoes[1]['id']}")
    shared = Opened(browser, page.url)
    sync_api.expect(shared.page.locator("#row-title")).to_have_text(f"Row {echoes[1]['id']}")
    shared.close(url)
    page.keyboard.press("Escape")
    sync_api.expect(page.locator("dialog")).to_be_hidden()
    page.go_back()
    sync_api.expect(page.locator("dialog")).to_be_visible()
    page.go_back()
    sync_api.expect(page.locator("dialog")).to_be_hidden()
    page.go_back()
    opened.status(f"Rows 51 to {len(published.rows)} of {len(published.rows)}")
    assert page.get_by_label("reason").input_value() == ""
    opened.close(url)


def test_text_is_found_and_marked_and_markup_in_a_row_is_only_text(browser: Any, url: str, published: Published) -> None:
    opened = Opened(browser, url)
    page = opened.page
    page.keyboard.press("/")
    page.keyboard.type("<SCRIPT>alert", delay=20)
    found = [row for row in published.rows if any("<script>" in (row[name] or "") for name in ("prompt", "completion"))]
    opened.status(f"Rows 1 to {len(found)} of {len(found)}")
    assert {text.lower() for text in page.locator("#rows mark").all_inner_texts()} == {"<script>alert"}
    assert page.locator("#name").inner_text() == "<b>awkward</b> rows"
    labels = page.get_by_label("label", exact=True)
    labels.select_option(label=labels.locator("option", has_text="(none)").text_content())
    none = [row for row in found if row["label"] is None]
    opened.status(f"Rows 1 to {len(none)} of {len(none)}" if none else "No row matches.")
    page.get_by_text("Show all rows").click()
    opened.status(f"Rows 1 to 50 of {len(published.rows)}")
    opened.close(url)


def test_a_duplicate_is_beside_its_kept_row_with_the_difference_marked(browser: Any, url: str, published: Published) -> None:
    row = next(row for row in published.rows if row.get("witness"))
    kept = next(one for one in published.rows if one["id"] == row["witness"])
    opened = Opened(browser, f"{url}?row={row['id']}")
    sides = opened.page.locator("dialog .pair .body")
    sync_api.expect(sides).to_have_count(4)
    texts = [(row["prompt"] or ""), (kept["prompt"] or ""), (row["completion"] or ""), (kept["completion"] or "")]
    assert [side.evaluate("one => one.textContent") for side in sides.all()] == texts
    assert opened.page.locator("dialog .pair del").count() + opened.page.locator("dialog .pair ins").count() > 0
    opened.page.get_by_text("open the other row").click()
    sync_api.expect(opened.page.locator("#row-title")).to_have_text(f"Row {kept['id']}")
    opened.close(url)
