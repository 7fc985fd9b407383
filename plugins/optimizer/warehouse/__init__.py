"""The warehouse adapter: reads cells from Snowflake through any DB-API connection of its connector."""
