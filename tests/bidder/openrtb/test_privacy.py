"""Privacy signals decide: no NPI multiplier and no user id where one restricts, and a column of BIDS that says so."""

from pathlib import Path
from typing import Any

import pytest
from bidder.openrtb.consent import canada, encode, gpp, number, tcf, us, us_with_header
from bidder.openrtb.requests import MAPPING, NPI, ask, bid_request, read, reasons
from hypothesis import given
from hypothesis import strategies as st

from optimizer.bidder.openrtb import OpenRtb
from optimizer.bidder.openrtb.privacy.gpp import read_sections
from optimizer.bidder.openrtb.privacy.policy import DEFAULT_FILE, PrivacyPolicy, Signal, read_policy
from optimizer.bidder.openrtb.privacy.us import SECTIONS, WITHOUT_OPT_OUT
from optimizer.errors import ConfigError

CONSENT, NO_CONSENT = tcf([1, 2, 3, 4]), tcf([1, 2, 4])
SITUATION = {"os": "Android", "geo": {"region": "OH", "country": "USA"}, "devicetype": 4, "ifa": "ifa-1"}
IN, OUT = 2, 1
"""An opt-out that was offered and not taken, and one that was taken."""


def with_device(**fields: Any) -> dict[str, Any]:
    return bid_request(device=SITUATION | fields)


def with_regs(regs: Any, *, consent: Any = None, is_old: bool = False) -> dict[str, Any]:
    """Return a request with these regs, and a consent string where OpenRTB 2.6 has it, or 2.5."""
    user = {"id": "user-1", "ext": {"npi": NPI}}
    if consent is not None:
        user = {"id": "user-1", "ext": {"npi": NPI, "consent": consent}} if is_old else {**user, "consent": consent}
    return bid_request(regs=regs, user=user)


