"""Airflow's trigger form in a real browser."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import BrowserContext, Locator, Page


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
def open_form(signed_in: BrowserContext, address: str, *, dag_id: str) -> Iterator[TriggerForm]:
    """Give the DAG's trigger form, opened by the user who signed in."""
    with signed_in.new_page() as page:
        page.set_viewport_size({"width": 1280, "height": 1400})
        page.goto(f"{address}/dags/{dag_id}")
        page.get_by_test_id("trigger-dag-button").first.click()
        form = TriggerForm(page)
        form.dialog.get_by_role("button", name="Window", exact=True).wait_for()
        yield form
