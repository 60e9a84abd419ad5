"""The screens: functions from view models to controls."""
