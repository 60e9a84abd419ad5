"""The web client: pages before sign-in, sessions in cookies, and the app behind them."""
