"""Adapters to other software, one file each. Each is imported where it is used, and needs the software it adapts to."""
