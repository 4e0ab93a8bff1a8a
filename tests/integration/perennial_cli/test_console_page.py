"""The console's page in a browser, over answers that are given: what it shows, to whom, and what it lets others do."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.base import AXE_FILE_PATH

from perennial_cli.run_flow import State
from perennial_cli.web import series
from tests import browser, verdicts
from tests.canned_console import (
    HOSTILE,
    RUN,
    STACK,
    TOKEN,
    CannedConsole,
    Refused,
    all_answers,
    flow,
    forecast,
    jobs,
    record,
    trained,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.xdist_group("console-page")  # one browser
REFUSED = "Failed to load resource: the server responded with a status of 400 (Bad Request)"
PAGES = ("runs", "versions", "ask", "drift", "lineage", "mails", "faults", "logs?group=x", f"runs/{RUN}")
NONE = "\N{EN DASH}"
SOMEBODY = "attacker.example"
DARK, LIGHT = "rgb(13, 17, 23)", "rgb(255, 255, 255)"


@pytest.fixture(scope="module")
def served() -> Iterator[CannedConsole]:
    console = CannedConsole()
    with console.served():
        yield console


@pytest.fixture(scope="module")
def window(served: CannedConsole) -> Iterator[tuple[Page, list[str]]]:
    """A page of a browser at the console, and what goes wrong in it or leads elsewhere."""
    with browser.launched(f"--host-resolver-rules=MAP {SOMEBODY} 127.0.0.1") as chromium:
        page = chromium.new_context().new_page()
        yield page, browser.visit(page, f"{served.address}/#token={TOKEN}")


@pytest.fixture
def console(served: CannedConsole) -> CannedConsole:
    served.answers, served.asked = all_answers(), []
    return served


@pytest.fixture
def expected() -> list[str]:
    """What the browser says of what a test lets fail."""
    return []


@pytest.fixture
def page(console: CannedConsole, window: tuple[Page, list[str]], expected: list[str]) -> Iterator[Page]:
    """The page, in which nothing else goes wrong, and that asks nobody else."""
    page, wrong = window
    page.set_viewport_size({"width": 1280, "height": 900})
    wrong.clear()
    yield page
    assert wrong == expected


def look(page: Page, path: str) -> None:
    """Go to a view, and wait until it is there, made anew."""
    page.locator("#pages a").first.wait_for(state="attached")  # until then the page does not listen
    page.evaluate(
        """(hash) => new Promise((done) => {
          addEventListener("hashchange", () => done(), { once: true });
          location.hash = hash;
        })""",
        f"#/{path}{'&' if '?' in path else '?'}look={next(_looks)}",
    )
    page.locator("h1:focus").wait_for()


_looks = count()


def test_series_are_asked_about_and_answered_with_a_table_and_a_drawing_of_the_band(console, page) -> None:
    console.answers["GET record"] = {"series": series.form(jobs())}
    console.answers["GET stack"] |= {"target": "employed", "unit": "thousand people"}
    console.answers["POST predictions"] = {"problems": [HOSTILE], "forecasts": [forecast(HOSTILE)]}
    look(page, "ask")
    lines = page.get_by_label("Series")
    assert lines.input_value() == series.form(jobs())["example"]
    page.get_by_text("A forecast is not explained by features").wait_for()
    lines.fill('{"item_id": 1}')
    page.get_by_role("button", name="Ask").click()
    drawn = page.get_by_role("img", name="value, thousand people by periods ahead: before, median, band")
    drawn.wait_for()
    assert drawn.locator("path[stroke-dasharray]").count() == 2, "the band has two edges"
    assert page.get_by_role("row").nth(1).inner_text().split() == ["2026-01-01", "960", "1,000", "1,040"]
    page.get_by_role("alert").filter(has_text=HOSTILE).wait_for()
    assert console.asked[-1] == ("POST predictions", {"stack": "perennial-used-cars"}, {"series": '{"item_id": 1}'})


def test_a_view_that_fails_says_what_happened_and_what_to_do_where_the_focus_is(console, page, expected) -> None:
    console.answers["GET versions"] = Refused(f"AccessDenied: {HOSTILE}")
    expected.append(REFUSED)
    look(page, "versions")
    assert page.locator("h1:focus").inner_text() == "Versions cannot be shown"
    page.get_by_text(f"AccessDenied: {HOSTILE}").wait_for()
    console.answers = all_answers()
    page.get_by_role("button", name="Try again").press("Enter")
    page.get_by_role("button", name="Approve version 3").wait_for()
    assert page.locator("h1:focus").inner_text() == "Versions"


def test_an_error_of_the_consoles_own_says_where_more_stands(page, expected) -> None:
    page.route("**/api/versions?*", lambda route: route.fulfill(status=500, body="Internal Server Error"))
    expected.append(REFUSED.replace("400 (Bad Request)", "500 (Internal Server Error)"))
    look(page, "versions")
    page.unroute_all()
    assert page.locator("h1:focus").inner_text() == "Versions cannot be shown"
    page.get_by_text("500 Internal Server Error: where the console was started, or in the log of").wait_for()


def test_without_the_token_it_says_where_it_is_and_shows_nothing(console, page) -> None:
    with page.context.browser.new_context() as another:
        stranger = another.new_page()
        browser.visit(stranger, console.address)
        stranger.locator("h1:focus").wait_for()
        assert stranger.locator("h1").inner_text() == "The console cannot begin"
        stranger.get_by_text("open the address that `perennial console` or `perennial local status` prints").wait_for()
    assert console.asked == []


@pytest.mark.parametrize("path", ["%", "none", "runs/..%2f..%2fx", "runs/%00", "<b>"])
def test_an_address_that_is_none_leads_to_a_page_that_says_so_or_to_the_runs(page, expected, path: str) -> None:
    look(page, path)
    assert page.locator("h1:focus").inner_text() in ("Runs cannot be shown", f"Runs of {STACK}")
    page.get_by_text("no answer to" if "/" in path else "They go to").wait_for()
    expected += [REFUSED] * 2 * ("/" in path)


# ---- What each page shows


@pytest.mark.parametrize("path", PAGES)
def test_what_data_say_stays_text_wherever_it_stands(page: Page, path: str) -> None:
    """No element is made of it, no script runs, nothing is loaded; the page says what it is."""
    look(page, path)
    if path == "ask":
        page.get_by_role("button", name="Ask").click()
    if path == "mails":
        page.locator("summary").click()
    page.locator("main").get_by_text(HOSTILE).locator("visible=true").first.wait_for()
    page.locator("option").filter(has_text=HOSTILE).first.wait_for(state="attached")
    assert page.locator("img, body script, iframe, object, [onerror], [href^=javascript]").count() == 0


def test_the_flow_is_drawn_as_the_run_works_without_a_reload(console, page) -> None:
    begun = State("Preprocess", "Running", "2026-11-20T09:34:40.000Z", 1)
    console.answers[f"GET runs/{RUN}/flow"] = flow("Running", begun)
    look(page, f"runs/{RUN}")
    page.locator("g.state.Running").filter(has_text="Preprocess").first.wait_for()
    assert page.locator("g.state.Succeeded, .lead.taken").count() == 0
    console.answers[f"GET runs/{RUN}/flow"] = flow(
        "Running",
        State("Preprocess", "Succeeded"),
        State("Is there anything to ingest?", "Succeeded"),
        State("Seal preprocessor", "Running"),
    )
    page.locator("g.state.Running").filter(has_text="Seal").first.wait_for()
    page.locator("g.state.Succeeded").filter(has_text="Preprocess").first.wait_for()
    assert page.locator("polyline.lead.taken").count() == 2
    page.get_by_role("status").filter(has_text="Working: Seal preprocessor").wait_for()


def test_what_a_state_and_a_run_cost_is_reckoned_before_the_reader(console, page) -> None:
    unpriced = trained()
    unpriced.name, unpriced.usd = "Tune", None
    unpriced.billed = [{"machine": "ml.x9.huge", "count": 1, "seconds": 10, "usd_an_hour": None}]
    console.answers[f"GET runs/{RUN}/flow"] = flow("Succeeded", State("Resolve", "Succeeded"), trained(), unpriced)
    look(page, f"runs/{RUN}")
    page.get_by_role("row").get_by_role("button", name="Train").click()
    chosen = page.get_by_label("The chosen state")
    chosen.get_by_text("1,800 s of 2 ml.m5.large at 0.115 USD an hour").wait_for()
    assert round(1800 * 2 * 0.115 / 3600, 6) == 0.115
    cells = page.locator("tbody tr td.number:nth-child(4)")
    assert cells.all_inner_texts()[:3] == ["no job", "0.115 USD", "not known yet"]
    page.get_by_text(
        "0.115 USD: the billed seconds of its jobs at public prices of us-east-1 (2026-11-29), without ml.x9.huge, "
        "whose price is not known; nothing is billed here"
    ).wait_for()


def test_what_the_role_may_not_see_of_costs_is_said(console, page, expected) -> None:
    console.answers["GET cost"] = Refused("AccessDenied: no cost for you")
    expected.append(REFUSED)
    look(page, "runs")
    page.get_by_text("AccessDenied: no cost for you").wait_for()


def test_the_chart_has_each_run_the_model_in_service_then_and_the_threshold(console, page) -> None:
    console.answers["GET runs"] = [
        record(f"2026112{day}093440-1a2b", "Succeeded", 2000.0 - day, 2100.0 if day else None) for day in (2, 1, 0)
    ]
    look(page, "runs")
    drawn = page.get_by_role("img", name="rmse of 3 runs; the newest has 1,998, the threshold is 3,000")
    drawn.wait_for()
    assert [drawn.locator(f"circle.{kind}").count() for kind in ("candidate", "champion")] == [3, 2]
    places = drawn.locator("circle.candidate").evaluate_all("all => all.map((one) => Number(one.getAttribute('cx')))")
    assert places == sorted(places), "the oldest stands first"
    assert drawn.locator("path.threshold[d^=M]").count() == 1


def test_drift_is_shown_by_feature_over_windows_the_oldest_first(console, page) -> None:
    known = [verdicts.drifted("mileage"), verdicts.drifted("doors")]
    for number, one in enumerate(known):
        one |= {"id": f"2026112{number}120000-1a2b", "window": {"start": f"2026-11-2{number}T10:00:00Z", "end": ""}}
    console.answers["GET windows"] = known[::-1]
    look(page, "drift")
    table = page.get_by_role("table", name="The largest distance by feature, the oldest window first")
    assert [row.split("\t") for row in table.inner_text().splitlines()[1:]] == [
        ["feature", "11-20 10:00", "11-21 10:00"],
        ["mileage", "0.4 drifted", NONE],
        ["doors", NONE, "0.4 drifted"],
    ]


# ---- What a person does


def test_files_are_dropped_as_a_hand_drops_them_and_their_run_is_followed(console, page, tmp_path) -> None:
    for name in ("one.csv", "two <b>.csv"):
        (tmp_path / name).write_text(name)
    console.answers["POST files"] = lambda query, body: {"version": query["name"]}
    console.answers["GET dropped/two <b>.csv"] = {"run": RUN}
    look(page, "runs")
    let_go(page, ".drop", *sorted(tmp_path.iterdir()))
    page.get_by_role("heading", name=f"Run {RUN}").wait_for()
    sent = [(query["name"], body) for what, query, body in console.asked if what == "POST files"]
    assert sent == [("one.csv", b"one.csv"), ("two <b>.csv", b"two <b>.csv")]


def test_a_file_is_chosen_as_well(console, page, tmp_path) -> None:
    (tmp_path / "one.csv").write_text("a,b")
    console.answers["POST files"] = {"version": "v"}
    console.answers["GET dropped/v"] = {"run": RUN}
    look(page, "runs")
    page.get_by_label("Drop data files here, or choose some").set_input_files(tmp_path / "one.csv")
    page.get_by_role("heading", name=f"Run {RUN}").wait_for()


def test_a_folder_is_refused_in_words_and_a_file_beside_the_place_opens_nothing(console, page, tmp_path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "one.csv").write_text("a,b")
    look(page, "runs")
    let_go(page, ".drop", tmp_path / "data")
    page.get_by_role("alert").filter(has_text="data is a folder; drop the files in it.").wait_for()
    let_go(page, "h1", tmp_path / "one.csv")
    assert page.url.startswith(f"{console.address}/#/runs")
    assert not [what for what, _, _ in console.asked if what == "POST files"]


def let_go(page: Page, where: str, *files: object) -> None:
    """Let files go over an element, as the system tells the browser."""
    box = page.locator(where).bounding_box()
    assert box
    devtools = page.context.new_cdp_session(page)
    dragged = {"items": [], "files": [str(one) for one in files], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        devtools.send("Input.dispatchDragEvent", {"type": kind, "x": box["x"] + 20, "y": box["y"] + 9, "data": dragged})


def test_whose_role_may_not_approve_reads_why_beside_the_versions(console, page, expected) -> None:
    console.answers["POST versions/3"] = Refused("AccessDeniedException: no policy allows sagemaker:UpdateModelPackage")
    expected.append(REFUSED)
    look(page, "versions")
    page.get_by_role("button", name="Approve version 3").press("Enter")
    page.get_by_role("alert").filter(has_text="no policy allows sagemaker:UpdateModelPackage").wait_for()


def test_where_it_only_reads_nothing_can_be_changed_and_each_page_says_why(console, page) -> None:
    console.answers["GET whom"] |= {"is_local": False, "may_change": False, "whom": "AWS, account 1"}
    page.reload()
    page.get_by_text("AWS, account 1, read-only").wait_for()
    for path in ("runs", "versions", "ask"):
        look(page, path)
        page.get_by_text("Read-only: ").wait_for()
        assert page.locator("main input:enabled[type=file], main button:enabled").count() == 0
    links = page.get_by_role("navigation").get_by_role("link").all_inner_texts()
    assert not {"Mails", "Faults"} & set(links), "these are the local cloud's"
    console.answers = all_answers()
    page.reload()


def test_a_price_is_explained_by_what_adds_up_to_it(page) -> None:
    look(page, "ask")
    assert page.get_by_label("doors").get_attribute("aria-describedby") == "field-doors-hint"
    assert page.locator("#field-doors-hint").inner_text() == "2 to 5", "as the definition allows"
    page.get_by_label("mileage").fill("12000")
    page.get_by_role("button", name="Ask").press("Enter")
    page.get_by_text("24,000.1 USD").wait_for()
    added = page.locator("td[data-name=adds]").all_inner_texts()
    *parts, price = (float(text.replace(",", "")) for text in added)
    assert sum(parts) == pytest.approx(price, abs=0.1)


# ---- Who can use it


@pytest.mark.parametrize("path", [*PAGES, "series", "failed"])
def test_every_page_is_for_readers_and_phones_in_the_dark_and_in_the_light(console, page, expected, path: str) -> None:
    """axe-core finds no fault (WCAG 2.2 AA and its best practices), and nothing is wider than 360 pixels."""
    if path == "series":
        console.answers["GET record"] = {"series": series.form(jobs())}
        console.answers["POST predictions"] = {"problems": [], "forecasts": [forecast(HOSTILE)]}
    if path == "failed":
        console.answers["GET versions"] = Refused(HOSTILE)
        expected.append(REFUSED)
    page.set_viewport_size({"width": 360, "height": 740})
    look(page, {"series": "ask", "failed": "versions"}.get(path, path))
    if path in ("ask", "series"):
        page.get_by_role("button", name="Ask").click()
        page.get_by_role("table").wait_for()
    page.evaluate(AXE_FILE_PATH.read_text())
    for scheme, paper, rules in (("dark", DARK, ALL_RULES), ("light", LIGHT, COLOURS)):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        cut = page.evaluate(CUT)
        assert cut == []
        faults = page.evaluate(AXE, rules)
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in faults] == []


AXE = "async (rules) => (await axe.run(rules)).violations"
ALL_RULES = {"rules": {"target-size": {"enabled": True}}}
COLOURS = {"runOnly": ["color-contrast"]}  # the only ones that another scheme can break
# Texts of tables that a phone's screen cuts off: only drawings and logs scroll.
CUT = """() => [...document.querySelectorAll(".scrolls")].filter((one) => one.querySelector("table"))
  .filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.textContent)"""


@pytest.mark.parametrize("path", PAGES)
def test_the_keyboard_comes_to_every_control_in_its_order_is_seen_there_and_gets_out_again(page: Page, path) -> None:
    page.set_viewport_size({"width": 1280, "height": 400})
    look(page, path)
    page.evaluate("document.getElementById('status').textContent = 'what happens'")
    wanted = page.evaluate(CONTROLS)
    page.locator("#skip").focus()
    came = [page.evaluate(ACTIVE)]
    for _ in range(wanted):
        page.keyboard.press("Tab")
        came.append(page.evaluate(ACTIVE))
    places = [place for place, _ in came[:wanted]]
    assert places == sorted(set(places)), "each once, in the order of the page"
    assert [unseen for _, unseen in came[1:wanted] if unseen] == []
    assert came[wanted][0] not in places[1:], "and out of it"


def test_whoever_answers_asks_or_clears_by_the_keyboard_stays_where_that_was(console, page) -> None:
    console.answers["POST versions/3"] = {
        "version": 3,
        "status": "Approved",
        "before": "Pending",
        "outcome": "It serves.",
    }
    look(page, "versions")
    button = page.get_by_role("button", name="Approve version 3")
    button.focus()
    console.answers["GET versions"][0]["status"] = "Approved"
    page.keyboard.press("Enter")
    page.locator("button:disabled[aria-label='Approve version 3']").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED) == RUN, "the first control of the list"

    console.answers["POST faults/clear"] = {}
    look(page, "faults")
    page.get_by_role("button", name="Clear fault 1").focus()
    console.answers["GET faults"] = {"faults": []}
    page.keyboard.press("Enter")
    page.get_by_text("Nothing.").wait_for()
    assert page.evaluate(FOCUSED) == "What will failNothing."

    look(page, "ask")
    page.get_by_role("button", name="Ask").press("Enter")
    page.get_by_role("table").wait_for()
    assert page.evaluate(FOCUSED) == "Ask"


FOCUSED = "document.activeElement.textContent"


def test_whoever_skips_to_the_content_is_there(page: Page) -> None:
    look(page, "versions")
    page.locator("#skip").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "reason"


# Where the focus is among all elements, and whether it is seen: a ring says so (of a state of the drawing its thick
# edge), and nothing lies over it, such as the line that tells what happens.
ACTIVE = """() => {
  const one = document.activeElement, shape = one.querySelector(":scope > .shape");
  const { outlineStyle, outlineWidth } = getComputedStyle(one);
  const is_ringed = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
  const is_thick = shape && getComputedStyle(shape).strokeWidth === "5px";
  const { left, bottom } = (shape || one).getBoundingClientRect();
  const above = document.elementFromPoint(left + 9, Math.min(bottom - 5, innerHeight - 99));
  const unseen = (is_ringed || is_thick) && one.contains(above) ? "" : one.outerHTML.slice(0, 99);
  return [[...document.querySelectorAll("*")].indexOf(one), unseen];
}"""
CONTROLS = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
  .filter((one) => !one.disabled && one.checkVisibility()).length"""


