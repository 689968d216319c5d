"""The fast path: RecBole's work on tensors instead of Python objects, used by ``sr_fast: True``.

Each module replaces one thing, falls back to RecBole's own where it cannot serve, and says so. The
room imports RecBole, ``distributed`` and ``recbole_compat``, and never knows the method: training
is the same with it and without, but for speed and rounding. One key changes what is ranked:
``sr_rank_validation_items``.
"""
