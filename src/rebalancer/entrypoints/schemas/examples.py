"""Values of the examples in the OpenAPI document; `rebalancer serve --demo` creates them."""

from __future__ import annotations

from uuid import UUID

EMAIL, PASSWORD = "ada@example.org", "correct horse battery staple"
"""The demo account. Its password is public, so it is created only in development."""

REFRESH_TOKEN = "an-example-that-only-the-demo-account-has"
PORTFOLIO = UUID("7f1c6f5e-3f0c-4c5e-9d0a-2b8f0c1d2e3f")
