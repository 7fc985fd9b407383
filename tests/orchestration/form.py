"""Airflow's trigger form in a real browser."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from playwright.sync_api import Browser, Locator, Page

from lab.stack import LocalStack

TIMEOUT_MS = 40_000
"""The page brings many megabytes of script, and other tests may share the machine."""


class TriggerForm:
    """The open form of one DAG."""

    def __init__(self, page: Page) -> None:
        self.page, self.dialog = page, page.get_by_role("dialog")

    def open_section(self, name: str) -> None:
        """Show the fields of the section; Airflow shows one section at a time."""
        header = self.dialog.get_by_role("button", name=name, exact=True)
        if header.get_attribute("aria-expanded") != "true":
            header.click()

    def field(self, key: str) -> Locator:
        """Return what holds the key's value: a text, a number, a hidden checkbox or the hidden value of a choice."""
        return self.dialog.locator(f"[name='element_{key}']")

    def row(self, key: str) -> Locator:
        """Return the key's row: label, field and description."""
        own = self.page.locator(f"[name='element_{key}']")
        return self.dialog.locator("[data-scope=field][data-part=root]").filter(has=own)

    def turn(self, key: str) -> None:
        """Click the key's switch."""
        self.row(key).locator("[data-scope=switch][data-part=control]").click()

    @property
    def trigger_button(self) -> Locator:
        """The button that starts the run."""
        return self.dialog.get_by_role("button", name="Trigger", exact=True)

    def trigger(self) -> None:
        """Click the button."""
        self.trigger_button.click()


@contextmanager
def open_form(chromium: Browser, stack: LocalStack, *, dag_id: str) -> Iterator[TriggerForm]:
    """Give the DAG's trigger form, opened by an administrator."""
    settings = stack.settings
    url = f"http://127.0.0.1:{settings.airflow_port}"
    login = {"username": settings.airflow_user, "password": settings.airflow_password}
    answer = httpx.post(f"{url}/auth/token", json=login, timeout=60, trust_env=False).raise_for_status()
    context = chromium.new_context(viewport={"width": 1280, "height": 1400})
    try:
        context.set_default_timeout(TIMEOUT_MS)
        context.add_cookies([{"name": "_token", "value": answer.json()["access_token"], "url": url}])
        page = context.new_page()
        page.goto(f"{url}/dags/{dag_id}")
        page.get_by_test_id("trigger-dag-button").first.click()
        form = TriggerForm(page)
        form.dialog.get_by_role("button", name="Window", exact=True).wait_for()
        yield form
    finally:
        context.close()
