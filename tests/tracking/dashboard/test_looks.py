"""The API's documentation without the internet, and the pages in Airflow's theme, also inside its frame."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect
from servers.browser import COLOR_RULES, axe_violations
from servers.tracking import Tracking, serving

from optimization_tracking.app import create_app
from optimization_tracking.auth import LoginUser

LIGHT, DARK = "rgb(244, 246, 249)", "rgb(15, 19, 25)"


@dataclass
class Seen:
    """A tab, the hosts that it asked, and what its console complained of."""

    page: Page
    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def tab(chromium: Browser, **options) -> Iterator[Seen]:
    context = chromium.new_context(**options)
    seen = Seen(context.new_page())
    seen.page.on("request", lambda request: seen.hosts.add(urlsplit(request.url).netloc))
    seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    seen.page.on("console", lambda told: seen.complaints.append(told.text) if told.type == "error" else None)
    yield seen
    context.close()


def background(page_or_frame) -> str:
    return page_or_frame.evaluate("getComputedStyle(document.body).backgroundColor")


def test_the_api_is_documented_without_another_host_and_can_be_tried(chromium, tracking: Tracking):
    with tab(chromium) as seen:
        page = seen.page
        page.goto(f"{tracking.base_url}/docs")
        expect(page.get_by_role("heading", name="Optimization tracking")).to_be_visible()
        for scheme, color in (("light", LIGHT), ("dark", DARK)):
            page.emulate_media(color_scheme=scheme)
            assert background(page) == color
        expect(page.get_by_role("main")).to_have_count(1)
        page.get_by_role("button", name="Authorize").first.click()
        page.locator("#api_key_value").fill(tracking.keys["shop"])
        page.locator("form", has=page.locator("#api_key_value")).get_by_role("button", name="Apply").click()
        page.get_by_role("button", name="Close").last.click()
        page.locator(".opblock", has_text="/api/optimization/projects").locator(".opblock-summary-control").click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        expect(page.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
        expect(page.locator(".live-responses-table")).to_contain_text('"id": "shop"')
        assert seen.hosts == {urlsplit(tracking.base_url).netloc} and seen.complaints == []


def test_the_documentation_fits_a_phone(chromium, tracking: Tracking):
    with tab(chromium, viewport={"width": 390, "height": 844}, is_mobile=True) as seen:
        seen.page.goto(f"{tracking.base_url}/docs")
        expect(seen.page.get_by_role("heading", name="Optimization tracking")).to_be_visible()
        assert seen.page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_documentation_loads_from_its_own_server_only_and_works_below_any_path(tracking: Tracking):
    page = tracking.http.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'" in policy
    assert "unsafe" not in policy and 'data-description="/api/optimization/openapi.json"' in page.text
    app = create_app(database_url=None, refresh_s=None)
    app.root_path = "/behind/a/proxy"
    with serving(app) as address:
        text = tracking.http.get(f"{address}/docs").text
    assert 'src="/behind/a/proxy/docs/static/vendor/swagger-ui-bundle.js' in text
    assert 'data-description="/behind/a/proxy/openapi.json"' in text


@pytest.fixture(scope="module")
def in_airflow(tracking: Tracking) -> Iterator[str]:
    """The address of the pages as Airflow serves them: to a login, and in a frame of the same origin."""

    async def log_in(request):
        return LoginUser("ada", can_write=False)

    app = create_app(database_url=tracking.database_url, login=log_in, refresh_s=None)
    with serving(app) as address:
        yield address


@pytest.mark.parametrize(
    "path", ["/dashboard/", "/dashboard/groups", "/dashboard/trend", "/dashboard/nowhere", "/docs"]
)
@pytest.mark.parametrize(("system", "chosen", "color"), [("light", "dark", DARK), ("dark", "light", LIGHT)])
def test_a_page_in_airflows_frame_follows_airflows_theme_and_its_change(
    chromium, in_airflow, path, system, chosen, color
):
    with tab(chromium, color_scheme=system) as seen:
        page = seen.page
        page.goto(f"{in_airflow}/health")
        page.evaluate("(theme) => localStorage.setItem('theme', theme)", chosen)
        page.evaluate("(src) => document.body.append(Object.assign(document.createElement('iframe'), {src}))", path)
        frame = page.frame_locator("iframe")
        expect(frame.locator("main")).to_be_visible()
        inner = page.frames[1]
        is_colored = "(color) => getComputedStyle(document.body).backgroundColor === color"
        inner.wait_for_function(is_colored, arg=color)
        assert inner.evaluate("getComputedStyle(document.documentElement).colorScheme") == chosen
        other, other_color = ("light", LIGHT) if chosen == "dark" else ("dark", DARK)
        for theme, expected in ((other, other_color), ("system", color if system == chosen else other_color)):
            page.evaluate("(theme) => localStorage.setItem('theme', theme)", theme)
            inner.wait_for_function(
                "(color) => getComputedStyle(document.body).backgroundColor === color", arg=expected
            )


def test_a_page_is_in_the_chosen_theme_before_its_style_sheets_are_there(chromium, in_airflow):
    with tab(chromium, color_scheme="light") as seen:
        page = seen.page
        page.goto(f"{in_airflow}/health")
        page.evaluate("localStorage.setItem('theme', 'dark')")
        page.route("**/*.css*", lambda route: route.abort())
        page.goto(f"{in_airflow}/dashboard/")
        assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


@pytest.fixture(scope="module")
def tag(tracking: Tracking) -> str:
    """A tag of runs of two arms on the same days, each with one iteration."""
    shop = tracking.client("shop")
    for arm in ("a", "b"):
        for day in range(1, 8):
            run = shop.create_run(
                runName=f"looks {arm} {day}",
                tags=["looks"],
                metric="log loss",
                direction="minimize",
                startTime=f"2026-01-0{day}T04:00:00Z",
                config={"arm": arm, "depth": 6},
                metadata={"entity": "looks"},
            )
            shop.add_iteration(run["id"], iteration=0, score=day / 10 + (arm == "b"), params={"rate": 0.1})
            shop.patch(f"/runs/{run['id']}", {"status": "completed", "finalScore": day / 10 + (arm == "b")})
    return "looks"


@pytest.mark.parametrize(
    "path",
    [
        *("/?tags={tag}", "/leaderboard?tags={tag}&direction=minimize", "/groups", "/compare"),
        *("/groups?tags={tag}&by=config.arm&pairBy=day", "/trend?entity=looks", "/compare?tags={tag}"),
        *("/compare?run={run}&run={other}", "/runs/{run}", "/runs/{run}/samples", "/?minScore=x"),
    ],
)
def test_a_page_has_no_axe_violation_in_light_and_dark(chromium, in_airflow, shop, tag, path):
    first, second = shop.get("/runs", tags=tag, limit=2).json()["data"]
    address = path.format(tag=tag, run=first["id"], other=second["id"])
    with tab(chromium) as seen:
        separator = "&" if "?" in address else "?"
        seen.page.goto(f"{in_airflow}/dashboard{address}{separator}projectId=shop")
        expect(seen.page.locator("h1")).to_be_visible()
        for scheme, color, rules in (("light", LIGHT, ()), ("dark", DARK, COLOR_RULES)):
            seen.page.emulate_media(color_scheme=scheme)
            assert background(seen.page) == color
            assert axe_violations(seen.page, rules=rules) == [], scheme
