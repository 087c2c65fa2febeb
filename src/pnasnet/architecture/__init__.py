"""Networks as data: cells, specs, the plan they resolve to, and the networks that have a name. No framework here."""
