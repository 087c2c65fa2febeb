"""Training from scratch or from given weights, by recipes.

recipe ─┬─ images ─ batches ─ epochs ─┐
        └─ network, its sizes ─ task ───┴─ fit (Lightning) ─ run ─► model.safetensors
"""
