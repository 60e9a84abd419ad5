"""Files with the history of a portfolio, in the formats of other tools."""
