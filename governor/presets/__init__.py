"""Presets: the published limits of providers, one data file each, `data/NAME.toml`.

Each figure has its source and its date. The limits are strict, and hold over all scopes of the provider together, or over all
scopes of one of its keys.
"""

from governor.presets.preset import Figure, Found, Preset, Settings, built_in, find, read, reference, references

__all__ = ["Figure", "Found", "Preset", "Settings", "built_in", "find", "read", "reference", "references"]
