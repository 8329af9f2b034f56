"""The signer: it looks at what was added to each log, from its own memory of what it signed, and signs what continues that.

`state` (what it signed, in a file of its own), `keys` (what it signs with), `signer` (a round, and going on with them),
`epochs` (a new log where the old one cannot go on). The key and the state belong to the signer's machine; no page and no
call of the API reads them.
"""
