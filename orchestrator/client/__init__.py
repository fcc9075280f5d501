"""The producers' side."""
