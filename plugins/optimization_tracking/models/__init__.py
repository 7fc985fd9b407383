"""What goes in and out of the API: camelCase in JSON, snake_case in Python and in the tables."""
