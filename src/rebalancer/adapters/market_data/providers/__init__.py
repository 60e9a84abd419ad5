"""Remote providers of market data, one file each, behind `MarketProvider`."""
