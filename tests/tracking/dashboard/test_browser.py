"""The pages in a real browser. The fixture also fails where one loads from another host or breaks its own policy."""

import re
import uuid

import pytest
from playwright.sync_api import Locator, Page, expect
from servers.browser import expect_drawn, press_enter

ATTACK = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
SCORES = [0.9, 0.5, 0.7, 0.4, 0.6]


@pytest.fixture(scope="module")
def mark(tracking):
    """A tag of three finished runs with different depths, and one that runs still; no test changes them."""
    shop = tracking.client("shop")
    mark = f"m-{uuid.uuid4().hex[:8]}"
    for depth in (4, 6, 8):
        finish(shop, f"{mark} depth {depth}", depth=depth, final_score=depth / 10, tags=[mark])
    shop.create_run(runName=f"{mark} open", tags=[mark], optimizerType="knn", status="running")
    return mark


def finish(shop, name, *, depth, final_score, tags):
    run = shop.create_run(
        runName=name,
        tags=tags,
        optimizerType="custom",
        direction="minimize",
        initialScore=1.0,
        config={"depth": depth, "learner": {"rate": 0.1}},
    )
    steps = [
        {"iteration": number, "score": score, "params": {"depth": depth + number, "kind": "ab"[number % 2], "seed": 3}}
        for number, score in enumerate(SCORES)
    ]
    shop.post(f"/runs/{run['id']}/iterations/batch", {"iterations": steps})
    samples = [
        {"iteration": 4, "sampleIndex": number, "predictedOutput": number / 10 + 0.01, "expectedOutput": number / 10}
        for number in range(8)
    ]
    shop.post(f"/runs/{run['id']}/samples", {"samples": [{**one, "isCorrect": True} for one in samples]})
    return shop.patch(f"/runs/{run['id']}", {"status": "completed", "finalScore": final_score}).json()["data"]


def names(page: Page) -> Locator:
    """Return the names of the listed runs."""
    return page.locator("table.runs tbody .name > a")


def test_a_key_is_entered_once_and_kept_where_no_script_reads_it(open_browser, tracking):
    key = tracking.keys["shop"]
    browser = open_browser()
    page = browser.open("/?search=nothing-of-the-kind")
    expect(page.get_by_label("API key")).to_be_focused()
    page.keyboard.type("sk_live_wrong")
    press_enter(page)
    expect(page.get_by_role("alert")).to_have_text("The key is unknown, revoked or expired.")
    page.get_by_label("API key").fill(key)
    press_enter(page)
    expect(page.get_by_role("heading", name="No run matches")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/dashboard/\?search=nothing-of-the-kind$"))
    (cookie,) = browser.context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict" and cookie["expires"] == -1
    assert key not in cookie["value"] and not any(key in url for url in browser.requests)
    assert page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    assert browser.context.cookies() == []


def test_filters_narrow_the_runs_and_sorting_and_pages_keep_them(browser, shop, mark):
    page = browser.open()
    page.get_by_label("Tag").fill(mark)
    page.get_by_role("button", name="Filter").click()
    expect(names(page)).to_have_text([f"{mark} open", f"{mark} depth 8", f"{mark} depth 6", f"{mark} depth 4"])
    page.get_by_label("completed").check()
    page.get_by_role("button", name="Filter").click()
    expect(names(page)).to_have_count(3)
    expect(page.get_by_label(mark, exact=True)).to_be_checked()
    for order in ("descending", "ascending"):
        page.get_by_role("link", name="Final").click()
        expect(page.get_by_role("columnheader", name="Final")).to_have_attribute("aria-sort", order)
    expect(names(page)).to_have_text([f"{mark} depth {depth}" for depth in (4, 6, 8)])
    page.get_by_label("Name has").fill("DEPTH 6")
    page.get_by_text("More filters").click()
    page.get_by_label("Created from (UTC)").fill("2020-01-01T00:00")
    page.get_by_label("Config holds (JSON)").fill('{"depth": 6}')
    page.get_by_role("button", name="Filter").click()
    expect(names(page)).to_have_text([f"{mark} depth 6"])
    page.get_by_label("Created before (UTC)").fill("2020-01-02T00:00")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("heading", name="No run matches")).to_be_visible()
    expect(page.get_by_label("Created before (UTC)")).to_have_value("2020-01-02T00:00")


