"""How quick the gateway is, next to doing the same without it. Nothing here fails for being slow.

Run with `python -m benchmarks`; `docs/benchmarks.md` tells what is measured and what came of it."""
