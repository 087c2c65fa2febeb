"""Progressive Neural Architecture Search: from labelled images to cells.

space ──► predictors ─┐
                      ├─ algorithms ─ session ─► evaluator (processes, Ray) ─► journal ─► analysis ─► report
config ───────────────┘
"""