def test_pages_lead_on_to_every_run_once(browser, shop):
    mark = f"p-{uuid.uuid4().hex[:8]}"
    for number in range(30):
        shop.create_run(runName=f"{mark} {number}", tags=[mark])
    page = browser.open(f"/?tags={mark}")
    newest_first = [f"{mark} {number}" for number in reversed(range(30))]
    expect(page.get_by_text("25 of 30 runs")).to_be_visible()
    expect(names(page)).to_have_text(newest_first[:25])
    page.get_by_role("link", name="Next page").click()
    expect(page.get_by_role("link", name="First page")).to_be_visible()
    expect(names(page)).to_have_text(newest_first[25:])
    expect(page.get_by_role("link", name="Next page")).to_have_count(0)


def test_a_run_shows_its_history_its_parameters_and_its_samples(browser, mark):
    page = browser.open(f"/?tags={mark}")
    page.get_by_role("link", name=f"{mark} depth 4").click()
    history = page.get_by_role("application").first
    expect(history).to_have_attribute(
        "aria-label", re.compile("from 0.9 to 0.6; best 0.4, reached at iteration 3.* A table")
    )
    expect(page.locator("figure h3")).to_have_text(["kind", "depth"])
    expect(page.get_by_text("The same in every iteration: seed 3.")).to_be_visible()
    expect_drawn(page, charts=3)
    page.get_by_text("Iterations as a table").click()
    scores = page.get_by_role("region", name="Iterations").locator("tbody td:first-of-type")
    expect(scores).to_have_text(["0.9", "0.5", "0.7", "0.4 best", "0.6"], use_inner_text=True)
    page.get_by_role("link", name="Samples").click()
    expect(page.get_by_text("8 of 8 samples")).to_be_visible()
    expect_drawn(page, charts=1)
    page.get_by_label("Correct").select_option("wrong")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("heading", name="No samples match")).to_be_visible()


def test_runs_are_chosen_compared_and_read_with_the_keyboard_alone(browser, mark):
    page = browser.open(f"/?tags={mark}&status=completed")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    for name in ("depth 8", "depth 6"):
        tab_to(page, f"Compare {mark} {name}")
        page.keyboard.press("Space")
    tab_to(page, "Compare the chosen")
    press_enter(page)
    expect(page.get_by_role("heading", name="Compare 2 runs")).to_be_visible()
    expect(page.locator("tr.differs th")).to_have_text("depth ≠ differs", use_inner_text=True)
    expect(page.locator("tr.differs td")).to_have_text(["8", "6"])
    tab_to(page, "Best score so far over the iterations of 2 runs.")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for key, said in (
        ("ArrowRight", f"iteration 0, {mark} depth 8 0.9, {mark} depth 6 0.9"),
        ("ArrowRight", f"iteration 1, {mark} depth 8 0.5, {mark} depth 6 0.5"),
        ("End", f"iteration 4, {mark} depth 8 0.4, {mark} depth 6 0.4"),
    ):
        page.keyboard.press(key)
        expect(page.get_by_role("status")).to_have_text(said)
    expect_drawn(page, charts=1)
    expect(page.get_by_role("rowheader", name="learner.rate")).to_have_count(0)
    tab_to(page, "Show all keys")
    press_enter(page)
    expect(page.get_by_role("rowheader", name="learner.rate")).to_have_count(1)


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the element of that name has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        label = page.evaluate(
            "document.activeElement.ariaLabel ?? document.activeElement.textContent.trim().replace(/\\s+/g, ' ')"
        )
        if label.startswith(name):
            return
    raise AssertionError(f"no press of Tab leads to {name!r}")