RESTRICTED: dict[str, tuple[dict[str, Any], str]] = {
    "lmt": (with_device(lmt=1), "lmt"),
    "lmt as text": (with_device(lmt="1"), "lmt"),
    "lmt as true": (with_device(lmt=True), "lmt"),
    "lmt as float": (with_device(lmt=1.0), "lmt"),
    "lmt that cannot be read": (with_device(lmt="maybe"), "lmt"),
    "lmt out of range": (with_device(lmt=2), "lmt"),
    "dnt": (with_device(dnt=1), "dnt"),
    "dnt as word": (with_device(dnt="yes"), "dnt"),
    "lmt and dnt": (with_device(lmt=1, dnt=1), "lmt,dnt"),
    "coppa": (with_regs({"coppa": 1}), "coppa"),
    "coppa as text": (with_regs({"coppa": "1"}), "coppa"),
    "coppa that cannot be read": (with_regs({"coppa": {"a": 1}}), "coppa"),
    "coppa in ext": (with_regs({"ext": {"coppa": 1}}), "coppa"),
    "us_privacy": (with_regs({"us_privacy": "1YYN"}), "us_privacy"),
    "us_privacy in ext": (with_regs({"ext": {"us_privacy": "1YYY"}}), "us_privacy"),
    "us_privacy in small letters": (with_regs({"us_privacy": "1nyn"}), "us_privacy"),
    "us_privacy with spaces": (with_regs({"us_privacy": " 1YYN "}), "us_privacy"),
    "us_privacy of another version": (with_regs({"us_privacy": "2YNN"}), "us_privacy"),
    "us_privacy too short": (with_regs({"us_privacy": "1YN"}), "us_privacy"),
    "us_privacy of nonsense": (with_regs({"us_privacy": "none"}), "us_privacy"),
    "us_privacy as number": (with_regs({"us_privacy": 1}), "us_privacy"),
    "us_privacy in one of two places": (with_regs({"us_privacy": "1YNN", "ext": {"us_privacy": "1YYN"}}), "us_privacy"),
    "gpc": (with_regs({"ext": {"gpc": "1"}}), "gpc"),
    "gdpr without a consent string": (with_regs({"gdpr": 1}), "gdpr"),
    "gdpr in ext": (with_regs({"ext": {"gdpr": 1}}), "gdpr"),
    "gdpr as text": (with_regs({"gdpr": "1"}), "gdpr"),
    "gdpr with an empty string": (with_regs({"gdpr": 1}, consent=""), "gdpr"),
    "gdpr without purpose 3": (with_regs({"gdpr": 1}, consent=NO_CONSENT), "gdpr"),
    "gdpr without any purpose": (with_regs({"gdpr": 1}, consent=tcf()), "gdpr"),
    "gdpr of 2.5 without purpose 3": (with_regs({"ext": {"gdpr": 1}}, consent=NO_CONSENT, is_old=True), "gdpr"),
    "gdpr with a string of TCF v1": (with_regs({"gdpr": 1}, consent=tcf(range(1, 25), version=1)), "gdpr"),
    "gdpr with a string that ends too soon": (with_regs({"gdpr": 1}, consent=CONSENT[:20]), "gdpr"),
    "gdpr with nonsense": (with_regs({"gdpr": 1}, consent="!?"), "gdpr"),
    "gdpr with a number": (with_regs({"gdpr": 1}, consent=7), "gdpr"),
    "a consent string without consent where gdpr is not known": (with_regs({}, consent=NO_CONSENT), "gdpr"),
    "gdpr that cannot be read, without consent": (with_regs({"gdpr": "perhaps"}), "gdpr"),
    "regs as text": (with_regs("coppa"), "regs"),
    "regs as number": (with_regs(5), "regs"),
    "regs as list": (with_regs([{"coppa": 1}]), "regs"),
    "ext of regs as text": (with_regs({"ext": "x"}), "regs"),
    "ext of regs as list": (with_regs({"coppa": 0, "ext": [{"gdpr": 1}]}), "regs"),
    "ext of regs as JSON in text": (with_regs({"gdpr": 0, "ext": '{"coppa": 1}'}), "regs"),
    "us_privacy of zero": (with_regs({"us_privacy": 0}), "us_privacy"),
    "us_privacy of false in ext": (with_regs({"coppa": 0, "ext": {"us_privacy": False}}), "us_privacy"),
    "gpp of zero": (with_regs({"gpp": 0}), "gpp"),
    "gpp_sid of words": (with_regs({"gpp_sid": "usnat"}), "gpp"),
    "gpp_sid with a word among numbers": (with_regs({"gpp_sid": [-1, "usca"]}), "gpp"),
    "gpp_sid as list of objects": (with_regs({"gpp_sid": [{"id": 7}]}), "gpp"),
    "gpp_sid in ext that is too large": (with_regs({"ext": {"gpp_sid": [10**9]}}), "gpp"),
    "device as list": (bid_request(device=[{"lmt": 1}]), "lmt"),
    "device as text": (bid_request(device='{"dnt": 1}'), "lmt"),
    "all of them": (
        bid_request(
            device={"lmt": 1, "dnt": 1},
            regs={"coppa": 1, "gdpr": 1, "us_privacy": "1YYN", "gpp": "x", "ext": {"gpc": 1}},
        ),
        "coppa,gdpr,gpp,us_privacy,gpc,lmt,dnt",
    ),
}

FREE: dict[str, dict[str, Any]] = {
    "nothing": bid_request(),
    "flags that are not set": bid_request(device=SITUATION | {"lmt": 0, "dnt": 0}, regs={"coppa": 0}),
    "flags of null": bid_request(device=SITUATION | {"lmt": None, "dnt": ""}, regs={"coppa": None, "gdpr": None}),
    "flags as text": bid_request(device=SITUATION | {"lmt": "0", "dnt": "false"}, regs={"coppa": "0"}),
    "flags as false": bid_request(device=SITUATION | {"lmt": False, "dnt": 0.0}),
    "regs of null": with_regs(None),
    "regs as empty list": with_regs([]),
    "regs as empty text": with_regs(""),
    "ext of regs as empty list": with_regs({"coppa": 0, "ext": []}),
    "ext of regs of null": with_regs({"gdpr": 0, "ext": None}),
    "device as empty list": bid_request(device=[]),
    "us_privacy without opt-out": with_regs({"us_privacy": "1YNN"}),
    "us_privacy that does not apply": with_regs({"us_privacy": "1---"}),
    "us_privacy of nothing": with_regs({"us_privacy": ""}),
    "gdpr with consent": with_regs({"gdpr": 1}, consent=CONSENT),
    "gdpr with consent and spaces": with_regs({"gdpr": 1}, consent=f" {CONSENT} "),
    "gdpr of 2.5 with consent": with_regs({"ext": {"gdpr": 1}}, consent=CONSENT, is_old=True),
    "gdpr with consent and further segments": with_regs({"gdpr": 1}, consent=f"{CONSENT}.IAAA.YAAA"),
    "gdpr that does not apply": with_regs({"gdpr": 0}, consent=NO_CONSENT),
    "gdpr of 2.5 that does not apply": with_regs({"ext": {"gdpr": 0}}, consent=NO_CONSENT, is_old=True),
    "a consent string with consent where gdpr is not known": with_regs({}, consent=CONSENT),
    "no section of GPP applies": with_regs({"gpp": "nonsense", "gpp_sid": [-1]}),
    "empty GPP": with_regs({"gpp": "", "gpp_sid": []}),
}


