"""What is asked of Postgres, one module a table. Each function works in a transaction of its caller."""
