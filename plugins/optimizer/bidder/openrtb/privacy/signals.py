"""The privacy signals of a bid request, and what they withhold."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from optimizer.bidder.openrtb.oddities import Oddities, Oddity
from optimizer.bidder.openrtb.privacy import gpp, tcf, us
from optimizer.bidder.openrtb.privacy.bits import UndecodableError
from optimizer.bidder.openrtb.privacy.policy import PrivacyPolicy, Signal, Withheld
from optimizer.bidder.openrtb.scalars import NOTHING, Object, as_text, is_empty, read_flag

NO_SECTION, UNDETERMINED = -1, 0
"""Values of gpp_sid that name no section: none applies, or it is not known which do."""

_MOST_DIGITS = 5
_FIELDS: Mapping[str, frozenset[Any]] = {
    **dict.fromkeys(("coppa", "gdpr", "gpc"), frozenset({0})),
    **dict.fromkeys(("gpp", "gpp_sid"), frozenset()),
    "us_privacy": us.WITHOUT_OPT_OUT,
}
"""The fields of regs, each with the values of its own type that restrict nothing."""


class Restrictions(NamedTuple):
    """The signals of a request in the order of `Signal`, and what the policy withholds for them.

    privacy: the signals that withhold something, as the column of BIDS has them; None without any.
    """

    signals: tuple[Signal, ...] = ()
    withheld: frozenset[Withheld] = frozenset()
    privacy: str | None = None


UNRESTRICTED = Restrictions()


class PrivacyReader:
    """Reads the signals of a request by a policy; a signal that cannot be read counts as one that restricts."""

    def __init__(self, policy: PrivacyPolicy) -> None:
        self.policy = policy

    def read(self, request: Object, device: Object, user: Object, oddities: Oddities) -> Restrictions:
        """Return the signals and what they withhold."""
        regs = request.get("regs", NOTHING)
        is_device_unreadable = device is NOTHING and not is_empty(request.get("device"))
        if _is_silent(regs, device, user) and not is_device_unreadable:
            return UNRESTRICTED
        signals = tuple(
            self._signals(_Regs.read(regs), device, user, oddities, is_device_unreadable=is_device_unreadable)
        )
        if not signals:
            return UNRESTRICTED
        effects = {signal: self.policy.withheld_for(signal) for signal in signals}
        restricting = ",".join(signal for signal, effect in effects.items() if effect)
        return Restrictions(signals, frozenset().union(*effects.values()), restricting or None)

    def _signals(
        self, regs: "_Regs", device: Object, user: Object, oddities: Oddities, *, is_device_unreadable: bool
    ) -> Iterator[Signal]:
        if regs.has_flag("coppa", oddities):
            yield Signal.COPPA
        if self._lacks_consent(regs, user, oddities):
            yield Signal.GDPR
        if self._is_gpp_restricted(regs):
            yield Signal.GPP
        if any(map(_is_opted_out, regs.values("us_privacy"))):
            yield Signal.US_PRIVACY
        if regs.has_flag("gpc", oddities):
            yield Signal.GPC
        if is_device_unreadable or _is_set(
            device, "lmt", oddities
        ):  # nobody knows what a device says that is not an object
            yield Signal.LMT
        if _is_set(device, "dnt", oddities):
            yield Signal.DNT
        if not regs.is_readable:
            oddities.append(Oddity.WRONG_TYPE)
            yield Signal.REGS

    def _lacks_consent(self, regs: "_Regs", user: Object, oddities: Oddities) -> bool:
        """Whether GDPR applies, or may apply because a consent string is there, and the consent is missing."""
        extended = user.get("ext")
        given = (user.get("consent"), extended.get("consent") if type(extended) is dict else None)
        strings = [value for value in given if value not in (None, "")]
        if not regs.has_flag("gdpr", oddities) and (not strings or regs.values("gdpr")):
            return False
        return not strings or not all(map(self._has_consent, strings))

    def _has_consent(self, value: Any) -> bool:
        rule = self.policy.gdpr
        try:
            return isinstance(value, str) and tcf.has_consent(
                value.strip(), purposes=rule.purposes, vendor_id=rule.vendor_id
            )
        except UndecodableError:
            return False

    def _is_gpp_restricted(self, regs: "_Regs") -> bool:
        sections = _section_ids(regs.values("gpp_sid"))
        if sections is None:
            return True
        if sections == {NO_SECTION}:
            return False
        applying = sorted(sections - {NO_SECTION, UNDETERMINED})
        strings, rule = regs.values("gpp"), self.policy.gdpr
        if not strings:
            return bool(applying)
        try:
            return any(
                not isinstance(text, str)
                or gpp.is_restricted(text, section_ids=applying, purposes=rule.purposes, vendor_id=rule.vendor_id)
                for text in strings
            )
        except UndecodableError:
            return True


class _Regs(NamedTuple):
    """The object regs and its ext: a signal counts in either."""

    places: tuple[Object, ...]
    is_readable: bool

    @classmethod
    def read(cls, regs: Any) -> "_Regs":
        if type(regs) is not dict:
            return cls((), regs is NOTHING or is_empty(regs))
        extended = regs.get("ext")
        if type(extended) is dict:
            return cls((regs, extended), True)
        return cls((regs,), is_empty(extended))

    def values(self, name: str) -> list[Any]:
        """The values of the field that say something."""
        found = (place.get(name) for place in self.places)
        return [value for value in found if value is not None and value not in ("", [], {})]

    def has_flag(self, name: str, oddities: Oddities) -> bool:
        """Whether the flag is set in one place, or cannot be read there."""
        return any(_is_set(place, name, oddities) for place in self.places)


def _is_silent(regs: Any, device: Object, user: Object) -> bool:
    """Whether no field of privacy restricts anything: so it is in most requests, and found out soon."""
    lmt, dnt = device.get("lmt", 0), device.get("dnt", 0)
    if lmt != 0 or dnt != 0 or "consent" in user:
        return False
    extended = user.get("ext")
    if type(extended) is dict and "consent" in extended:
        return False
    if regs is NOTHING:
        return True
    return type(regs) is dict and _is_quiet(regs) and _is_quiet(regs.get("ext"))


def _is_quiet(place: Any) -> bool:
    if type(place) is not dict:
        return is_empty(place)
    for name, value in place.items():
        if name in _FIELDS and (type(value) not in (int, str) or value not in _FIELDS[name]):
            return False
    return True


def _is_set(place: Object, name: str, oddities: Oddities) -> bool:
    return read_flag(place, name, oddities) is not False


def _is_opted_out(value: Any) -> bool:
    try:
        return not isinstance(value, str) or us.is_opted_out(value)
    except UndecodableError:
        return True


def _section_ids(values: list[Any]) -> set[int] | None:
    """The numbers in gpp_sid: a list, one number, or text such as "7" or "7,8"; None where one cannot be read."""
    found = set()
    for value in values:
        named = value.replace("_", ",").split(",") if isinstance(value, str) else value
        for one in named if isinstance(named, list) else [named]:
            text = as_text(one) or ""
            if text.removeprefix("-").isdecimal() and len(text) <= _MOST_DIGITS:
                found.add(int(text))
            elif not is_empty(one):
                return None
    return found
