"""The generated pages of the documentation: `python -m lab.reference` writes docs/reference from the code."""
