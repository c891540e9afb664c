"""report.html in a real browser: chromium and chromedriver must be on PATH (``make`` installs them)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from conformance.report.html import SIZE_LIMIT
from conformance.report.render import render
from tests.unit import sample_run

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the sample run, compared with an earlier one in which a check passed."""
    earlier = sample_run.write(
        tmp_path_factory.mktemp("earlier"),
        lambda row: row | {"raw": "passed", "judged": "passed"} if row["requirement"] == "OCI-TERMINAL" else row,
    )
    return render(sample_run.write(tmp_path_factory.mktemp("run")), earlier)[-1]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    # A skip here would hide that nobody looked at the page.
    assert None not in (binary, driver), "not on PATH: apt-get install chromium chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = str(binary)
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


@pytest.fixture
def page(chromium: webdriver.Chrome, report: Path) -> Iterator[webdriver.Chrome]:
    """The page freshly opened on a desktop; whatever a test does, nothing is fetched and the console is silent."""
    resize(chromium, 1440, 900)
    chromium.get("about:blank")
    chromium.get_log("browser")
    chromium.get_log("performance")
    chromium.get(report.as_uri())
    WebDriverWait(chromium, 10).until(lambda browser: browser.find_element(By.CLASS_NAME, "filters").is_displayed())
    yield chromium
    assert chromium.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    requests = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert requests, "the log of requests must at least hold the page itself"
    assert {url.partition(":")[0] for url in requests} <= {"file", "data"}


