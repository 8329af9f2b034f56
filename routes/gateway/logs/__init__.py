"""Request logs on their way out: in batches, in the background, and never in a request's way.

queue     `RowQueue`: bounded, with a task that hands batches on
api       to the control plane's `request-logs/`
parquet   files in a folder for each organisation, as plans read them
database  a table in SQLite or PostgreSQL
"""
