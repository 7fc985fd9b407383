"""The routes of each page: its HTML and its JSON, made from the same answer."""
