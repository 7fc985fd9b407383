from reporting.stories import parts, read_words, story

from optimizer.core.pricing.expected_spend import total_spend
from optimizer.presentation.formats import amount, percent
from optimizer.reporting.report_data import SpendTable
from optimizer.reporting.spend_tables import MOST_VALUES, spend_panels


def test_the_largest_values_come_one_by_one_and_all_others_in_one_row():
    told = parts(*(f"value {number}" for number in range(14)))
    (panel,) = spend_panels(story(spend=[SpendTable("geo_region_name", is_expected=True, parts=told)]))
    assert (panel.title, panel.caption) == ("State", "Expected of this run's bids.")
    assert [row.kind for row in panel.rows] == ["value"] * MOST_VALUES + ["other", "total"]
    other, total = total_spend(told[MOST_VALUES:]), total_spend(told)
    assert (panel.rows[-2].name, panel.rows[-2].spend) == ("4 other", amount(other.spend))
    assert panel.rows[-2].share == percent(other.spend / total.spend)
    assert panel.rows[-1].spend == amount(total.spend)
    assert panel.rows[0].cpm == amount(1000 * 36 / 2700)
    assert (panel.rows[0].win_rate, panel.rows[0].margin) == (percent(0.3), percent(1 / 3))


def test_the_first_feature_of_the_key_is_the_placement_and_a_missing_value_is_named():
    spend = [SpendTable(name, is_expected=True, parts=parts(None)) for name in ("internal_adspace_id", "os_code")]
    panels = spend_panels(story(spend=spend))
    assert [panel.title for panel in panels] == ["Placement", "os_code"]
    assert panels[0].rows[0].name == "(empty)"


def test_what_is_not_in_the_key_says_that_it_is_no_forecast_and_what_was_not_read_that_it_is_not_known():
    seen = SpendTable("domain", is_expected=False, parts=parts("a.example"))
    unread = SpendTable("geo_region_name", is_expected=False, parts=())
    page = read_words(story(spend=[seen, unread]))
    assert "Seen in the window's log." in page.section("spend")
    assert "Not known: it is not a part of the segment key" in page.section("spend")