def resize(browser: webdriver.Chrome, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def press(browser: webdriver.Chrome, *keys: str) -> None:
    for key in keys:
        browser.switch_to.active_element.send_keys(key)


def rules(browser: webdriver.Chrome) -> list[str]:
    return [
        str(row.get_attribute("data-rule"))
        for row in browser.find_elements(By.CSS_SELECTOR, ".matrix tr[data-rule]")
        if row.is_displayed()
    ]


def toggle(browser: webdriver.Chrome, name: str) -> None:
    browser.find_element(By.NAME, name).send_keys(Keys.SPACE)


def cell(browser: webdriver.Chrome, rule: str, path: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, f'[data-rule="{rule}"] [data-label="{path}"] button')


def dialog_text(browser: webdriver.Chrome) -> str:
    dialog = browser.find_element(By.CSS_SELECTOR, "dialog[open]")
    return dialog.text


def is_open(browser: webdriver.Chrome) -> bool:
    return bool(browser.find_elements(By.CSS_SELECTOR, "dialog[open]"))


def test_it_opens_with_an_answer_for_each_path(page: webdriver.Chrome, report: Path) -> None:
    assert report.stat().st_size < SIZE_LIMIT
    rows = page.find_elements(By.CSS_SELECTOR, ".overview tbody tr")
    assert [row.find_element(By.TAG_NAME, "b").text for row in rows] == list(sample_run.PATHS)
    first = rows[0].text
    assert "with gaps" in first
    assert "49 of 53" in first
    assert len(rules(page)) == len(sample_run.checks())


def test_filters(page: webdriver.Chrome) -> None:
    everything = rules(page)
    toggle(page, "unexpected")
    unexpected = rules(page)
    assert "OCI-PROC-EXIT-42" in unexpected
    assert "OCI-PROC-TRAP" not in unexpected
    toggle(page, "unexpected")

    toggle(page, "differs")
    assert "OCI-PROC-TRAP" in rules(page)
    assert "OCI-CONSOLE-SIZE" not in rules(page)
    toggle(page, "differs")

    toggle(page, "changed")
    assert rules(page) == ["OCI-TERMINAL"]
    toggle(page, "changed")

    page.find_element(By.NAME, "text").send_keys("grace period")
    assert rules(page) == ["OCI-KILL-SLEEP", "OCI-KILL-SPIN"]
    assert page.find_element(By.NAME, "count").text == f"2 of {len(everything)} rules"
    page.find_element(By.NAME, "text").send_keys(" nothing has this")
    assert rules(page) == []
    page.find_element(By.CSS_SELECTOR, "[data-reset]").click()
    WebDriverWait(page, 5).until(lambda browser: rules(browser) == everything)

    page.find_element(By.NAME, "area").send_keys("signals")
    page.find_element(By.NAME, "level").send_keys("MUST")
    assert rules(page) == ["OCI-KILL-TERM", "OCI-KILL-KILL"]


def test_rules_on_which_paths_differ_or_lose_something_can_be_picked(page: webdriver.Chrome) -> None:
    everything = rules(page)
    toggle(page, "between")
    differing = rules(page)
    assert "OCI-PROC-ENV-ONLY" in differing
    assert len(differing) < len(everything)
    toggle(page, "between")
    toggle(page, "lost")
    assert rules(page) == ["OCI-PROC-ENV-ONLY"]


def test_only_paths_with_a_layer_can_be_shown(page: webdriver.Chrome) -> None:
    page.find_element(By.NAME, "layer").send_keys("podman")
    assert cell(page, "OCI-CONSOLE-SIZE", "podman-crun-wasmedge").is_displayed()
    assert not cell(page, "OCI-CONSOLE-SIZE", "crun-wasmedge").is_displayed()


def test_icons_alone_make_room_for_many_paths(page: webdriver.Chrome) -> None:
    wide = cell(page, "OCI-CONSOLE-SIZE", "crun-wasmedge").size["width"]
    toggle(page, "compact")
    small = cell(page, "OCI-CONSOLE-SIZE", "crun-wasmedge")
    assert small.size["width"] < wide / 2
    assert str(small.get_attribute("aria-label")).startswith("failed:")


def test_native_controls_can_be_hidden(page: webdriver.Chrome) -> None:
    assert cell(page, "OCI-CONSOLE-SIZE", "crun-native").is_displayed()
    toggle(page, "controls")
    assert not cell(page, "OCI-CONSOLE-SIZE", "crun-native").is_displayed()
    assert cell(page, "OCI-CONSOLE-SIZE", "crun-wasmedge").is_displayed()


def test_a_cell_opens_and_closes_by_keyboard(page: webdriver.Chrome) -> None:
    page.find_element(By.NAME, "compact").send_keys(Keys.TAB, "")  # Reset
    press(page, Keys.TAB)
    assert page.switch_to.active_element.get_attribute("data-record") == "0"
    press(page, Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert page.switch_to.active_element == cell(page, "OCI-PROC-EXIT-42", "crun-wasmedge")
    press(page, Keys.ENTER)
    shown = dialog_text(page)
    for words in (
        "Exit code 42 reaches the caller",
        "The exit code of the container's process is the exit code of crun run.",
        "assert 0 == 42",
        "nobody expected that",
        "crun-native",
        "crun --root /run/conformance/state run",
        "libwasmedge0",
    ):
        assert words.lower() in shown.lower()
    press(page, Keys.ARROW_RIGHT)
    assert "exit code 255 reaches the caller" in dialog_text(page)
    press(page, Keys.ESCAPE)
    assert not is_open(page)
    assert page.switch_to.active_element == cell(page, "OCI-PROC-EXIT-255", "crun-wasmedge")
    assert page.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_tab_stays_in_the_open_panel(page: webdriver.Chrome) -> None:
    cell(page, "OCI-PROC-TRAP", "crun-wasmedge").click()
    for _ in range(30):
        press(page, Keys.TAB)
        inside = page.execute_script(
            "return document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
        assert inside
        if page.execute_script("return document.activeElement === document.body"):
            break  # the browser's own buttons are next


def test_an_expected_failure_names_its_issue_and_reproduction(page: webdriver.Chrome) -> None:
    cell(page, "OCI-PROC-TRAP", "crun-wasmedge").click()
    issue = page.find_element(By.CSS_SELECTOR, "dialog a[href*='/issues/']")
    assert issue.get_attribute("href") == "https://github.com/containers/crun/issues/0000"
    press(page, Keys.ESCAPE)
    cell(page, "OCI-FILE-DAC", "crun-wasmedge").click()
    assert "conformance reproduce OCI-FILE-DAC" in dialog_text(page)


def test_a_control_is_one_click_away(page: webdriver.Chrome) -> None:
    cell(page, "OCI-CONSOLE-SIZE", "crun-wasmedge").click()
    assert "Also fails natively" in dialog_text(page)
    page.find_element(By.CSS_SELECTOR, "dialog .elsewhere button").click()
    assert "crun-native · crun" in dialog_text(page)


def test_a_verdict_that_also_rests_on_glue_of_ours_says_so(page: webdriver.Chrome) -> None:
    cell(page, "OCI-PROC-ARGS", "podman-crun-wasmedge").click()
    assert "this project's own code between the library and the engine" in dialog_text(page)


def test_commands_can_be_copied(page: webdriver.Chrome) -> None:
    cell(page, "OCI-PROC-EXIT-42", "crun-wasmedge").click()
    page.find_elements(By.CSS_SELECTOR, "dialog .copy")[1].click()
    WebDriverWait(page, 5).until(lambda browser: browser.find_element(By.CSS_SELECTOR, ".said").text == "Copied")
    page.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})
    copied = page.execute_async_script("navigator.clipboard.readText().then(arguments[0], arguments[0])")
    assert str(copied).startswith("crun --root /run/conformance/state run")


def test_hostile_streams_are_shown_and_do_nothing(page: webdriver.Chrome) -> None:
    cell(page, "OCI-PROC-EXIT-42", "crun-wasmedge").click()
    shown = dialog_text(page)
    assert r"</script><script>alert(1)</script> ]]> \x1b[31mred\x1b[0m \x00 \ufffe \ud800 & <b>\u202edlrow" in shown


def test_a_link_opens_its_cell(page: webdriver.Chrome, report: Path) -> None:
    cell(page, "OCI-TERMINAL", "crun-wasmedge").click()
    link = page.current_url
    page.get("about:blank")
    page.get(link)
    assert "a terminal is a terminal" in dialog_text(page).lower()
    assert "was passed" in dialog_text(page)


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1440])
def test_no_width_scrolls_the_page_sideways(page: webdriver.Chrome, width: int) -> None:
    resize(page, width, 844)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    cell(page, "OCI-PROC-EXIT-42", "crun-wasmedge").click()
    assert page.execute_script("return document.querySelector('dialog').scrollWidth") <= width
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_tables_are_tables_to_a_screen_reader_also_on_a_phone(page: webdriver.Chrome) -> None:
    resize(page, 390, 844)
    nodes = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = [node["role"]["value"] for node in nodes if "role" in node]
    assert roles.count("table") == 2
    assert roles.count("rowheader") >= len(sample_run.checks())
    names = {
        node["name"]["value"] for node in nodes if node.get("role", {}).get("value") == "button" and "name" in node
    }
    assert "failed ≠ native: OCI-PROC-EXIT-42, crun-wasmedge" in names
