"""A request for a price as JSON with macros: the body of POST /price, also taken by `price` on the command line."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from optimizer.bidder.openrtb.mapping import explain
from optimizer.bidder.openrtb.parsing import parse_json
from optimizer.bidder.requests import PriceRequest
from optimizer.errors import RequestError

Text = Annotated[str, StringConstraints(max_length=4096)]


class PriceBody(BaseModel):
    """The body of POST /price. Macros are named as opt_feature_macros has them: [ADX_GEO_STATE]."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    entity_code: str = Field(max_length=100)
    macros: dict[Text, Text | Annotated[int, Field(strict=True)] | None]
    user_id: Text | None = None
    auction_id: Text | None = None
    domain: Text | None = None
    npi: Text | None = None
    floor_cpm: float | None = Field(None, ge=0, allow_inf_nan=False)
    withholds_npi: bool = False
    is_first_price: bool = False

    @model_validator(mode="after")
    def _check_identity(self) -> "PriceBody":
        if not (self.user_id or self.auction_id):
            raise ValueError("give user_id or auction_id: it decides which run prices the request")
        return self

    def request(self) -> PriceRequest:
        """Return the impression to price."""
        fields = self.model_dump(exclude={"entity_code", "macros"})
        macros = {name: None if value is None else str(value) for name, value in self.macros.items()}
        return PriceRequest(macros, **fields)


def read_price_body(body: bytes) -> PriceBody:
    """Return the checked body of POST /price.

    Raises:
        RequestError: it cannot be used; says where and why, never with the value.
    """
    try:
        return PriceBody.model_validate(parse_json(body))
    except ValidationError as error:
        raise RequestError(f"not a price request: {explain(error)}") from None