# ---- What others may do


def test_the_token_leaves_the_address_and_another_tab_needs_none(console, page) -> None:
    page.goto(f"{console.address}/#token={TOKEN}")
    page.wait_for_url(f"{console.address}/#/")
    other = page.context.new_page()
    assert browser.visit(other, f"{console.address}/#/versions") == []
    other.get_by_role("button", name="Approve version 3").wait_for()
    other.close()
    assert not [query for _, query, _ in console.asked if TOKEN in str(query)]


ATTACK = """async ([address, token]) => {
  const body = '{"status": "Approved"}', form = document.createElement("form");
  Object.assign(form, { action: `${address}/api/versions/3`, method: "POST", target: "frame" });
  form.innerHTML = `<input name="{&quot;status&quot;:&quot;Approved&quot;,&quot;a" value="&quot;:1}">`;
  document.body.append(form);
  form.submit();
  const tries = [
    fetch(`${address}/api/versions/3`, { method: "POST", mode: "no-cors", body }),
    fetch(`${address}/api/versions/3`, { method: "POST", headers: { "x-perennial-token": token }, body }),
    fetch(`${address}/api/versions`, { headers: { "x-perennial-token": token } }),
    import(`${address}/api.js`),
  ];
  return (await Promise.allSettled(tries)).map((one) => one.value?.type || "refused");
}"""


