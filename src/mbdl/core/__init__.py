"""The spectrum itself: rules, learned leaves, verbs, loops, solve, spectrum, save and load."""
