"""Where the impression is. `device.geo` says so; `user.geo` is where the user lives."""

from typing import Any

from optimizer.bidder.openrtb.oddities import Oddities
from optimizer.bidder.openrtb.scalars import Object, as_text, read_object
from optimizer.bidder.openrtb.spelling import Countries


def find_place(device: Object, user: Object, countries: Countries, oddities: Oddities) -> Object:
    """Return the fields of the place of the impression.

    Home fills in only where the device has no region, and only where the device names the same country or none.
    """
    here = read_object(device, "geo", oddities)
    if as_text(here.get("region")) is not None or "geo" not in user:
        return here
    home = read_object(user, "geo", oddities)
    country = countries.name(as_text(here.get("country")))
    if country is not None and country != countries.name(as_text(home.get("country"))):
        return here
    return {**home, **{name: value for name, value in here.items() if not _is_empty(value)}}


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
