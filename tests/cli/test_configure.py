"""`optimizer configure`: values with their author and reason, as the console writes them."""

import pytest
from control_plane.databases import new_control_plane

from lab.stack.catalogue import load_catalogue
from optimizer.control_plane.audit import read_audit
from optimizer.control_plane.entity_values import read_values

ENTITY = "drugs_hcp"


@pytest.fixture
def engine(tmp_path):
    """Return a control plane with the demo's entities and every config key."""
    return new_control_plane(tmp_path / "control_plane.db", load_catalogue)


def test_values_are_set_and_removed_with_their_author_and_reason(optimizer, engine):
    shown = optimizer("configure", ENTITY, "target_win_rate=0.35", "--comment", "reach", "--by", "anna")
    assert shown.exit_code == 0 and "0.35" in shown.output and "The next run takes these values" in shown.output
    kept = read_values(engine, ENTITY)["target_win_rate"]
    assert (kept.config_value, kept.updated_by) == ("0.35", "anna")
    assert optimizer("configure", ENTITY, "target_win_rate=", "--comment", "back").exit_code == 0
    assert "target_win_rate" not in read_values(engine, ENTITY)
    assert [row.comment for row in read_audit(engine, ENTITY)] == ["back", "reach"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["target_win_rate=1.4"], "target_win_rate=1.4 is above its maximum 0.99; set it between 0.01 and 0.99"),
        (["target_win_rate=0,4"], "is not a number; write 0.4"),
        (["no_such_key=1"], "no_such_key='1' (entity value) is not a key of this version"),
        (["target_win_rate"], "'target_win_rate' is not a new KEY=VALUE"),
        (["canary_plan=20@2d, 5@1d"], "canary_plan"),
        (["schedule=0 0 31 2 *"], "entity drugs_hcp: schedule='0 0 31 2 *' never fires"),
        (
            ["schedule=0 6 * * * *"],
            "schedule='0 6 * * * *' has 6 fields instead of minute, hour, day, month and weekday",
        ),
    ],
)
def test_what_cannot_be_used_changes_nothing(optimizer, engine, changes, said):
    before = read_values(engine, ENTITY)
    refused = optimizer("configure", ENTITY, *changes, "--comment", "x")
    assert refused.exit_code != 0 and said in " ".join(refused.output.split())
    assert read_values(engine, ENTITY) == before
