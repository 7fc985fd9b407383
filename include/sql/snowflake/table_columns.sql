-- Columns of the event tables in the connection's schema, to check the warehouse contract before anything is read.
-- Grain: one row a column of BIDS, VIEWS and CLICKS.
SELECT table_name, column_name, data_type
FROM INFORMATION_SCHEMA.COLUMNS
WHERE table_schema = CURRENT_SCHEMA()
    AND table_name IN ('BIDS', 'VIEWS', 'CLICKS')
ORDER BY table_name, ordinal_position
