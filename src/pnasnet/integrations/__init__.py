"""Adapters to other libraries, one file each. An adapter is imported where it is used, and needs its library."""
