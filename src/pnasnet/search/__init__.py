"""Progressive Neural Architecture Search: from labelled pictures to cells.

space ──► predictors ─┐
                      ├─ algorithms ─ session ─► evaluator (processes, Ray) ─► journal ─► analysis ─► report
config ───────────────┘
"""