@pytest.mark.parametrize("where", [f"http://{SOMEBODY}", "http://127.0.0.1:9"], ids=["of the web", "of this machine"])
def test_another_page_of_the_browser_changes_nothing_and_reads_nothing(console, page, where: str) -> None:
    """It sends forms, asks with the token even, and puts the console into a frame."""
    text = f'<body><iframe name="frame" src="about:blank"></iframe><iframe src="{console.address}/"></iframe>'
    page.context.route(f"{where}/", lambda route: route.fulfill(body=text, content_type="text/html"))
    other = page.context.new_page()
    other.goto(f"{where}/")
    tried = other.evaluate(ATTACK, [console.address, TOKEN])
    frames = [one.url for one in other.frames[1:]]
    other.close()
    page.context.unroute_all()
    assert (tried, console.asked) == (["refused"] * 4, [])
    assert frames[1].startswith("chrome-error:"), "nobody may frame it"


def test_a_name_of_somebody_elses_that_leads_here_is_refused(console, page) -> None:
    """DNS rebinding: the browser takes the console for a part of the attacker's site."""
    other = page.context.new_page()
    answer = other.goto(f"http://{SOMEBODY}:{urlsplit(console.address).port}/")
    assert answer
    assert (answer.status, SOMEBODY in answer.json()["message"], console.asked) == (421, True, [])
    other.close()
