"""The project's data tables, their loader, and what every other package stands on."""
