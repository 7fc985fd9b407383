"""The ids in a request: the one that the traffic split hashes, and the NPI of an identified professional."""

from collections.abc import Collection
from typing import Any, NamedTuple

from optimizer.bidder.openrtb.mapping import Identity
from optimizer.bidder.openrtb.oddities import Oddities, Oddity
from optimizer.bidder.openrtb.paths import REQUEST, Roots, split_paths
from optimizer.bidder.openrtb.privacy.policy import Withheld
from optimizer.bidder.openrtb.scalars import Object, as_text, oddity_of
from optimizer.bidder.openrtb.spelling import fold
from optimizer.core.serving.npi import parse_npi

NOBODY = frozenset(
    {
        *("null", "(null)", "nil", "none", "undefined", "unknown", "unset", "not set", "not_set", "notset", "empty"),
        *("nan", "n/a", "na", "n.a.", "-1", "false", "true", "anonymous", "anon", "guest", "default", "test"),
        *("optout", "opt-out", "opt_out", "opt out", "optedout", "opted-out", "opted_out", "opted out"),
        *(
            "lmt",
            "lat",
            "dnt",
            "limited",
            "blocked",
            "no-id",
            "no consent",
            "no-consent",
            "no_consent",
            "nobody",
            "user",
        ),
        *("restricted", "denied", "redacted", "private", "hidden", "disabled", "no_id", "noid", "nouser", "no_user"),
    }
)
"""Words, without case, that exchanges send in the place of an id."""

_PUNCTUATION = "-_:.,;/|+*#?!{}[]()<>$%&=~'\"` \t\r\n"
_BRACKETS = "\"'()[]{}<> "
_PLACEHOLDERS = (
    *(("{", "}"), ("[", "]"), ("<", ">"), ("${", "}"), ("#{", "}")),
    *((mark, mark) for mark in ("%", "@", "__", "$$")),
)
"""What surrounds the name of an id that was never filled in: `${USER_ID}`, `%%IFA%%`, `[IDFA]`."""
_BEGINNINGS = tuple(begin for begin, _ in _PLACEHOLDERS)

_LEAST_REPEATED = 4
"""That many times one character, other than 0 and F, is not a user's id."""


class Identified(NamedTuple):
    """The ids of a request that its privacy signals allow a price to use."""

    user_id: str | None
    auction_id: str | None
    npi: str | None
    withholds_npi: bool


class IdentityReader:
    """Reads ids by a mapping; an id of nobody, or of many, is not one."""

    def __init__(self, identity: Identity) -> None:
        self._user_paths, self._auction_paths = split_paths(identity.user_id), split_paths(identity.auction_id)
        self._npi_paths = split_paths(identity.npi)
        self._sources, self._names = (frozenset(map(fold, it)) for it in (identity.npi_sources, identity.npi_data))
        self._nobody = NOBODY | frozenset(map(fold, identity.nobody))

    def read(self, roots: Roots, user: Object, withheld: Collection[Withheld], oddities: Oddities) -> Identified:
        """Return the ids; what is withheld is not read at all."""
        if not withheld:
            user_id, npi = self.read_user_id(roots, oddities), self.read_npi(roots, user, oddities)
            return Identified(user_id, self._read_auction_id(roots), npi, False)
        withholds_npi = Withheld.NPI in withheld
        return Identified(
            user_id=None if Withheld.USER_ID in withheld else self.read_user_id(roots, oddities),
            auction_id=self._read_auction_id(roots),
            npi=None if withholds_npi else self.read_npi(roots, user, oddities),
            withholds_npi=withholds_npi,
        )

    def read_user_id(self, roots: Roots, oddities: Oddities) -> str | None:
        """Return the first id that is one user's, or None."""
        for root, follow in self._user_paths:
            value = follow(roots[root])
            if value is None:
                continue
            text = as_text(value)
            if text is not None and not self.is_nobody(text):
                return text
            oddities.append(oddity_of(value) if text is None else Oddity.SHARED_ID)
        return None

    def read_npi(self, roots: Roots, user: Object, oddities: Oddities) -> str | None:
        """Return the first NPI that is one; what is not one is counted and ignored."""
        values = [follow(roots[root]) for root, follow in self._npi_paths]
        extended = user.get("ext")
        for parent in (user, extended) if type(extended) is dict else (user,):
            if "eids" in parent:
                values += self._from_eids(parent["eids"])
        if "data" in user:
            values += self._from_data(user["data"])
        for value in values:
            if value is None or value == "":
                continue
            npi = parse_npi(value)
            if npi is not None:
                return npi
            oddities.append(Oddity.WRONG_NPI)
        return None

    def is_nobody(self, text: str) -> bool:
        """Return whether an id says nothing about who it is."""
        folded = text.casefold()
        if folded in self._nobody or folded.strip(_BRACKETS) in self._nobody:
            return True
        letters = folded.strip(_PUNCTUATION).removeprefix("0x")
        first = letters[:1]
        if first == letters[-1:] and not letters.strip(_PUNCTUATION + first):  # one letter or digit, and punctuation
            return first in ("", "0", "f") or letters.count(first) >= _LEAST_REPEATED
        return folded.startswith(_BEGINNINGS) and _is_placeholder(folded)

    def _read_auction_id(self, roots: Roots) -> str | None:
        for root, follow in self._auction_paths:
            text = as_text(follow(roots[root]))
            if text is not None:
                return text
        return as_text(roots[REQUEST].get("id"))

    def _from_eids(self, eids: Any) -> list[Any]:
        return [
            uid.get("id")
            for eid in _objects(eids)
            if _folded(eid, "source") in self._sources
            for uid in _objects(eid.get("uids"))
        ]

    def _from_data(self, data: Any) -> list[Any]:
        return [
            segment.get("value") if segment.get("value") not in (None, "") else segment.get("id")
            for provider in _objects(data)
            for segment in _objects(provider.get("segment"))
            if _folded(provider, "name") in self._names or _folded(segment, "name") in self._names
        ]


def _objects(value: Any) -> list[Object]:
    return [it for it in value if isinstance(it, dict)] if isinstance(value, list) else []


def _folded(place: Object, name: str) -> str:
    return fold(as_text(place.get(name)) or "")


def _is_placeholder(text: str) -> bool:
    is_surrounded = any(text.startswith(begin) and text.endswith(end) for begin, end in _PLACEHOLDERS)
    return is_surrounded and text.count("-") != 4  # {6d92078a-8246-...} is an id in braces
