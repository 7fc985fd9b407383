"""How live runs do against their forecast and against the control, and on which days they can be compared."""
