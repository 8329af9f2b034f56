"""What auditors, and whoever keeps receipts, are given: `bundles` of whole logs, `proofs` about single entries, `api`."""
