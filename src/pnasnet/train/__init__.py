"""Training from scratch or from given weights, by recipes.

recipe ─┬─ pictures ─ batches ─ epochs ─┐
        └─ network, its sizes ─ task ───┴─ fit (Lightning) ─ run ─► model.safetensors
"""
