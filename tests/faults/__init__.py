"""Backends that fail in every way that there is, and what the gateway shows and does meanwhile."""