@pytest.mark.parametrize(("request_", "privacy"), RESTRICTED.values(), ids=RESTRICTED.keys())
def test_a_signal_takes_the_npi_and_the_user_id_from_the_price_and_says_so(request_: dict[str, Any], privacy: str):
    asked, found = ask(request_), read(request_)
    assert (asked.npi, asked.user_id, asked.identity, asked.withholds_npi) == (None, None, "auction-1", True)
    assert (found.privacy, ",".join(found.signals)) == (privacy, privacy)


@pytest.mark.parametrize("request_", FREE.values(), ids=FREE.keys())
def test_without_a_signal_the_price_depends_on_both(request_: dict[str, Any]):
    asked, found = ask(request_), read(request_)
    assert (asked.npi, asked.user_id, asked.withholds_npi) == (NPI, "user-1", False)
    assert (found.privacy, found.signals) == (None, ())


@pytest.mark.parametrize("us_privacy", sorted(WITHOUT_OPT_OUT))
def test_a_us_privacy_string_without_an_opt_out_restricts_nothing_and_hides_no_other_signal(us_privacy: str):
    assert read(with_regs({"us_privacy": us_privacy, "coppa": 0, "ext": {"gpc": 0}})).signals == ()
    for name, value in (("coppa", 1), ("gdpr", 1), ("gpp", "x"), ("gpc", "1"), ("gpp", us_privacy)):
        assert read(with_regs({"us_privacy": us_privacy, name: value})).signals == (name,)
        assert read(with_regs({"us_privacy": us_privacy, "ext": {name: value}})).signals == (name,)
    assert read(bid_request(regs={"us_privacy": us_privacy}, device=SITUATION | {"lmt": 1})).signals == ("lmt",)


@pytest.mark.parametrize("section_id", SECTIONS)
@pytest.mark.parametrize(
    ("sale", "targeted", "is_restricted"), [(IN, IN, False), (OUT, IN, True), (IN, OUT, True), (0, 0, False)]
)
def test_each_state_of_the_usa_can_be_opted_out_of(section_id: int, sale: int, targeted: int, is_restricted: bool):
    notices = {7: 6, 11: 4, 18: 4}.get(section_id, 3)
    choices = (sale, 0, targeted) if section_id == 7 else (sale, targeted)
    section = us_with_header(section_id, choices) if section_id >= 24 else us(notices, choices)
    for regs in (
        {"gpp": gpp({section_id: section}), "gpp_sid": [section_id]},
        {"gpp": gpp({section_id: section})},
        {"ext": {"gpp": gpp({section_id: section}), "gpp_sid": [section_id]}},
    ):
        assert read(with_regs(regs)).signals == ((Signal.GPP,) if is_restricted else ())


@pytest.mark.parametrize("section_id", [7, 8, 10, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24])
@pytest.mark.parametrize("gpc", [True, False])
def test_the_global_privacy_control_of_a_section_is_an_opt_out(section_id: int, gpc: bool):
    notices = {7: 6, 18: 4}.get(section_id, 3)
    choices = (IN, IN, IN) if section_id == 7 else (IN, IN)
    section = us_with_header(24, choices, gpc=gpc) if section_id == 24 else us(notices, choices, gpc=gpc)
    assert bool(read(with_regs({"gpp": gpp({section_id: section}), "gpp_sid": [section_id]})).signals) is gpc


NATIONAL_OUT, CALIFORNIA_IN = us(6, (OUT, OUT, OUT)), us(3, (IN, IN))
BOTH = gpp({7: NATIONAL_OUT, 8: CALIFORNIA_IN})


