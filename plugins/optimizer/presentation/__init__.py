"""Numbers, tables and JSON as people read them: shared by the command lines, the report and the tracking pages."""
