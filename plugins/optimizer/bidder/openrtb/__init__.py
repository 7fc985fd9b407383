"""Bid requests of OpenRTB 2.6 as questions for a price, and prices as its bid response.

reading       a request as a whole: `OpenRtb`
questions     what was read: a question for each impression
answers       the bid response
mapping       openrtb.toml: which field has what
parsing       JSON, strict or not
scalars       fields as values, whatever type an exchange writes
oddities      the kinds of deviations that are read anyway, and counted
paths         paths into a request
macros        the values of macros
spelling      values in the spelling of BIDS
client_hints  browser and platform in device.sua
geo           where the impression is
identity      the user's id and the professional's NPI
money         currencies and exchange rates
auctions      seat, deals, floors, time
privacy       privacy signals and the policy that says what they withhold
"""

from optimizer.bidder.openrtb.mapping import read_mapping
from optimizer.bidder.openrtb.reading import OpenRtb

__all__ = ["OpenRtb", "read_mapping"]