@pytest.mark.parametrize(
    ("regs", "is_restricted"),
    [
        ({"gpp": BOTH, "gpp_sid": [8]}, False),
        ({"gpp": BOTH, "gpp_sid": [7]}, True),
        ({"gpp": BOTH, "gpp_sid": [7, 8]}, True),
        ({"gpp": BOTH, "gpp_sid": "8"}, False),
        ({"gpp": BOTH, "gpp_sid": 8}, False),
        ({"gpp": BOTH, "gpp_sid": "7,8"}, True),
        ({"gpp": BOTH, "gpp_sid": "7_8"}, True),
        ({"gpp": BOTH, "gpp_sid": ["8"]}, False),
        ({"gpp": BOTH, "gpp_sid": [9]}, True),  # the section that applies is missing
        ({"gpp": BOTH, "gpp_sid": [0]}, True),  # it is not known which applies
        ({"gpp": BOTH, "gpp_sid": ["9" * 5000]}, True),
        ({"gpp": BOTH, "gpp_sid": {"a": 1}}, True),
        ({"gpp": BOTH}, True),
        ({"gpp_sid": [7]}, True),
        ({"gpp_sid": []}, False),
        ({"gpp": gpp({2: CONSENT}), "gpp_sid": [2]}, False),
        ({"gpp": gpp({2: NO_CONSENT}), "gpp_sid": [2]}, True),
        ({"gpp": gpp({5: canada(express=[1, 3], implied=[4])}), "gpp_sid": [5]}, False),
        ({"gpp": gpp({5: canada(express=[1, 3])}), "gpp_sid": [5]}, True),
        ({"gpp": gpp({6: "1YNN"}), "gpp_sid": [6]}, False),
        ({"gpp": gpp({6: "1YYN"}), "gpp_sid": [6]}, True),
        ({"gpp": gpp({7: us(6, (IN, IN, IN), version=2)}), "gpp_sid": [7]}, False),
        ({"gpp": gpp({7: us(6, (IN, IN, IN), version=3)}), "gpp_sid": [7]}, True),
        ({"gpp": gpp({7: us(6, (3, IN, IN))}), "gpp_sid": [7]}, True),
        ({"gpp": gpp({7: us(6, (IN, OUT, IN))}), "gpp_sid": [7]}, True),
        ({"gpp": gpp({7: "BA"}), "gpp_sid": [7]}, True),
        ({"gpp": gpp({24: us(3, (IN, IN))}), "gpp_sid": [24]}, True),
        ({"gpp": gpp({40: "BAAA"}), "gpp_sid": [40]}, True),
        ({"gpp": "nonsense", "gpp_sid": [7]}, True),
        ({"gpp": "DBAA", "gpp_sid": [7]}, True),
        ({"gpp": 7}, True),
        ({"gpp": "~~~"}, True),
        ({"gpp": CONSENT}, True),
    ],
)
def test_the_sections_of_gpp_that_apply_decide_and_what_cannot_be_decoded_restricts(regs, is_restricted):
    assert read(with_regs(regs)).signals == ((Signal.GPP,) if is_restricted else ())


@pytest.mark.parametrize(
    ("header", "ids"), [("DBABM", [2]), ("DBACNY", [2, 6]), ("DBABjw", [5, 6])], ids=["one", "two", "a group"]
)
def test_the_headers_in_the_specification_of_gpp_are_read(header: str, ids: list[int]):
    assert list(read_sections("~".join([header, *("x" for _ in ids)]))) == ids


@given(st.text(max_size=60))
def test_any_text_in_the_place_of_a_privacy_string_restricts_or_says_nothing(text: str):
    for regs in ({"gpp": text}, {"gpp": f"DBABM~{text}", "gpp_sid": [2]}, {"us_privacy": text}):
        assert set(read(with_regs(regs)).signals) <= {Signal.GPP, Signal.US_PRIVACY}
    assert set(read(with_regs({"gdpr": 1}, consent=text)).signals) == {Signal.GDPR}


def test_a_range_that_never_ends_is_no_header():
    header = encode(number(3, 6) + number(1, 6) + number(4_000, 12) + "1" * 5000)
    assert read(with_regs({"gpp": header})).signals == (Signal.GPP,)


