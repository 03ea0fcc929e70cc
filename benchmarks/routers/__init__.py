"""The same traffic over the same keys through different routers, each a process of its own."""