def test_the_leaderboard_has_the_best_first_in_either_direction(browser, mark):
    ranked = [f"{mark} depth {depth}" for depth in (4, 6, 8)]
    page = browser.open(f"/leaderboard?tags={mark}")  # all of them minimize
    expect(names(page)).to_have_text(ranked)
    page = browser.open(f"/leaderboard?tags={mark}&direction=maximize")
    expect(page.get_by_role("heading", name="No completed run is ranked here")).to_be_visible()
    page.get_by_role("link", name="on the other board").click()
    expect(names(page)).to_have_text(ranked)
    expect(page.locator("td.rank")).to_have_text(["1", "2", "3"])


def test_what_a_run_holds_is_shown_as_text_and_never_run(browser, shop):
    run = shop.create_run(
        runName=ATTACK,
        tags=[ATTACK],
        config={ATTACK: ATTACK},
        metadata={"m": "</script>" + ATTACK},
        errorMessage=ATTACK,
    )
    step = {"iteration": 0, "score": 1, "params": {ATTACK: ATTACK, "n": 1}}
    steps = [step, {**step, "iteration": 1, "params": {ATTACK: "</script>" + ATTACK, "n": 2}}]
    shop.post(f"/runs/{run['id']}/iterations/batch", {"iterations": steps})
    sample = {"iteration": 0, "sampleIndex": 0, "input": ATTACK, "predictedOutput": {ATTACK: 1}, "errorMessage": ATTACK}
    shop.post(f"/runs/{run['id']}/samples", {"samples": [{**sample, "expectedOutput": {ATTACK: 2}}]})
    other = shop.create_run(runName="harmless", config={"a": 1})
    for path in (
        "/",
        f"/runs/{run['id']}",
        f"/runs/{run['id']}/samples",
        f"/compare?run={run['id']}&run={other['id']}",
    ):
        page = browser.open(path)
        expect(page.get_by_text("<img src=x onerror=").first).to_be_visible()
        assert page.locator("img[src=x]").count() == 0 and page.title() != "taken"
    page = browser.open("/")
    # Even a script that got into a page would not run.
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'document.title=1'}))")
    assert page.title() != "1" and "script-src" in browser.faults.pop()
    page.locator("a.tag", has_text="<img").first.click()
    expect(page).to_have_url(re.compile("tags="))
    expect(names(page).first).to_have_text(ATTACK)


def test_every_page_fits_a_phone_and_follows_the_colour_scheme(open_browser, signed_in, shop, mark):
    phone = open_browser(
        viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True, storage_state=signed_in
    )
    page = phone.open()
    runs = [run["id"] for run in shop.get("/runs", tags=mark).json()["data"]]
    pages = [
        "/",
        "/leaderboard?direction=minimize",
        "/groups?by=config.depth",
        "/groups",
        "/trend",
        f"/compare?tags={mark}",
        "/compare",
        f"/compare?run={runs[1]}&run={runs[2]}",
        "/nowhere",
    ]
    for path in [*pages, f"/runs/{runs[1]}", f"/runs/{runs[1]}/samples", "/?minScore=x"]:
        page.goto(phone.address + path)
        assert page.evaluate("document.documentElement.scrollWidth") == 390, path
        for scheme, background in (("light", "rgb(244, 246, 249)"), ("dark", "rgb(15, 19, 25)")):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == background


@pytest.fixture(scope="module")
def study(tracking):
    """A tag of runs of two arms on the same nine days: b is better, by more than the days differ from each other."""
    shop, tag = tracking.client("shop"), f"study-{uuid.uuid4().hex[:8]}"
    for arm, gain in (("a", 0.0), ("b", 0.05)):
        for day in range(1, 10):
            shop.create_run(
                runName=f"{tag} {arm} day {day}",
                tags=[tag],
                status="completed",
                direction="minimize",
                metric="log loss of clicks",
                startTime=f"2026-01-{day:02}T04:00:00Z",
                finalScore=0.6 + (day % 3) / 100 - gain * (1 + day / 500),
                config={"arm": arm, "day": day, "rate": 0.1},
                metadata={"entity": f"{tag}-{arm}"},
            )
    return tag


