"""The version of the package; the newest entry of CHANGELOG.md is the same one."""

__version__ = "0.1.0"
