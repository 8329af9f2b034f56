"""The admin's pages about plans.

lists      the list, and what became of one's plans meanwhile
drafts     making one: from a copy of today's routes, or as JSON
routes     the routes of a draft, one by one
shown      one plan: its answer, what would change, what was done with it
figures    the answer's charts and tables
steps      each step of its life: what it will do, and doing it
"""