def test_which_group_is_better_is_said_with_its_pairs_and_leads_to_its_runs(browser, study):
    page = browser.open(f"/?tags={study}")
    page.get_by_role("link", name="Group", exact=True).click()
    page.get_by_label("Group by").fill("config.arm")
    page.get_by_label("Pair runs by").fill("day")
    page.get_by_label("Compare with group").fill("a")
    page.get_by_role("button", name="Group").click()
    expect(page.get_by_text("log loss of clicks, lowest is best")).to_be_visible()
    rows = page.get_by_role("region", name="Groups", exact=True).locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first.locator(".verdict")).to_contain_text("better")
    expect(rows.nth(1)).to_contain_text("baseline")
    expect(page.get_by_text("paired by day")).to_be_visible()
    rows.first.get_by_role("link").click()
    expect(page.get_by_text("9 of 9 runs")).to_be_visible()
    expect(names(page).first).to_have_text(f"{study} b day 9")


def test_groups_without_pairs_ask_what_pairs_them(browser, study):
    page = browser.open(f"/groups?tags={study}&by=config.arm")
    expect(page.get_by_text("To compare the groups, choose what pairs their runs")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Difference")).to_have_count(0)
    page.goto(f"{browser.address}/groups?tags={study}&by=config.day&pairBy=config.arm")
    expect(page.locator(".verdict").first).to_contain_text("cannot be judged")


def test_the_trend_of_an_entity_is_drawn_with_its_band_and_named_run_by_run(browser, study):
    page = browser.open("/trend")
    page.get_by_label("Entity").fill(f"{study}-a")
    page.get_by_role("button", name="Show").click()
    expect_drawn(page, charts=1)
    expect(page.get_by_role("heading", name="log loss of clicks, lowest is best")).to_be_visible()
    rows = page.get_by_role("region", name="Runs").locator("tbody tr")
    expect(rows).to_have_count(9)
    expect(rows.first).to_contain_text("as expected")
    expect(rows.last).to_contain_text("too few runs before it")
    page.get_by_role("application").focus()
    page.keyboard.press("End")
    expect(page.get_by_role("status")).to_contain_text(f"({study} a day 9)")


def test_all_runs_that_match_are_compared_by_what_differs_alone(browser, study):
    page = browser.open(f"/?tags={study}")
    page.get_by_role("link", name="Compare all").click()
    expect(page.get_by_role("heading", name="Compare 18 runs")).to_be_visible()
    expect(page.get_by_role("columnheader", name="arm")).to_be_visible()
    expect(page.get_by_role("columnheader", name="rate")).to_have_count(0)
    expect(page.locator("table.many tbody tr").first).to_contain_text(f"{study} b day")
    expect_drawn(page, charts=2)


def test_a_run_with_one_iteration_has_a_chart_that_can_be_read(browser, shop):
    run = shop.create_run(runName="one point", optimizerType="custom", metric="accuracy")
    shop.add_iteration(run["id"], iteration=0, score=0.71)
    page = browser.open(f"/runs/{run['id']}")
    expect(page.get_by_text("One iteration has a score: 0.71, at iteration 0.")).to_be_visible()
    expect(page.get_by_text("accuracy, highest is best").first).to_be_visible()
    expect_drawn(page, charts=1)


def test_every_listed_run_says_its_best_its_state_and_what_its_score_means(browser, study):
    page = browser.open(f"/?tags={study}&search=b day 1")
    row = page.locator("table.runs tbody tr")
    expect(row.get_by_text("completed")).to_be_visible()
    expect(row.locator("[data-label=Best]")).to_contain_text("0.5599")
    expect(row.locator("[data-label=Best]")).to_contain_text("log loss of clicks")
    expect(row.locator("[data-label=Best]")).to_contain_text("lowest is best")
