"""LLM requests: which model and provider serve a chat completion, what may be tried after it, and what came of it.

body        the request's JSON: read strictly, its model rewritten in place
context     the facts of a request, from body, headers and key
providers   who serves a model; by the operator's configuration alone
breaker     `CircuitBreaker`: upstreams that fail are left alone for a while
usage       what an answer says of its tokens, read while it passes
costs       estimates before, ceilings, and what was paid after
attempts    target, then fallbacks, until one answers
chat        the endpoint itself
"""
