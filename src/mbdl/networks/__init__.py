"""Networks that stand where a component of a rule stands."""
