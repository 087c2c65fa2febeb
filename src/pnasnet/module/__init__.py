"""From a name to a checked model, and `Module`, which runs or trains it."""
