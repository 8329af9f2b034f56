"""The tamper-evident log's bytes and hashes, without Django or a database.

`canonical` (RFC 8785 without floats), `entry` (the bytes of an entry), `tree` (RFC 6962 hashes, right edge), `check` (the
rules that a stored log must obey, one entry at a time).
"""