@pytest.mark.parametrize("is_range", [True, False])
def test_a_vendor_that_the_policy_names_needs_consent_as_well(is_range: bool):
    openrtb = OpenRtb(MAPPING, policy=PrivacyPolicy.model_validate({"gdpr": {"vendor_id": 21}}))
    purposes = range(1, 11)
    for vendors, is_restricted in (([2, 21, 40], False), ([2, 40], True), ([20], True), ([], True)):
        consent = tcf(purposes, vendors=vendors, is_range=is_range)
        assert bool(read(with_regs({"gdpr": 1}, consent=consent), openrtb).signals) is is_restricted


@pytest.mark.parametrize("is_range", [True, False])
@pytest.mark.parametrize(
    ("restriction", "is_restricted"),
    [
        ((3, 0, (20, 22)), True),  # the publisher does not allow it
        ((3, 2, (21, 21)), True),  # only on the ground of legitimate interest
        ((3, 1, (20, 22)), False),  # only with consent, which is there
        ((3, 0, (22, 30)), False),  # other vendors
        ((2, 0, (20, 22)), False),  # a purpose that is not needed
    ],
)
def test_a_publishers_restriction_of_the_vendor_counts(restriction, is_restricted, is_range):
    openrtb = OpenRtb(MAPPING, policy=PrivacyPolicy.model_validate({"gdpr": {"vendor_id": 21}}))
    consent = tcf(range(1, 11), vendors=[2, 21], is_range=is_range, restrictions=[(9, 0, (1, 1)), restriction])
    assert bool(read(with_regs({"gdpr": 1}, consent=consent), openrtb).signals) is is_restricted
    assert read(with_regs({"gdpr": 1}, consent=consent)).signals == ()


def test_a_string_that_is_too_long_is_not_decoded():
    assert read(with_regs({"gdpr": 1}, consent=CONSENT + "A" * 20_000)).signals == (Signal.GDPR,)
    assert read(with_regs({"gpp": gpp({7: us(6, (IN, IN, IN)) + "A" * 20_000})})).signals == (Signal.GPP,)


def test_a_policy_says_which_signal_does_what(tmp_path: Path):
    (tmp_path / "own.toml").write_text(
        '[withhold]\nlmt = []\ncoppa = ["bid"]\ndnt = ["npi"]\n[gdpr]\npurposes = [2]\n', encoding="utf-8"
    )
    openrtb = OpenRtb(MAPPING, policy=read_policy(tmp_path / "own.toml"))
    ignored = read(with_device(lmt=1), openrtb)
    assert (ignored.signals, ignored.privacy) == ((Signal.LMT,), None)
    assert ask(with_device(lmt=1), openrtb).npi == NPI
    assert reasons(with_regs({"coppa": 1}), openrtb) == {"1": "privacy"}
    without_npi = ask(with_device(dnt=1, lmt=1), openrtb)
    assert (without_npi.npi, without_npi.user_id) == (None, "user-1")
    assert read(with_device(dnt=1, lmt=1), openrtb).privacy == "dnt"
    assert ask(with_regs({"gdpr": 1}, consent=tcf([2])), openrtb).npi == NPI
    unnamed = ask(with_regs({"us_privacy": "1YYN"}), openrtb)
    assert (unnamed.npi, unnamed.user_id) == (None, None)


def test_the_policy_of_the_package_is_the_careful_default():
    policy = read_policy()
    assert policy.gdpr == PrivacyPolicy().gdpr and set(policy.withhold) == set(Signal)
    assert all(policy.withheld_for(it) == PrivacyPolicy().withheld_for(it) == {"npi", "user_id"} for it in Signal)
    assert DEFAULT_FILE.name == "privacy.toml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[withhold]\nage = []\n", "withhold.age"),
        ('[withhold]\nlmt = ["all"]\n', "withhold.lmt"),
        ("[gdpr]\npurposes = []\n", "gdpr.purposes"),
        ("[gdpr]\npurposes = [25]\n", "gdpr.purposes"),
        ("[gdpr]\nvendor_id = 0\n", "gdpr.vendor_id"),
        ("[consent]\n", "consent"),
        ("withhold", "cannot be read"),
    ],
)
def test_a_policy_that_cannot_be_read_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "own.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_policy(tmp_path / "own.toml")
