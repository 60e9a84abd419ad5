"""Checks that start what a deployment ships: ``make ops-test``. README.md shows how to add one."""
