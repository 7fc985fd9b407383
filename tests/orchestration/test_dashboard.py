"""The tracking dashboard inside Airflow's UI, in a real browser, with the user's login."""

import httpx
import pytest
from playwright.sync_api import Page, expect
from servers.http import open_client
from servers.tracking import ProjectClient

from optimizer.names import DASHBOARD_PATH, TRACKING_API_URL_VARIABLE, TRACKING_KEY_VARIABLE, TRACKING_PREFIX

PAGES = TRACKING_PREFIX + DASHBOARD_PATH


@pytest.fixture
def service(stack):
    return stack.environment()[TRACKING_API_URL_VARIABLE]


@pytest.fixture
def run(stack, service):
    """A run that the stack's own key logged."""
    with open_client(service + TRACKING_PREFIX) as http:
        return ProjectClient(http, stack.environment()[TRACKING_KEY_VARIABLE]).create_run(runName="seen in Airflow")


def test_the_ui_shows_the_dashboard_to_whom_it_knows_and_keeps_its_place(service, page: Page, run):
    nobody = httpx.get(f"{service}{PAGES}/", trust_env=False)
    assert nobody.status_code == 401 and "Sign in to Airflow" in nobody.text and run["runName"] not in nobody.text
    page.goto(service)
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Optimization").click()
    frame = page.frame_locator("iframe[title=Optimization]")
    frame.get_by_role("link", name=run["runName"]).click()
    expect(frame.get_by_role("heading", name=run["runName"])).to_be_visible()
    expect(frame.get_by_role("button", name="Sign out")).to_have_count(0)
    page.wait_for_url(f"**/plugin/optimization{PAGES}/runs/{run['id']}")
    page.reload()
    expect(frame.get_by_role("heading", name=run["runName"])).to_be_visible()
