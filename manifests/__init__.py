"""Data tables with their loader, and the helpers that every other package uses."""
