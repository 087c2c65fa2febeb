"""Training: data in memory, the loop, and recipes that give their command, hardware and result."""
