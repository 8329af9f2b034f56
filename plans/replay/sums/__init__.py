"""What is added up over the rows; sums of parts of a log add up to those of the whole, in any order.

units       what is independent of what: clusters, or days, and integer totals of each
totals      plain counts and totals
partial     all of it, for a part of a log
"""
