"""Servers of ours that stand for what cannot be real here: with state, faults and a check of every call."""
