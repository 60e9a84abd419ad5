"""Prices from files as vendors, spreadsheets and libraries write them.

==============  ==========================================================================
module          subject
==============  ==========================================================================
``sheet``       A file as rows of cells: encoding, separator, blank lines, places in errors.
``titles``      What the titles of columns mean.
``numbers``     Decimal and thousands marks, currency signs, words for a missing price.
``days``        Formats of dates, and the day of a time.
``options``     What the user states about a file instead of leaving it to recognition.
``layouts``     The registry of layouts.
``folder``      A folder with one file per asset.
==============  ==========================================================================
"""
