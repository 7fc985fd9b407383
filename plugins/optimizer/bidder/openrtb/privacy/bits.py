"""Fields of fixed width in the strings of the IAB: six bits a character, in the letters of base64 for URLs."""

from base64 import b64decode
from dataclasses import dataclass

MAX_LETTERS = 10_000
"""A longer string is not decoded: none is that long, and reading it would take milliseconds."""


class UndecodableError(ValueError):
    """A privacy string that is not what its specification says."""


@dataclass(frozen=True, slots=True)
class Bits:
    """The bits of a string, the first one first."""

    value: int
    length: int

    @classmethod
    def decode(cls, text: str) -> "Bits":
        """Return the bits of the text, six for each character.

        Raises:
            UndecodableError: a character is none of base64's, or there are too many of them.
        """
        if len(text) > MAX_LETTERS:
            raise UndecodableError(f"the string is longer than {MAX_LETTERS} characters")
        text = text.rstrip("=").replace("+", "-").replace("/", "_")
        padding = -len(text) % 4
        try:
            decoded = b64decode(text + "A" * padding, altchars=b"-_", validate=True)
        except ValueError as error:
            raise UndecodableError(str(error)) from None
        return cls(int.from_bytes(decoded, "big") >> (6 * padding), 6 * len(text))

    def read(self, start: int, width: int) -> int:
        """Return the number of `width` bits that begins at bit `start`.

        Raises:
            UndecodableError: the string ends before.
        """
        end = start + width
        if end > self.length:
            raise UndecodableError(f"the string has {self.length} bits; bit {end} is missing")
        return (self.value >> (self.length - end)) & ((1 << width) - 1)
